"""The command line: `mathloop …`. Heavy imports stand inside commands: the light ones start at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mathloop.errors import BadData, MathloopError

app = typer.Typer(
    help="A math language model that improves itself, in rounds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130
LAST_LINES = 40
"""Lines of a failed stage's log that are shown."""

Profile = Annotated[str, typer.Option(help="A profile's name (laptop, smollm, tiny) or its .yaml file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides a field: grpo.steps=10.")
]


def main() -> None:
    """Runs a command; what mathloop raises on purpose becomes one line and an exit code."""
    try:
        app()
    except MathloopError as error:
        print(f"mathloop: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)


@app.command()
def run(
    profile: Profile = "laptop",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every stage.")] = None,
    sets: Sets = None,
    problems: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Training problems: .jsonl or .parquet with answers.")
    ] = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="Folder or s3://bucket/prefix.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Goes on with a run; takes no other option.")
    ] = None,
) -> None:
    """Runs a whole round here; the first one in a store pretrains or imports its model before."""
    from rich.console import Console

    from pipelines.local.folder import RunFolder
    from pipelines.local.round import begin_round, go_on
    from pipelines.profile import load_profile

    console = Console(file=sys.stdout)
    if resume is not None:
        if profile != "laptop" or sets or (seed, problems, store) != (None, None, None):
            raise typer.BadParameter("it goes on with the run's own settings", param_hint="--resume")
        folder = RunFolder.find(resume)
    else:
        overrides = [
            f"{name}={value}" for name, value in (("seed", seed), ("store", store)) if value is not None
        ]
        folder = begin_round(load_profile(profile, [*(sets or []), *overrides]), problems)
    _watch_round(lambda: go_on(folder, console), folder.id)


def _watch_round(work: Any, run_id: str) -> None:
    """Does the work; says what failed, what the log's end says, and how to go on."""
    from pipelines.local.tasks import StageFailed

    again = f"go on with: mathloop run --resume {run_id}"
    try:
        work()
    except KeyboardInterrupt:
        print(f"\nmathloop: stopped; {again}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except StageFailed as failure:
        if failure.user_error is not None:
            print(f"mathloop: error: {failure.user_error}; {again}", file=sys.stderr)
            sys.exit(2)
        ending = f"exit code {failure.exit_code}"
        if failure.exit_code < 0:
            ending = f"killed by signal {-failure.exit_code}"
        print(f"\nlast lines of {failure.log}:", file=sys.stderr)
        for line in failure.log.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:]:
            print(f"  {line}", file=sys.stderr)
        print(
            f"mathloop: stage {failure.stage} failed after {failure.seconds:.1f} s ({ending}); {again}",
            file=sys.stderr,
        )
        sys.exit(1)


@app.command("compile")
def compile_pipelines(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for one .yaml a pipeline.")],
) -> None:
    """Writes every pipeline as KFP's intermediate representation, for a cluster."""
    from pipelines.compiling import write_compiled

    for path in write_compiled(out):
        print(path)


@app.command()
def doctor() -> None:
    """Says what is missing on this machine; exits with 1 where something is."""
    from pipelines.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok  ' if finding.good else 'MISS'} {finding.what}: {finding.said}")
    if not all(finding.good for finding in findings):
        sys.exit(1)


@app.command()
def grade(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.jsonl", help='Rows with "gold" and "pred".')],
) -> None:
    """Prints the same rows with "correct" and "reason", in order."""
    import json

    from mathloop.answers.grading import grade_rows

    try:
        rows = open(pairs, "rb")  # noqa: SIM115  (closed below; only its opening may fail here)
    except OSError as error:
        raise BadData(f"cannot be read ({error.strerror})", path=pairs) from None
    with rows:
        for row in grade_rows(rows, str(pairs)):
            print(json.dumps(row, ensure_ascii=False))


@app.command()
def execute() -> None:
    """Runs Python from stdin in the sandbox; prints JSON with status, stdout, error and seconds."""
    import json

    from mathloop import sandbox

    print(json.dumps(sandbox.execute(sys.stdin.read(), sandbox.SandboxConfig()), ensure_ascii=False))


@app.command()
def decontaminate(
    train: Annotated[Path, typer.Option(metavar="FILE", help="Training data: .jsonl or .parquet.")],
    benchmarks: Annotated[
        list[Path], typer.Option(metavar="DIR_OR_FILES", help="Benchmark files, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Rows that stay.")],
    removed: Annotated[Path, typer.Option(metavar="FILE", help="Rows that went, with rule and evidence.")],
    more: Annotated[
        list[Path] | None, typer.Argument(hidden=True, help="So that --benchmarks takes a shell's *.jsonl.")
    ] = None,
) -> None:
    """Removes training rows that a benchmark item contaminates."""
    from mathloop.decontamination import stage

    files = [file for path in (*benchmarks, *(more or [])) for file in _benchmark_files(path)]
    report = stage.run(
        problems=train, responses=None, benchmarks=files, out=out, removed=removed, config=stage.Config()
    )
    print(f"{report.kept:,} of {report.taken:,} rows stay, {sum(report.dropped.values()):,} removed")


def _benchmark_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in (".jsonl", ".parquet"))
    if not files:
        raise BadData("no .jsonl or .parquet file in this folder", path=path)
    return files


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's folder.")],
    benchmark: Annotated[Path, typer.Argument(metavar="BENCHMARK", help="Problems with answers.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps every response: .parquet or .jsonl.")
    ] = None,
    reward_model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Reward model that ranks samples."),
    ] = None,
    profile: Profile = "laptop",
    sets: Sets = None,
) -> None:
    """Answers a benchmark with a model, greedily and sampled, and prints the table of scores."""
    import os
    import tempfile

    from mathloop.evaluation import evaluate as stage
    from mathloop.evaluation import print_table, score_table
    from mathloop.problems.files import read_problem_file
    from mathloop.records import read_problems, read_responses, write_problems
    from pipelines.profile import load_profile

    settings: Any = load_profile(profile, sets or [])
    with tempfile.TemporaryDirectory() as folder:
        problems, results = Path(folder) / "benchmark.parquet", out or Path(folder) / "results.parquet"
        write_problems(problems, read_problem_file(benchmark))
        stage.run(
            benchmark=problems,
            models={model.resolve().name: model},
            reward_model=reward_model or Path(os.devnull),  # not a folder: no rewards
            out=results,
            config=settings.evaluation,
            seed=settings.seed,
        )
        print(print_table(score_table(read_problems(problems), read_responses(results), k=None)))


if __name__ == "__main__":
    main()
