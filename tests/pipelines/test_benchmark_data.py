"""`mathloop benchmark data`: every stage runs in its own process on made data, and its row is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mathloop.errors import MathloopError
from pipelines.benchmarks import data_stages
from pipelines.benchmarks.memory import memory
from pipelines.benchmarks.stage_process import EVALUATION, SYNTHESIS
from tests.pipelines.command import refused


def test_each_stage_has_a_row_with_rate_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    data_stages.run(20)
    out = capsys.readouterr().out
    rows = re.findall(
        r"^([a-z ]+?) +([\d,]+) (rows|responses) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+)$",
        out,
        re.MULTILINE,
    )
    assert [row[0] for row in rows] == ["problems", *SYNTHESIS, *EVALUATION]
    counts = {name: count for name, count, *_ in rows}
    assert (counts["problems"], counts["tir"], counts["evaluation"]) == ("200", "160", "360")
    for *_, peak, files, data in rows:
        assert int(files) + int(data) <= int(peak)
    engine = re.search(r"process adds ([\d,]+) MiB of torch and transformers \(([\d,]+) of it files\)", out)
    assert engine is not None
    assert 0 < int(engine[2]) < int(engine[1])


def test_a_stage_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_stages, "SYNTHESIS", ("nothing",))
    monkeypatch.setattr(data_stages, "EVALUATION", ())
    with pytest.raises(MathloopError, match=r"nothing failed: KeyError"):
        data_stages.run(2)


def test_the_most_memory_so_far_is_at_least_what_is_in_use() -> None:
    assert 1 < memory("VmRSS") <= memory("VmHWM")


def test_rows_are_whole_numbers(tmp_path: Path) -> None:
    assert "expected whole numbers" in refused("benchmark", "data", "--rows", "many", folder=tmp_path)
