"""`mathloop reproduce`: refusals in one line, and the report over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.profile import load_profile
from pipelines.reproduction.parts import PARTS, Place, settings_of
from tests.unit.evaluation.test_evaluation_reproduction import MODELS, made

Call = Callable[..., str]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "laptop"), "profile laptop: corpus.writing_share is 0"),
        (("--set", "writing.templates=[nano_reword]"), "needs one without a parent, such as nano_write"),
        (("--profile", "smollm"), "runs with the nano model and the nano problems alone"),
        (("--set", "writing.count=many"), "--set writing.count=many: input should be a valid integer"),
        (("--report", "none"), "--report none: no seed has finished there"),
        (("--report", "none", "--seed", "1"), "--report runs nothing; leave out --seed"),
        (("--json",), "--json needs --report DIR"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    in_process: Call, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    answer = in_process("reproduce", *arguments)
    assert answer.startswith("2 mathloop: error: ")
    assert said in answer
    assert answer.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(in_process: Call, tmp_path: Path) -> None:
    (tmp_path / "seed-3").mkdir()
    (tmp_path / "seed-3" / "notes.txt").touch()
    answer = in_process("reproduce", "--out", ".", "--seed", "3")
    assert answer.startswith("2 ")
    assert "holds something else" in answer


def test_seeds_are_joined_and_a_damaged_one_is_named(in_process: Call, tmp_path: Path) -> None:
    for seed, shift in ((10, 2), (2, 0)):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        (folder / "scores.json").write_text(made(seed, shift, **MODELS).model_dump_json())
    text = in_process("reproduce", "--report", ".")
    assert "seeds 2, 10: 4 hold, 2 are within noise, 2 fail" in text
    assert text.rstrip().endswith("report: report.html")
    found = json.loads(in_process("reproduce", "--report", ".", "--json"))
    assert found == json.loads((tmp_path / "report.json").read_text())
    assert ">holds</span>" in (tmp_path / "report.html").read_text()
    (tmp_path / "seed-2" / "scores.json").write_text('{"seed": 2}')
    answer = in_process("reproduce", "--report", ".")
    assert answer.startswith("2 ")
    assert "seed-2/scores.json: profile: " in answer


def test_parts_share_problems_budget_and_benchmarks_but_not_seeds(tmp_path: Path) -> None:
    settings = load_profile("reproduce", ["seed=5"])
    own = {part.name: settings_of(part, settings, Place(tmp_path)) for part in PARTS}
    assert own["round-1"].seed == own["round-3"].seed != own["round-2"].seed
    assert own["v1"].seed == own["v2"].seed == own["v2-unfiltered"].seed != own["v1-again"].seed
    assert own["v2"].pretrain == own["v1-again"].pretrain == own["v2-unfiltered"].pretrain
    assert own["v2"].corpus.given == own["v1-again"].corpus.given == own["v2-unfiltered"].corpus.given
    assert not own["v1-again"].corpus.written
    assert own["v2"].corpus.written != own["v2-unfiltered"].corpus.written
    assert {one.gate.weights["unseen"] for one in own.values()} == {0}
    assert all(own[f"round-{number}"].writing.templates == () for number in (1, 2, 3))
    assert own["inference"].evaluation.samples == 8
    stores = {name: Path(one.store).name for name, one in own.items()}
    assert stores["written"] == stores["round-2"] == "v1"
    assert stores["inference"] == stores["round-3"] == "v2"
