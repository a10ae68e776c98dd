"""`mathloop benchmark serve`: what is printed, on saved responses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.benchmarks import serving

FIELDS = "prediction=pred,answer=gold,reward=score,label=correct"


def test_the_share_drawn_and_the_paired_difference_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"pred": ["7"] * 8, "gold": "7", "score": [4.0] * 8, "correct": [True] * 8},
        {
            "pred": list("12345678"),
            "gold": "7",
            "score": [-4.0] * 8,
            "correct": [a == "7" for a in "12345678"],
        },
    ]
    saved = tmp_path / "saved.jsonl"
    saved.write_text("\n".join(map(json.dumps, rows)))
    serving.run_saved([saved], FIELDS)
    printed = capsys.readouterr().out
    found = re.findall(
        r"^saved +cot +(\w+) +([\d.]+) % +([\d.]+) +\+0\.00 \[\+0\.00, \+0\.00\] +2$", printed, re.M
    )
    assert [name for name, *_ in found] == ["maj", "rm", "weighted"]
    assert found[0][1] == "56.2"  # 2 of 8 and 7 of 8
