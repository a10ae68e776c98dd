"""A round's judgment: gate, publication and report in one step, whatever happens to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadData
from mathloop.evaluation.config import GateConfig
from mathloop.registry import Registry
from mathloop.registry.stages import preflight, publish_base
from mathloop.reports import judgment
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from mathloop.storage import open_store


def judge(made: Any, folder: Path, margin: float = 0.0) -> list[StageReport]:
    url = str(folder / "store")
    for name in ("base", "policy", "reward_model"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "weights").write_text(name)
    if not Registry(open_store(url)).history():
        publish_base(store_url=url, model=folder / "base", round_id="start", out=folder / "started.json")
        _, champion = preflight(store_url=url)
        (folder / "champion").write_bytes(champion.to_json())
    write_summary([StageReport("sft", 1.0)], folder / "learning")
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
