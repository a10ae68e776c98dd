"""`mathloop grade`, `execute` and `decontaminate`: tools for single files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mathloop.data_names import READABLE, is_known
from mathloop.errors import BadConfig, BadData
from pipelines import streams
from pipelines.commands.options import Sets
from pipelines.paths import check_text


def grade(
    pairs: Annotated[
        Path,
        typer.Argument(metavar="PAIRS.jsonl", help='Rows with "gold" and "pred" answers; - for stdin.'),
    ],
    kind: Annotated[
        Literal["auto", "answer", "response"],
        typer.Option(help='What "pred" is: a whole response, an answer alone, or either (auto).'),
    ] = "auto",
) -> None:
    """Grades answers: prints the same rows with "correct" and "reason", in order."""
    import json
    import sys

    from mathloop.answers.grading import grade_rows
    from mathloop.files import reading

    if str(pairs) == "-":
        for row in grade_rows(sys.stdin.buffer, "standard input", kind):
            print(json.dumps(row, ensure_ascii=False))
        return
    with reading(pairs), open(pairs, "rb") as rows:
        for row in grade_rows(rows, str(pairs), kind):
            print(json.dumps(row, ensure_ascii=False))


def execute() -> None:
    """Runs Python code from stdin in the sandbox; prints JSON with status, stdout, error and seconds."""
    import json

    from mathloop import sandbox

    program = streams.read_program()
    print(json.dumps(sandbox.execute(program, sandbox.SandboxConfig()), ensure_ascii=False))


def decontaminate(
    train: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Training data in any format that problems have, or a folder."),
    ],
    benchmarks: Annotated[
        list[Path], typer.Option(metavar="DIR_OR_FILES", help="Benchmark files, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Output file for rows that are kept.")],
    removed: Annotated[
        Path, typer.Option(metavar="FILE", help="Output file for removed rows, with rule and evidence.")
    ],
    index: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the benchmarks' index in this folder, for reuse.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an HTML report of the removed rows and the reasons."),
    ] = None,
    sets: Sets = None,
    more: Annotated[
        list[Path] | None, typer.Argument(hidden=True, help="Lets --benchmarks accept a shell's *.jsonl.")
    ] = None,
) -> None:
    """Removes training rows that match a benchmark item. After a kill, the same command resumes.

    Rules and thresholds are settings: --set decontamination.rules=[ngram_lcs,exact].
    """
    import sys

    from mathloop.decontamination import stage
    from mathloop.decontamination.native import library
    from mathloop.files import check_target
    from mathloop.records.rows import check_suffix, is_parquet

    check_suffix(out)
    if train.is_file() and not is_known(train) and not is_parquet(train):
        raise BadData(f"training data of an unknown format; expected {READABLE}", path=train)
    files = [file for path in (*benchmarks, *(more or [])) for file in _benchmark_files(path)]
    if report is not None:
        check_target(report)
    result = stage.run(
        problems=train,
        responses=None,
        benchmarks=files,
        out=out,
        removed=removed,
        config=_decontamination(sets or []),
        index=index,
    )
    if report is not None:
        from mathloop.reports import decontamination as html

        html.run(report=result, out=report, heading=train.name)
    print(f"{result.kept:,} of {result.inputs:,} rows kept, {sum(result.dropped.values()):,} removed")
    if library() is not None:  # the stage says that it is not, and why
        print("filter: compiled", file=sys.stderr)


def _decontamination(sets: list[str]) -> Any:
    """The defaults, which the profile for real problems uses too, with the overrides in `sets`."""
    from mathloop.decontamination.config import DecontaminationConfig

    for text in sets:
        if not text.startswith("decontamination."):
            raise BadConfig(f"--set {text}: expected decontamination.FIELD=VALUE")
    if not sets:
        return DecontaminationConfig()
    from pipelines.profile import load_profile

    return load_profile("smollm", sets).decontamination


def _benchmark_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    from mathloop.problems.sources.files import data_files

    files = data_files(path)
    for file in files:
        check_text(file)
    return files
