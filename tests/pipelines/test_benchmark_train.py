"""`mathloop benchmark train` on a model of two layers: both sides train, figures and refusals are printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mathloop.errors import BadData, MathloopError
from mathloop.records import read_problems, read_responses
from mathloop.sampling.prompts import render_prompt
from pipelines.benchmarks import training, training_turn
from pipelines.benchmarks.graders import INSTALL
from pipelines.benchmarks.training_inputs import Inputs, Sizes, Turn, prepare, read_texts
from tests.pipelines.command import refused

pytestmark = pytest.mark.slow

TINY = Sizes(
    vocabulary=400,
    hidden=48,
    layers=2,
    heads=3,
    sft_batch=4,
    sft_steps=2,
    reward_batch=2,
    responses=4,
    reward_steps=2,
    grpo_batch=2,
    group=2,
    completion=8,
    grpo_steps=2,
    turns=1,
)
ROWS = [
    {
        "question": f"Mia has {n} apples and finds {n} more. How many?",
        "answer": f"She has {n} + {n}.\n#### {2 * n}",
    }
    for n in range(1, 13)
]


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return folder


def cells_of(shown: str, recipe: str) -> list[str]:
    (line,) = (line for line in shown.splitlines() if line.startswith(f"{recipe} "))
    return line.split()


def in_this_process(side: str, recipe: str, inputs: Inputs, seed: int) -> Turn:
    """A turn as in a process of its own, but for the seconds that its imports take, and for its memory."""
    shutil.rmtree(inputs.work, ignore_errors=True)
    training_turn.main(side, recipe, str(inputs.folder), str(seed))
    return Turn(*json.loads(inputs.turn.read_text(encoding="utf-8")))


def test_both_sides_train(
    gsm8k: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl")
    monkeypatch.setattr(training, "take_turn", in_this_process)
    training.run(gsm8k, None, TINY)
    shown = capsys.readouterr().out
    assert "peer: TRL 1." in shown
    assert f"texts: {gsm8k}" in shown
    for recipe in ("sft", "reward_model", "grpo"):
        *_, ours, theirs, ratio, _, _, _, _ = cells_of(shown, recipe)
        quotient = float(ours.replace(",", "")) / float(theirs.replace(",", ""))
        # A step of GRPO is shown in hundredths of a second, and may take a few of them.
        expected, rounding = (1 / quotient, 0.3) if recipe == "grpo" else (quotient, 0.02)
        assert float(ratio.rstrip("×")) == pytest.approx(expected, rel=rounding)
    (ways,) = (line for line in shown.splitlines() if line.startswith("sft, TRL's variants"))
    assert all(f" {way} " in ways for way in ("plain", "grouped by length", "packed"))
    (lengths,) = (line for line in shown.splitlines() if line.startswith("grpo, mean tokens"))
    assert [float(part.split()[1]) for part in lengths.split(": ")[1].split(", ")] == pytest.approx(
        [8, 8], abs=2
    )


def test_a_turn_has_a_process_of_its_own(gsm8k: Path, tmp_path: Path) -> None:
    inputs = written(tmp_path, gsm8k)
    turn = training.take_turn("ours", "sft", inputs, 0)
    tokens = sum(len(text) for text in encoded(inputs))
    assert turn.units == pytest.approx([tokens / 2])
    assert [second > 0 for second in turn.seconds] == [True]
    assert 0 < turn.start < turn.peak


def written(folder: Path, data: Path) -> Inputs:
    inputs, _ = prepare(folder / "inputs", TINY, read_texts(data), None)
    inputs.sizes.write_text(json.dumps(vars(TINY)), encoding="utf-8")
    return inputs


def encoded(inputs: Inputs) -> list[list[int]]:
    """The tokens of each problem with its solution."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(inputs.policy)
    problems = {p.id: p.problem for p in read_problems(inputs.problems)}
    return [
        tokenizer(
            render_prompt(tokenizer, problems[r.problem_id], "cot") + r.text + tokenizer.eos_token
        ).input_ids
        for r in read_responses(inputs.solutions)
    ]


def scripted(rates: dict[str, list[float]], taken: list[str]) -> object:
    """Turns that did as much in a second as `rates` say of each way, one after the other."""

    def turn(side: str, recipe: str, inputs: Inputs, seed: int) -> Turn:
        name = recipe if side == "trl" else f"mathloop {recipe}"
        taken.append(name)
        return Turn([1.0, 3.0], [2 * rates.get(name, [1.0] * 3)[seed]] * 2, 5.0, 100.0, 150.0 + seed)

    return turn


def test_turns_alternate_and_the_fastest_way_of_the_peer_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"mathloop sft": [60.0, 90.0, 70.0], "sft": [10.0], "sft, packed": [9.0]}
    rates["sft, grouped by length"] = [25.0, 35.0, 30.0]
    taken: list[str] = []
    monkeypatch.setattr(training, "take_turn", scripted(rates, taken))
    monkeypatch.setattr(training, "find_peer", lambda: "TRL 1")
    training.run(None, None, Sizes(**{**vars(TINY), "turns": 3}))
    shown = capsys.readouterr().out
    assert cells_of(shown, "sft") == ["sft", "tokens/s", "70.0", "30.0", "2.40×", "152", "152", "52", "52"]
    assert ": grouped by length 30.0 (2.40×), plain 10.0 (6.00×), packed 9.0 (6.67×)\n" in shown
    best = "sft, grouped by length"
    first = ["mathloop sft", "sft", best, "sft, packed"]
    assert taken[:8] == [*first, "mathloop sft", best, "mathloop sft", best]


def test_without_the_peer_its_columns_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[str] = []
    monkeypatch.setattr(training, "take_turn", scripted({}, taken))
    monkeypatch.setattr(training, "find_peer", lambda: None)
    training.run(None, None, TINY)
    shown = capsys.readouterr().out
    assert f"install the peer with: {INSTALL}" in shown
    assert cells_of(shown, "grpo")[1:] == [
        "s/step",
        "2.00",
        "not",
        "installed",
        "–",
        "150",
        "–",
        "50",
        "–",
    ]
    assert taken == ["mathloop sft", "mathloop reward_model", "mathloop grpo"]


def test_a_recipe_is_printed_when_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = scripted({}, [])

    def turn_or_fail(side: str, recipe: str, inputs: Inputs, seed: int) -> Turn:
        if recipe == "reward_model":
            raise MathloopError("no memory")
        return turn(side, recipe, inputs, seed)  # type: ignore[operator,no-any-return]

    monkeypatch.setattr(training, "take_turn", turn_or_fail)
    monkeypatch.setattr(training, "find_peer", lambda: None)
    with pytest.raises(MathloopError, match="no memory"):
        training.run(None, None, TINY)
    shown = capsys.readouterr().out
    assert "threads on" in shown
    assert cells_of(shown, "sft")[1] == "tokens/s"


def test_a_side_that_fails_is_named_with_what_it_said_last(gsm8k: Path, tmp_path: Path) -> None:
    inputs = written(tmp_path, gsm8k)
    inputs.solutions.unlink()
    with pytest.raises(MathloopError, match=r"mathloop, sft: failed with exit code 1: .*solutions\.parquet"):
        training.take_turn("ours", "sft", inputs, 0)


def test_inputs_are_as_many_as_the_sizes_need(gsm8k: Path, tmp_path: Path) -> None:
    inputs, parameters = prepare(tmp_path, TINY, read_texts(gsm8k), None)
    problems, solutions = list(read_problems(inputs.problems)), list(read_responses(inputs.solutions))
    assert len({problem.id for problem in problems}) == len(problems) == 8
    assert [(r.problem_id, r.text) for r in solutions] == [
        (p.id, ROWS[n]["answer"]) for n, p in enumerate(problems)
    ]
    judged = list(read_responses(inputs.labeled))
    right = {p.id: sum(bool(r.correct) for r in judged if r.problem_id == p.id) for p in problems[:5]}
    assert list(right.values()) == [1, 2, 3, 1, 2]  # of 4: mathloop drops what is all right or all wrong
    assert 48 * 300 < parameters < 200_000


def test_made_up_texts_are_as_long_as_those_of_gsm8k() -> None:
    problems = read_texts(None)
    assert len(problems) == 1024
    for lengths, mean in (
        ([len(p.problem.split()) for p in problems], 45.1),
        ([len((p.solution or "").split()) for p in problems], 51.7),
    ):
        assert sum(lengths) / len(lengths) == pytest.approx(mean, rel=0.08)
        assert max(lengths) > 2.5 * mean


def test_a_step_may_be_one_of_several_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [torch.ones(2, requires_grad=True) for _ in range(2)]
    optimizers = [torch.optim.SGD([weight], lr=0.1) for weight in weights]
    now = iter((1.0, 2.0, 10.0, 20.0, 100.0, 200.0))
    monkeypatch.setattr(training_turn.time, "perf_counter", lambda: next(now))
    with training_turn.Clock() as clock:
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.step()
    optimizers[0].step()  # no longer noted: there is no time left to be read
    assert clock.seconds(3) == [18.0, 180.0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        ([{"question": "2 + 3?", "answer": "5"}], "-1 has no solution to train on"),
    ],
)
def test_data_that_cannot_be_used(rows: list[dict[str, str]], said: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(BadData, match=said):
        training.run(tmp_path, None, TINY)


def test_refusals_are_one_line(tmp_path: Path) -> None:
    assert "missing.jsonl" in refused("benchmark", "train", "--data", "missing.jsonl", folder=tmp_path)
    assert "no such folder" in refused("benchmark", "train", "--model", "nowhere", folder=tmp_path)
    assert "it is for benchmark train" in refused("benchmark", "sandbox", "--model", "x", folder=tmp_path)
