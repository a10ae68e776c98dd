"""`mathloop reproduce` end to end, tiny: every part real, killed once, resumed, and reported."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from mathloop.records import read_problems, read_rows
from pipelines.reproduction.parts import PARTS
from tests.system import rounds

COMMAND = ("reproduce", "--profile", "reproduce-tiny", "--seed", "1", "--out", "all")


@pytest.mark.timeout(600)
def test_a_tiny_reproduction_is_killed_resumed_and_reported(tmp_path: Path) -> None:
    outcome = rounds.finish(rounds.start(tmp_path, *COMMAND), 560)
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    seed = tmp_path / "all" / "seed-1"
    scores = json.loads((seed / "scores.json").read_text())
    assert list(scores["seconds"]) == [part.name for part in PARTS]
    assert set(scores["models"]) == {
        *("base v1", "SFT", "GRPO", "champion 1", "champion 2", "champion 3"),
        *("base v2", "base v1 again", "base v2 unfiltered"),
    }
    assert {one["benchmark"] for one in scores["problems"]} == {"held-out", "unseen"}
    tokens = scores["tokens"]
    assert set(tokens) == {"v1", "v2", "v1-again", "v2-unfiltered"}
    assert all(count == pytest.approx(tokens["v1"], rel=0.05) for count in tokens.values())
    assert "part 3/11 round-2" in outcome.stdout
    assert " left in all" in outcome.stdout
    _check_corpora(seed)
    report = json.loads((tmp_path / "all" / "report.json").read_text())
    assert {one["claim"] for one in report["claims"]} >= {"SFT improves on the base model"}
    assert "The paper's claims with profile reproduce-tiny" in outcome.stdout

    # The part in which the champion writes is done again, killed in the middle, and resumed.
    before = _written(seed)
    shutil.rmtree(seed / "parts" / "written")
    (seed / "scores.json").unlink()
    process = rounds.start(tmp_path, *COMMAND)
    log = seed / "parts" / "written" / "stages" / "written-problems" / "log.txt"
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (seed / "scores.json").exists()
    again = rounds.finish(rounds.start(tmp_path, *COMMAND), 120)
    assert again.code == 0, again.stdout + again.stderr
    assert _written(seed) == before
    assert json.loads((seed / "scores.json").read_text())["models"] == scores["models"]

    refused = rounds.finish(rounds.start(tmp_path, *COMMAND, "--set", "sft.epochs=2"))
    assert refused.code == 2
    assert "was begun with other settings" in refused.stderr


def _written(seed: Path) -> list[bytes]:
    """What the part leaves: problems and both corpora, byte for byte."""
    stages = seed / "parts" / "written" / "stages"
    places = ("written-problems/problems", "written-corpus/filtered", "written-corpus/unfiltered")
    return [(stages / place).read_bytes() for place in places]


def _check_corpora(seed: Path) -> None:
    """Corpus v2 is v1's documents and then written ones, and no written problem has an answer."""
    parts = seed / "parts"
    v1, v2 = (list(read_rows(parts / name / "stages" / "corpus" / "corpus")) for name in ("v1", "v2"))
    assert v2[: len(v1)] == v1
    assert {row["style"] for row in v2[len(v1) :]} == {"written"}
    problems = list(read_problems(parts / "written" / "stages" / "written-problems" / "problems"))
    assert problems
    assert {one.answer for one in problems} == {None}
    assert {row["problem"] for row in v2[len(v1) :]} <= {one.problem for one in problems}
