"""Problems of one step: right by construction, and a benchmark whose numbers and sentences are its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mathloop.answers import verify_response
from mathloop.errors import BadConfig
from mathloop.problems import build
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.evolve import evolve
from mathloop.problems.one_step import FAMILIES, Split, generate, is_reserved, split_of
from mathloop.records import Drops, Problem, read_problems
from mathloop.sampling.examples import load_examples

SIGNS = {"gets_more": "+", "gives_away": "-", "boxes_of": "*"}


def numbers(problem: Problem) -> tuple[int, int]:
    a, b = (int(digits) for digits in re.findall("[0-9]+", problem.problem))
    return a, b


def sentences(split: Split) -> set[str]:
    return {form for family in FAMILIES for form in family.wordings[split]}


def test_answers_are_those_of_the_operation_and_numbers_are_below_ten() -> None:
    for problem in generate("train", 300, 1):
        a, b = numbers(problem)
        assert 2 <= min(a, b) <= max(a, b) <= 9
        assert eval(f"{a} {SIGNS[problem.family]} {b}") == int(problem.answer or "") > 0


def test_the_benchmark_has_other_numbers_and_other_sentences_than_any_training_problem() -> None:
    train = [problem for seed in range(3) for problem in generate("train", 400, seed)]
    benchmark = list(generate("benchmark", 200, 0))
    assert not {p.parent for p in train} & {p.parent for p in benchmark}
    assert not sentences("train") & sentences("benchmark")
    assert {p.family for p in train} == {p.family for p in benchmark} == set(SIGNS)


def test_a_longer_stream_starts_with_the_shorter_and_another_seed_has_others() -> None:
    short, long = list(generate("train", 50, 5)), list(generate("train", 200, 5))
    assert short == long[:50]
    assert len({p.problem for p in long}) == 200
    assert long[:50] != list(generate("train", 50, 6))


def test_more_problems_than_there_are_is_one_line() -> None:
    with pytest.raises(BadConfig, match=r"generator one_step has no more than [\d,]+ different problems"):
        list(generate("benchmark", 100_000, 0))


def test_evolved_problems_have_no_numbers_of_the_benchmark() -> None:
    drops = Drops()
    evolved = list(evolve(list(generate("train", 60, 0)), 60, 3, drops))
    assert evolved
    assert not any(is_reserved(problem.family, problem.problem) for problem in evolved)
    assert drops.counts["reserved for the benchmark"] > 0


def test_the_stage_draws_from_the_generator_that_is_set(tmp_path: Path) -> None:
    config = ProblemsConfig(generator="one_step", train=9, benchmark=6)
    for seed in (0, 1):
        build.run(
            problems_file=None,
            out=tmp_path / f"train-{seed}.jsonl",
            benchmark=tmp_path / f"benchmark-{seed}.jsonl",
            config=config,
            seed=seed,
        )
    train = [list(read_problems(tmp_path / f"train-{seed}.jsonl")) for seed in (0, 1)]
    assert [p.source for p in train[0]] == ["one_step"] * 9
    assert train[0] != train[1]
    held = [(tmp_path / f"benchmark-{seed}.jsonl").read_bytes() for seed in (0, 1)]
    assert held[0] == held[1]


def test_the_solved_examples_are_right_and_give_away_no_problem_of_the_benchmark() -> None:
    examples = load_examples("one_step").examples
    assert len(examples) == len(FAMILIES)
    for family, example in zip(FAMILIES, examples, strict=True):
        a, b = (int(digits) for digits in re.findall("[0-9]+", example.problem))
        assert split_of(family.name, a, b) == "train"
        answer = family.calculate(a, b)
        for text in (example.solution, example.tir):
            assert verify_response(str(answer), text).correct
        assert f"```output\n{answer}\n```" in example.tir
