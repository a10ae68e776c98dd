"""A round's judgment: gate, publication and report in one step, whatever happens to the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadData
from mathloop.evaluation.config import GateConfig
from mathloop.registry import Registry
from mathloop.registry.stages import preflight, publish_base
from mathloop.reports import first_model, judgment, sending
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.tracking.config import NO_TRACKING, TrackingConfig
from mathloop.tracking.tracked import Tracked


def judge(
    made: Any,
    folder: Path,
    margin: float = 0.0,
    tracking: TrackingConfig = NO_TRACKING,
    learning: Sequence[StageReport] = (StageReport("sft", 1.0),),
) -> list[StageReport]:
    url = str(folder / "store")
    for name in ("base", "policy", "reward_model"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "weights").write_text(name)
    if not Registry(open_store(url)).history():
        publish_base(store_url=url, model=folder / "base", round_id="start", out=folder / "started.json")
        _, champion = preflight(store_url=url)
        (folder / "champion").write_bytes(champion.to_json())
    write_summary(list(learning), folder / "learning")
    return judgment.run(
        store_url=url,
        round_id="round-1",
        champion=(folder / "champion").read_text(),
        policy=folder / "policy",
        reward_model=folder / "reward_model",
        benchmark=made.paths["benchmark"],
        results=made.paths["results"],
        summaries=[folder / "learning"],
        verdict=folder / "verdict",
        published=folder / "published",
        page=folder / "page",
        config=GateConfig(margin=margin),
        configuration="{}",
        seed=0,
        tracking=tracking,
    )


def test_a_better_challenger_is_promoted_once_and_reported(make_round: Any, tmp_path: Path) -> None:
    made = make_round(count=60)
    reports = judge(made, tmp_path)
    assert [report.stage for report in reports] == ["gate", "publication", "report"]
    assert "Promoted: champion 1" in (tmp_path / "page").read_text()
    judge(made, tmp_path)  # as after a kill
    assert [one.round_id for one in Registry(open_store(str(tmp_path / "store"))).history()] == [
        "start",
        "round-1",
    ]


def test_a_report_that_fails_after_a_promotion_does_not_stop_the_step(
    make_round: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: Any) -> StageReport:
        raise BadData("no <room> for a chart")

    monkeypatch.setattr(judgment.round_report, "run", fails)
    *_, report = judge(make_round(count=60), tmp_path)
    assert report.notes == ["The report could not be written: no <room> for a chart"]
    assert "no &lt;room&gt; for a chart" in (tmp_path / "page").read_text()
    other = tmp_path / "other"
    other.mkdir()
    # Without a promotion there is nothing to keep.
    with pytest.raises(BadData, match="for a chart"):
        judge(make_round(count=60), other, margin=0.9)


def test_a_dead_tracker_stops_nothing_and_a_live_one_has_the_scores(
    make_round: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sent = make_round(count=60), []

    def takes(_: Any, tracked: Tracked) -> StageReport:
        sent.append(tracked)
        return StageReport("tracking", kept=1)

    monkeypatch.setattr(sending, "track", takes)
    on = TrackingConfig(mlflow="http://127.0.0.1:1")
    assert judge(made, tmp_path, tracking=on)[-1].stage == "tracking"
    (tracked,) = sent
    assert tracked.run == "round-1"
    assert 0.5 < tracked.scores["challenger/cot/greedy"] <= 1
    assert "challenger/tir/maj@8" in tracked.scores
    assert tracked.scores["gate/promoted"] == 1.0

    def breaks(*_: Any) -> StageReport:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(sending, "track", breaks)
    *_, report, last = judge(made, tmp_path, tracking=on)
    assert report.stage == "report"
    assert last.notes == ["The run could not be tracked: no such thing"]


def test_the_first_model_is_published_and_its_training_is_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(sending, "track", lambda _, tracked: sent.append(tracked) or StageReport("tracking"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("base")
    curve = [(step, 3 / step) for step in range(1, 4)]
    write_summary([StageReport("pretrain", 9.0, kept=5, curves={"loss": curve})], tmp_path / "pretrain")
    first = {"store_url": str(tmp_path / "store"), "model": tmp_path / "base", "round_id": "r-pretraining"}
    (report,) = first_model.run(**first, out=tmp_path / "out", summaries=[tmp_path / "pretrain"])
    assert (report.stage, sent) == ("base_publication", [])
    reports = first_model.run(
        **first,
        out=tmp_path / "out",
        summaries=[tmp_path / "pretrain"],
        configuration='{"pretrain": {"steps": 3}}',
        tracking=TrackingConfig(wandb="offline"),
    )
    assert [one.stage for one in reports] == ["base_publication", "tracking"]
    (tracked,) = sent
    assert (tracked.run, tracked.settings) == ("r-pretraining", {"pretrain.steps": "3"})
    assert tracked.curves == {"pretrain/loss": curve}
    assert (tracked.scores["pretrain/kept"], tracked.scores["base_publication/champion"]) == (5, 0)
