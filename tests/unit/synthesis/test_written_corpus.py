"""Corpora of written problems: no step of them can read a gold answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mathloop.evaluation.benchmarks.named import NamedBenchmarks
from mathloop.evaluation.config import BenchmarksConfig
from mathloop.problems.config import ProblemsConfig
from mathloop.records import (
    Problem,
    Response,
    open_drops,
    read_problems,
    read_rows,
    write_problems,
    write_responses,
)
from mathloop.synthesis import cot, statements, tir, written_corpus
from mathloop.synthesis.config import CoTConfig, TIRConfig
from pipelines.table import find_pipeline
from tests.unit.synthesis.scripted import script

MAKERS = {"comp-written-problems", "comp-cot", "comp-tir", "comp-written-corpus"}
"""The steps that write the corpus."""


def test_statements_have_no_answers_whatever_those_are(tmp_path: Path) -> None:
    found = []
    for gold in ("7", "poison"):
        rows = [{"problem": f"Ann has {n} pens. How many?", "answer": f"{gold}{n}"} for n in range(40)]
        for name in ("problems", "far"):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:30]))
        work = tmp_path / gold
        work.mkdir()
        report = statements.run(
            problems_file=tmp_path / "problems.jsonl",
            out=work / "statements",
            work=work,
            config=ProblemsConfig(),
            named=NamedBenchmarks(BenchmarksConfig(measure=(str(tmp_path / "far.jsonl"),))),
            seed=0,
        )
        kept = list(read_problems(work / "statements"))
        assert report.kept == len(kept) > 30
        assert {one.answer for one in kept} == {None}
        assert [path.name for path in work.iterdir()] == ["statements"]
        found.append((work / "statements").read_bytes())
    assert found[0] == found[1]
    assert b"poison" not in found[1]


def test_the_steps_that_write_the_corpus_read_models_statements_and_each_other_alone() -> None:
    """What has an answer (the problems, a benchmark, the champion's record) is no input of theirs."""
    spec = find_pipeline("written-corpus").pipeline_spec
    seen = set()
    allowed = {("champion", name) for name in ("policy", "reward_model", "summary")}
    allowed |= {("statements", "statements")}
    for name, dag in (("", spec.root.dag), ("solutions", spec.components["comp-solutions"].dag)):
        for task in dag.tasks.values():
            if task.component_ref.name not in {*MAKERS, "comp-solutions"}:
                continue
            seen.add(task.component_ref.name)
            made = [one.task_output_artifact for one in task.inputs.artifacts.values()]
            sources = {(one.producer_task, one.output_artifact_key) for one in made}
            # Inside the nested pipeline, others are its own inputs, which the outer loop has seen.
            own = {maker.removeprefix("comp-") for maker in MAKERS} | ({""} if name else set())
            assert {source for source in sources if source[0] not in own} <= allowed
            parameters = task.inputs.parameters
            names = {one.removeprefix("cot_").removeprefix("tir_") for one in parameters}
            # The store is where several sampler pods leave their shards.
            assert names <= {"settings", "sft_settings", "decontamination", "seed", "store"}
            read = [one for key, one in parameters.items() if key != "store"]
            producers = {one.task_output_parameter.producer_task for one in read}
            assert producers <= ({""} if name else {"preflight"})
    assert seen == {*MAKERS, "comp-solutions"}


def test_votes_fill_the_filtered_corpus_and_first_answers_the_other(tmp_path: Path, monkeypatch) -> None:
    """Two of three samples agree on the first problem; the second's differ."""
    problems = [Problem("a", "Ann has 3 pens.", language="en"), Problem("b", "小明有几本书？", language="zh")]
    write_problems(tmp_path / "problems", problems)

    def answer(problem: Problem, sample: int) -> Response:
        value = str(sample) if problem.id == "b" else ("9" if sample == 0 else "7")
        return Response(problem.id, sample, "cot", f"{sample}: \\boxed{{{value}}}", value, tool_calls=1)

    script(monkeypatch, cot, answer)
    script(monkeypatch, tir, answer)
    paths = {mode: (tmp_path / f"{mode}-kept", tmp_path / f"{mode}-dropped") for mode in ("cot", "tir")}
    policy = tmp_path / "policy"
    cot.run(
        problems=tmp_path / "problems",
        policy=policy,
        reward_model=None,
        out=paths["cot"][0],
        dropped=paths["cot"][1],
        config=CoTConfig(samples=3, keep=2, agreement=0.5),
        seed=0,
    )
    tir.run(
        problems=tmp_path / "problems",
        policy=policy,
        out=paths["tir"][0],
        dropped=paths["tir"][1],
        config=TIRConfig(samples=3, keep=1, temperatures=(1.0,), agreement=0.5),
        seed=0,
    )
    report = written_corpus.run(
        problems=tmp_path / "problems",
        responses={mode: kept for mode, (kept, _) in paths.items()},
        dropped={mode: dropped for mode, (_, dropped) in paths.items()},
        filtered=tmp_path / "filtered",
        unfiltered=tmp_path / "unfiltered",
    )
    filtered, unfiltered = (list(read_rows(tmp_path / name)) for name in ("filtered", "unfiltered"))
    assert report.kept == 3
    shown = [(row["problem"], row["mode"], row["solution"]) for row in filtered]
    statement = problems[0].problem
    assert shown == [
        (statement, "cot", "1: \\boxed{7}"),
        (statement, "cot", "2: \\boxed{7}"),
        (statement, "tir", "1: \\boxed{7}"),
    ]
    assert {row["solution"][0] for row in unfiltered} == {"0"}
    expected = {(one.problem, mode, one.language) for one in problems for mode in ("cot", "tir")}
    assert {(row["problem"], row["mode"], row["language"]) for row in unfiltered} == expected
    assert len(unfiltered) == 4


def test_without_a_response_that_was_kept_the_filtered_corpus_is_an_empty_table(tmp_path: Path) -> None:
    write_problems(tmp_path / "problems", [Problem("a", "Ann?")])
    write_responses(tmp_path / "kept", _none())
    with open_drops(tmp_path / "dropped") as drops:
        drops.add("no majority", Response("a", 0, "cot", "x"), problem="Ann?")
    report = written_corpus.run(
        problems=tmp_path / "problems",
        responses={"cot": tmp_path / "kept"},
        dropped={"cot": tmp_path / "dropped"},
        filtered=tmp_path / "filtered",
        unfiltered=tmp_path / "unfiltered",
    )
    assert list(read_rows(tmp_path / "filtered")) == []
    assert [row["id"] for row in read_rows(tmp_path / "unfiltered")] == ["a-cot-0"]
    assert report.notes


def _none() -> Iterator[Response]:
    yield from ()
