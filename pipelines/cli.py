"""The command line: `mathloop …`. Heavy imports stand inside commands: the light ones start at once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mathloop.errors import BadConfig, BadData, MathloopError, StorageRefused, UserError
from pipelines import streams
from pipelines.paths import check_folder, check_text, explain

app = typer.Typer(
    help="A math language model that improves itself, in rounds.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130
LAST_LINES = 40
"""Lines of a failed stage's log that are shown."""
UsageError = typer.BadParameter.__mro__[1]
"""Of click, which typer brings along or imports, depending on its version."""

Profile = Annotated[str, typer.Option(help="A profile's name (laptop, smollm, tiny) or its .yaml file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides a field: grpo.steps=10.")
]


def main() -> None:
    """Runs a command; what its user can mend, and what mathloop raises, becomes one line and an exit code."""
    try:
        streams.prepare()
        _check_call()
        try:
            code = app(sys.argv[1:] or ["--help"], prog_name="mathloop", standalone_mode=False)
        finally:
            sys.stdout.flush()  # while a refusal can still be told
    except MathloopError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        _end(explain(error))
    except typer.Abort:
        _end("the input ended", MathloopError.exit_code)
    except UsageError as error:
        asked: Any = error
        command = asked.ctx.command_path if asked.ctx else "mathloop"
        _end(f"{asked.format_message().rstrip('.')}; see {command} --help")
    sys.exit(code or 0)


def _end(said: str, code: int = UserError.exit_code) -> NoReturn:
    streams.complain(said)
    sys.exit(code)


def _check_call() -> None:
    """Refuses what would go wrong in every command."""
    try:
        os.getcwd()
    except OSError:
        raise BadConfig("the current folder is gone or closed; go to another") from None
    for argument in sys.argv[1:]:
        check_text(Path(argument))


@app.command()
def run(
    ctx: typer.Context,
    profile: Profile = "laptop",
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of every stage.")] = None,
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
        for param in ctx.command.params:
            source = ctx.get_parameter_source(param.name or "")
            if param.name != "resume" and source is not None and source.name != "DEFAULT":
                raise BadConfig(f"--resume goes on with the run's own settings; leave out {param.opts[0]}")
        folder = RunFolder.find(resume)
    else:
        overrides = [
            f"{name}={value}" for name, value in (("seed", seed), ("store", store)) if value is not None
        ]
        folder = begin_round(load_profile(profile, [*(sets or []), *overrides]), problems)
    _watch_round(lambda: go_on(folder, console), folder.path)


def _watch_round(work: Any, folder: Path) -> None:
    """Does the work; says what failed, what the log's end says, and how to go on."""
    from pipelines.local.folder import RUNS
    from pipelines.local.tasks import StageFailed

    near = folder.parent == RUNS.resolve()
    again = f"go on with: mathloop run --resume {folder.name if near else folder}"
    try:
        work()
    except StorageRefused as error:
        _end(f"{error}; {again}")
    except OSError as error:
        _end(f"{explain(error, folder)}; {again}")
    except KeyboardInterrupt:
        print(f"\nmathloop: stopped; {again}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except StageFailed as failure:
        if failure.user_error is not None:
            _end(f"{failure.user_error}; {again}")
        ending = f"exit code {failure.exit_code}"
        if failure.exit_code < 0:
            ending = f"killed by signal {-failure.exit_code}"
        print(f"\nlast lines of {failure.log}:", file=sys.stderr)
        with suppress(OSError):
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
    from mathloop.files import reading

    with reading(pairs), open(pairs, "rb") as rows:
        for row in grade_rows(rows, str(pairs)):
            print(json.dumps(row, ensure_ascii=False))


@app.command()
def execute() -> None:
    """Runs Python from stdin in the sandbox; prints JSON with status, stdout, error and seconds."""
    import json

    from mathloop import sandbox

    program = streams.read_program()
    print(json.dumps(sandbox.execute(program, sandbox.SandboxConfig()), ensure_ascii=False))


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
        raise BadData("no .jsonl or .parquet file in this folder; put the benchmarks there", path=path)
    for file in files:
        check_text(file)
    return files


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(metavar="NAME", help="round: first rounds over several seeds.")],
    profile: Profile = "laptop",
    seeds: Annotated[str, typer.Option(metavar="N,N,…", help="A round for each of these seeds.")] = "0,1,2",
    sets: Sets = None,
) -> None:
    """Measures and prints figures. `round` prints the mean scores of rounds and the orderings they keep."""
    from functools import partial

    from rich.console import Console

    if name != "round":
        raise BadConfig(f"no benchmark {name!r}; known: round")
    if not all(seed.isascii() and seed.isdigit() for seed in seeds.split(",")):
        raise BadConfig(f"--seeds {seeds}: expected whole numbers with commas between them: 0,1,2")
    from pipelines import benchmark as rounds
    from pipelines.local.round import go_on

    console = Console(file=sys.stdout)
    folders = []
    for seed in map(int, seeds.split(",")):
        folder = rounds.begin(profile, seed, sets or [])
        _watch_round(partial(go_on, folder, console), folder.path)
        folders.append(folder)
    rounds.print_means(folders, console)


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
    import tempfile

    from mathloop.evaluation import evaluate as stage
    from mathloop.evaluation import print_table, score_table
    from mathloop.problems.files import read_problem_file
    from mathloop.records import read_problems, read_responses, write_problems
    from mathloop.training.import_model import load_folder
    from pipelines.profile import load_profile

    settings: Any = load_profile(profile, sets or [])
    if out is not None:
        if out.is_dir() or out.resolve() == benchmark.resolve():
            raise BadConfig(f"--out {out}: expected a file other than the benchmark")
        check_folder(out.parent)
    with tempfile.TemporaryDirectory() as folder:
        problems, results = Path(folder) / "benchmark.parquet", out or Path(folder) / "results.parquet"
        write_problems(problems, read_problem_file(benchmark))
        # The stage shows progress before it loads a model; what is none must be refused by one line alone.
        for given in (model, reward_model):
            if given is not None:
                load_folder(given)
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
