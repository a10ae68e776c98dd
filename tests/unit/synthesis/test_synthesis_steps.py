"""Steps of several stages: their reports, and one file of all that was dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathloop.decontamination.config import DecontaminationConfig
from mathloop.problems.config import EvolutionConfig, ProblemsConfig
from mathloop.records import Problem, Response, read_problems, read_responses, write_problems, write_responses
from mathloop.synthesis import decontamination, problems

RULES = DecontaminationConfig(rules=("exact",))


class Named:
    """Named benchmarks of these problems."""

    def __init__(self, measured: list[Problem], excluded: list[Problem]) -> None:
        self._measured, self._excluded = measured, excluded

    def measured(self) -> Iterator[Problem]:
        return iter(self._measured)

    def excluded(self) -> Iterator[Problem]:
        return iter(self._excluded)


FLOWERS = "A garden has 12 beds and every bed has 15 roses. How many roses are there in the whole garden?"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_problems_are_built_evolved_and_decontaminated(tmp_path: Path) -> None:
    rows = [{"problem": f"What is {n} plus {n * n + 7}?", "answer": str(n * n + n + 7)} for n in range(60)]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"problem": 3}\n')
    out, benchmark, dropped = (tmp_path / name for name in ("problems", "benchmark", "dropped"))
    (tmp_path / "work").mkdir()
    reports = problems.run(
        problems_file=file,
        out=out,
        benchmark=benchmark,
        dropped=dropped,
        work=tmp_path / "work",
        named=Named([], []),
        config=ProblemsConfig(train=40, benchmark=10, rejects_share=0.1),
        evolution=EvolutionConfig(count=5),
        decontamination=RULES,
        seed=1,
    )
    assert [report.stage for report in reports] == ["problems", "evolution", "decontamination_problems"]
    kept = list(read_problems(out))
    assert (
        len(kept)
        == reports[-1].kept
        == 45 - sum(reports[-1].dropped.values()) - sum(reports[1].dropped.values())
    )
    assert not {one.problem for one in kept} & {one.problem for one in read_problems(benchmark)}
    told = lines(dropped)
    assert told[0] == {
        "drop_reason": "broken row",
        "stage": "problems",
        "row": 61,
        "error": told[0]["error"],
    }
    assert len(told) == sum(sum(report.dropped.values()) for report in reports)
    assert {one.source for one in read_problems(benchmark)} == {"problems"}


def test_named_benchmarks_are_measured_and_kept_out_of_the_problems(tmp_path: Path) -> None:
    rows = [{"problem": f"What is {n} plus {n * n + 7}?", "answer": str(n * n + n + 7)} for n in range(60)]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine = [Problem(f"mine/{n}", rows[n]["problem"], rows[n]["answer"], source="mine") for n in range(20)]
    other = [
        Problem(f"other/{n}", rows[n]["problem"], rows[n]["answer"], source="other") for n in range(20, 40)
    ]
    out, benchmark, dropped = (tmp_path / n for n in ("out", "benchmark", "dropped"))
    (tmp_path / "work").mkdir()
    reports = problems.run(
        problems_file=file,
        out=out,
        benchmark=benchmark,
        dropped=dropped,
        work=tmp_path / "work",
        named=Named(mine, other),
        config=ProblemsConfig(train=60, benchmark=10),
        evolution=EvolutionConfig(count=0),
        decontamination=RULES,
        seed=1,
    )
    measured = list(read_problems(benchmark))
    held = [problem for problem in measured if problem.source == "held-out"]
    assert [problem for problem in measured if problem.source != "held-out"] == mine
    assert reports[0].values["problems of mine"] == 20
    known = {problem.problem for problem in (*held, *mine, *other)}
    assert not known & {problem.problem for problem in read_problems(out)}
    assert {row["benchmark"] for row in lines(dropped)} == {"mine", "other"}


def test_responses_of_both_modes_are_decontaminated_with_one_index(tmp_path: Path) -> None:
    given = [Problem("a", FLOWERS, "180"), Problem("b", "What is 2 + 2?", "4")]
    write_problems(tmp_path / "problems.parquet", given)
    write_problems(tmp_path / "benchmark.parquet", [Problem("x", FLOWERS, "180")])
    modes = ("cot", "tir")
    for mode in modes:
        rows = [Response(one.id, 0, mode, f"\\boxed{{{one.answer}}}", one.answer, True) for one in given]
        write_responses(tmp_path / f"{mode}.parquet", rows)
    (tmp_path / "work").mkdir()
    reports = decontamination.run(
        problems=tmp_path / "problems.parquet",
        responses={mode: tmp_path / f"{mode}.parquet" for mode in modes},
        out={mode: tmp_path / f"kept-{mode}" for mode in modes},
        dropped=tmp_path / "dropped",
        benchmark=tmp_path / "benchmark.parquet",
        work=tmp_path / "work",
        named=Named([], []),
        config=RULES,
    )
    assert [(report.stage, report.kept) for report in reports] == [
        ("decontamination_cot", 1),
        ("decontamination_tir", 1),
    ]
    assert [row.problem_id for mode in modes for row in read_responses(tmp_path / f"kept-{mode}")] == [
        "b",
        "b",
    ]
    told = lines(tmp_path / "dropped")
    assert [row["stage"] for row in told] == ["decontamination_cot", "decontamination_tir"]
    assert {row["drop_reason"] for row in told} == {"benchmark: exact"}
    assert all(row["benchmark_item"] == FLOWERS for row in told)


def test_responses_are_checked_against_benchmarks_that_are_not_measured_too(tmp_path: Path) -> None:
    given = [Problem("a", FLOWERS, "180"), Problem("b", "What is 2 + 2?", "4")]
    write_problems(tmp_path / "problems.parquet", given)
    write_problems(tmp_path / "benchmark.parquet", [Problem("x", "What is 9 + 9?", "18")])
    rows = [Response(one.id, 0, "cot", f"\\boxed{{{one.answer}}}", one.answer, True) for one in given]
    write_responses(tmp_path / "cot.parquet", rows)
    (tmp_path / "work").mkdir()
    for _ in range(2):  # a second attempt finds what the first one left
        (report,) = decontamination.run(
            problems=tmp_path / "problems.parquet",
            responses={"cot": tmp_path / "cot.parquet"},
            out={"cot": tmp_path / "kept"},
            dropped=tmp_path / "dropped",
            benchmark=tmp_path / "benchmark.parquet",
            work=tmp_path / "work",
            named=Named([], [Problem("other/1", FLOWERS, "180", source="other")]),
            config=RULES,
        )
        assert report.dropped == {"other: exact": 1}
        assert report.values["benchmarks"] == 2
