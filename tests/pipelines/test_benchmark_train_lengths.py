"""`mathloop benchmark train --lengths`: samples of the lengths asked for, and their costs side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from mathloop.records import read_problems, read_responses
from pipelines.benchmarks import training, training_lengths
from pipelines.benchmarks.training_inputs import Inputs, Sizes, Turn, prepare, read_texts
from tests.pipelines.command import refused

pytestmark = pytest.mark.slow

TINY = Sizes(vocabulary=400, hidden=48, layers=2, heads=3, sft_batch=2, sft_steps=2)


def lengths_of(inputs: Inputs) -> list[int]:
    from mathloop.models.tokenizers import load_tokenizer
    from mathloop.training.samples import encode

    tokenizer = load_tokenizer(inputs.policy)
    statements = {p.id: p.problem for p in read_problems(inputs.problems)}
    return [
        len(encode(tokenizer, statements[r.problem_id], r.mode, r.text).tokens)
        for r in read_responses(inputs.solutions)
    ]


def test_samples_have_the_length_asked_for(tmp_path: Path) -> None:
    inputs, _ = prepare(tmp_path, TINY, read_texts(None), None)
    training_lengths.write_samples(inputs, 512, 3, read_texts(None))
    lengths = lengths_of(inputs)
    assert len(lengths) == 3
    assert all(490 < length <= 512 for length in lengths)


@pytest.mark.parametrize("peer", [None, "TRL 1"])
def test_a_row_per_length_with_the_cost_of_a_token(
    peer: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = []

    def turn(side: str, recipe: str, inputs: Inputs, seed: int) -> Turn:
        longest = max(lengths_of(inputs))
        taken.append((side, recipe, round(longest, -2)))
        return Turn([1.0], [2e6 / longest / (1 if side == "ours" else 10)], 0.0, 100.0, 100.0 + longest)

    monkeypatch.setattr(training, "take_turn", turn)
    monkeypatch.setattr(training, "find_peer", lambda: peer)
    training_lengths.run([512, 1024], TINY)
    sides = ["ours", "trl"] if peer else ["ours"]
    assert taken == [(side, "sft", length) for length in (500, 1000) for side in sides]
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]
    first, second = (row for row in rows if row[0] in ("512", "1,024"))
    assert (first[1], second[1]) == ("8", "4")
    assert float(second[3]) == pytest.approx(2, rel=0.05)
    assert 1 < float(second[4]) < 2  # attention is a part of a token's FLOPs
    assert len(first) == len(second) == (9 if peer else 6)


def test_flops_are_those_of_the_weights_and_of_attention() -> None:
    found = training_lengths.flops_per_token(100, 1000, Sizes(hidden=8, layers=2))
    assert found == 6 * 1000 + 7 * 100 * 8 * 2


def test_lengths_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    for lengths, said in [("512,x", "whole numbers"), ("100", "256 to 4096"), ("8192", "256 to 4096")]:
        line = refused("benchmark", "train", "--lengths", lengths, folder=tmp_path)
        assert "--lengths" in line
        assert said in line
    line = refused("benchmark", "train", "--lengths", "512", "--model", "x", folder=tmp_path)
    assert "leave out --data and --model" in line
    assert "benchmark train" in refused("benchmark", "data", "--lengths", "512", folder=tmp_path)
