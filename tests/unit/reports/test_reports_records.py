"""The records that rounds leave in their store, and the listing and page over them; in a folder and in S3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadData, StorageRefused
from mathloop.records import read_problems, read_responses
from mathloop.registry import Registry
from mathloop.registry.stages import preflight, publish_base
from mathloop.reports import judgment, rounds
from mathloop.reports.records import OUTCOMES, PROBLEMS, fetched, publish_record, read_record, round_ids
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from mathloop.storage import open_store
from pipelines.commands.runs import _of_store

STAGES = [
    StageReport("sft", 3.0, notes=["Nothing."], values={"tokens": 100.0}),
    StageReport("grpo", 60.0, curves={"loss": [(1, 0.1)]}, values={"tokens": 1_000.0}),
]


def judge(made: Any, folder: Path, url: str, name: str, **settings: Any) -> None:
    """One round's judgment into the store."""
    from mathloop.evaluation.config import GateConfig

    for model in ("base", "policy", "reward_model"):
        (folder / model).mkdir(exist_ok=True)
        (folder / model / "weights").write_text(f"{model} {name}")
    if not Registry(open_store(url)).history():
        publish_base(store_url=url, model=folder / "base", round_id="start", out=folder / "started.json")
    _, champion = preflight(store_url=url)
    write_summary(STAGES, folder / "learning")
    judgment.run(
        store_url=url,
        round_id=name,
        champion=champion.to_json().decode(),
        policy=folder / "policy",
        reward_model=folder / "reward_model",
        benchmark=made.paths["benchmark"],
        results=made.paths["results"],
        summaries=[folder / "learning"],
        verdict=folder / "verdict",
        published=folder / "published",
        page=folder / "page",
        config=GateConfig(margin=settings.get("margin", 0.0)),
        configuration=json.dumps({"name": name, "seed": 1, "gate": settings}),
        seed=0,
    )


def test_every_round_leaves_a_record_and_the_store_tells_what_each_changed(
    make_round: Any, tmp_path: Path, store_url: str
) -> None:
    made = make_round(count=30, models=("base", "sft", "challenger"))
    judge(made, tmp_path, store_url, "r1", margin=0.9)
    judge(made, tmp_path, store_url, "r2", margin=0.0)
    store = open_store(store_url)
    assert round_ids(store) == ["r1", "r2"]
    with fetched(store, "r2") as (record, folder):
        assert (record.parent, record.number, record.tokens) == (0, 1, 1_100)
        assert record.seconds >= 63.0
        assert record.nothing_learned == ("SFT had nothing to learn from: Nothing.",)
        assert list(read_problems(folder / PROBLEMS)) == made.problems
        kept = list(read_responses(folder / OUTCOMES))
    full = list(read_responses(made.paths["results"]))
    assert [(one.answer, one.correct, one.reward, one.text) for one in kept] == [
        (one.answer, one.correct, one.reward, "") for one in full
    ]
    found = rounds.read_rounds(store)
    text = rounds.text(found)
    assert "not promoted" in text
    assert "gate.margin: 0.9 → 0.0" in text
    assert " s, 1,100 tokens" in text
    assert "SFT had nothing to learn from" in text
    as_json = rounds.to_json(found)
    gate = json.loads((tmp_path / "verdict").read_text())
    assert [one["score"] for one in as_json["champions"]] == [
        gate[side]["score"] for side in ("champion", "challenger")
    ]
    assert [(one["champion"], one["mark"]) for one in as_json["rounds"]] == [(None, "fails"), (1, "holds")]
    assert as_json["rounds"][1]["changed"] == [{"key": "gate.margin", "before": 0.9, "now": 0.0}]
    page = rounds.html(found)
    for words in (
        "Percent right by champion",
        "champion 1",
        "gate.margin: 0.9 → 0.0",
        "1,100",
        ">champion</text>",
    ):
        assert words in page


def test_a_record_that_is_there_is_kept_and_a_damaged_one_is_left_out(
    make_round: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, url = make_round(count=8), str(tmp_path / "store")
    judge(made, tmp_path, url, "r1")
    store, (champion, *_) = open_store(url), Registry(open_store(url)).history()
    before = read_record(store, "r1")
    publish_record(
        store,
        round_id="r1",
        champion=champion.to_json().decode(),
        published={},
        gate={},
        settings={},
        reports=[],
        benchmark=made.paths["benchmark"],
        results=made.paths["results"],
    )
    assert read_record(store, "r1") == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "round.json").write_text('{"round_id": "r2"}')
    store.publish(tmp_path / "other", "rounds/r2/record")
    with pytest.raises(BadData, match="not the record of a round"):
        read_record(store, "r2")
    _of_store(url, False, None)
    shown = capsys.readouterr()
    assert "note: round r2 is left out: " in shown.err
    assert "publish" not in shown.err
    assert "  r1  " in shown.out
    # Listing reads one file of a record, so that damage to the others does not matter.
    (tmp_path / "store" / "rounds" / "r1" / "record" / OUTCOMES).unlink()
    assert read_record(store, "r1") == before
    (tmp_path / "store" / "rounds" / "r1" / "record" / "round.json").write_text("{}")
    found = rounds.read_rounds(store)
    assert (found.records, list(found.damaged)) == ([], ["r1", "r2"])


def test_a_record_that_cannot_be_published_does_not_undo_the_round(
    make_round: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise StorageRefused("no room")

    monkeypatch.setattr(judgment, "publish_record", refuses)
    url = str(tmp_path / "store")
    judge(make_round(count=40), tmp_path, url, "r1")
    assert Registry(open_store(url)).current().round_id == "r1"  # type: ignore[union-attr]
    assert round_ids(open_store(url)) == []


def test_a_store_without_records_shows_its_champions(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    assert "none yet; mathloop run makes the first" in rounds.text(rounds.read_rounds(open_store(url)))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("x")
    publish_base(store_url=url, model=tmp_path / "base", round_id="start", out=tmp_path / "out")
    found = rounds.read_rounds(open_store(url))
    assert "  0  " in rounds.text(found)
    assert "none with a record" in rounds.text(found)
    assert "Champions" in rounds.html(found)


def test_a_record_without_a_manifest_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store/rounds/r7/record").mkdir(parents=True)
    (tmp_path / "store/rounds/r7/record/round.json").write_text("{}")
    _of_store(str(tmp_path / "store"), False, None)
    assert "note: round r7 is left out: its record has no manifest" in capsys.readouterr().err
