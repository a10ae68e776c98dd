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

Profile = Annotated[str, typer.Option(help="A profile's name (gpu, laptop, smollm, tiny) or its .yaml file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrides a field: grpo.steps=10.")
]
Seed = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of every stage.")]
Pipeline = Annotated[
    str,
    typer.Option(metavar="NAME", help="improvement-round, pretraining, model-import, evaluation or data."),
]
Serve = Annotated[bool, typer.Option("--serve", help="A promoted champion goes behind its KServe endpoints.")]
Host = Annotated[
    str | None,
    typer.Option(metavar="URL", help="KFP's address; else KF_PIPELINES_ENDPOINT, else by the kubeconfig."),
]
Namespace = Annotated[str | None, typer.Option(help="Of the runs: your profile's, in a multi-user Kubeflow.")]
Stored = Annotated[str, typer.Option(metavar="URL", help="Store of the champions.")]
CLUSTER_STORE = "s3://mathloop/store"


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
        for param in _given(ctx):
            if param.name != "resume":
                raise BadConfig(f"--resume goes on with the run's own settings; leave out {param.opts[0]}")
        folder = RunFolder.find(resume)
    else:
        overrides = [
            f"{name}={value}" for name, value in (("seed", seed), ("store", store)) if value is not None
        ]
        folder = begin_round(load_profile(profile, [*(sets or []), *overrides]), problems)
    _watch_round(lambda: go_on(folder, console), folder.path)


def _given(ctx: typer.Context) -> list[Any]:
    """The parameters that the command line names."""
    sources = ((param, ctx.get_parameter_source(param.name or "")) for param in ctx.command.params)
    return [param for param, source in sources if source is not None and source.name != "DEFAULT"]


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
    profile: Annotated[
        str | None, typer.Option(help="Compiles its pools in; its settings become the defaults.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Writes every pipeline as KFP's intermediate representation, for a cluster."""
    from pipelines.compiling import write_compiled
    from pipelines.profile import load_profile

    if profile is None and sets:
        raise BadConfig("--set changes a profile; give one by --profile")
    for path in write_compiled(out, None if profile is None else load_profile(profile, sets or [])):
        print(path)


@app.command()
def submit(
    profile: Profile = "laptop",
    sets: Sets = None,
    seed: Seed = None,
    pipeline: Pipeline = "improvement-round",
    serve: Serve = False,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Starts a run on a cluster; the pipeline is uploaded there as a new version if it changed."""
    from pipelines.cluster import submitting

    submitting.submit(
        pipeline=pipeline,
        profile=profile,
        sets=sets or [],
        seed=seed,
        serve=serve,
        host=host,
        namespace=namespace,
    )


@app.command()
def schedule(
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help='When, in UTC: "0 2 * * *"; six fields with seconds.')
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Prints the schedules there.")] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Deletes the one of this pipeline and profile.")
    ] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
    seed: Seed = None,
    pipeline: Pipeline = "improvement-round",
    serve: Serve = False,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Has a cluster start runs again and again: one at a time, of the newest version, none made up for.

    Called again it changes the schedule of this pipeline and profile, and never makes a second one.
    """
    from pipelines.cluster import scheduling

    if [cron is not None, listed, delete].count(True) != 1:
        raise BadConfig("give one of --cron, --list and --delete")
    if listed:
        scheduling.list_schedules(host=host, namespace=namespace)
    elif delete:
        scheduling.delete_schedule(
            pipeline=pipeline, profile=profile, sets=sets or [], host=host, namespace=namespace
        )
    else:
        scheduling.schedule(
            cron=cron or "",
            pipeline=pipeline,
            profile=profile,
            sets=sets or [],
            seed=seed,
            serve=serve,
            host=host,
            namespace=namespace,
        )


@app.command()
def rounds(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Runs to print.")] = 20,
    store: Stored = CLUSTER_STORE,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Prints a cluster's newest runs, and the line of champions with what their gates measured."""
    from pipelines.cluster import champions

    champions.rounds(limit=limit, store=store, host=host, namespace=namespace)


@app.command()
def rollback(
    to: Annotated[
        int | None, typer.Option(min=0, help="Champion to go back to, else the one before.")
    ] = None,
    store: Stored = CLUSTER_STORE,
    serve: Annotated[bool, typer.Option("--serve", help="Puts it behind the endpoints as well.")] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
) -> None:
    """Makes an earlier champion's models champion again, as a new entry of the line."""
    from pipelines.cluster import champions

    champions.rollback(to=to, store=store, serve=serve, profile=profile, sets=sets or [])


@app.command()
def doctor(
    ctx: typer.Context,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Looks at the kubeconfig's cluster in place of this machine.")
    ] = False,
    profile: Profile = "laptop",
    sets: Sets = None,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Says what is missing here, or on a cluster for a profile; exits with 1 where something is."""
    if cluster:
        from pipelines.cluster.examining import examine_cluster

        findings = examine_cluster(profile=profile, sets=sets or [], host=host, namespace=namespace)
    else:
        from pipelines.doctor import examine

        for param in _given(ctx):
            raise BadConfig(f"doctor takes {param.opts[0]} only together with --cluster")
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
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="round: first rounds over several seeds. grade: verdicts beside Math-Verify's. sandbox: runs"
            " beside python -c, hostile programs, what many runs leave.",
        ),
    ],
    profile: Profile = "laptop",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="With round: a round for each of these seeds.")
    ] = "0,1,2",
    sets: Sets = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With grade: labeled answers; without, they are generated."),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="With sandbox: 10,000 runs in place of 1,000.")
    ] = False,
) -> None:
    """Measures and prints figures, beside a peer's from the same run where there is one.

    `round` prints the mean scores of rounds and the orderings they keep.
    """
    takes = {"round": ("profile", "seeds", "sets"), "grade": ("data",), "sandbox": ("long",)}
    if name not in takes:
        raise BadConfig(f"no benchmark {name!r}; known: {', '.join(takes)}")
    for param in _given(ctx):
        if param.name != "name" and param.name not in takes[name]:
            owner = next(other for other, options in takes.items() if param.name in options)
            raise BadConfig(f"benchmark {name} takes no {param.opts[0]}; it is for benchmark {owner}")
    if name == "grade":
        from pipelines.benchmarks import grading

        grading.run(data)
    elif name == "sandbox":
        from pipelines.benchmarks import sandboxing

        sandboxing.run(long)
    else:
        _benchmark_rounds(profile, seeds, sets or [])


def _benchmark_rounds(profile: str, seeds: str, sets: list[str]) -> None:
    from functools import partial

    from rich.console import Console

    if not all(seed.isascii() and seed.isdigit() for seed in seeds.split(",")):
        raise BadConfig(f"--seeds {seeds}: expected whole numbers with commas between them: 0,1,2")
    from pipelines.benchmarks import rounds
    from pipelines.local.round import go_on

    console = Console(file=sys.stdout)
    folders = []
    for seed in map(int, seeds.split(",")):
        folder = rounds.begin(profile, seed, sets)
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


@app.command()
def serve(
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="The store whose champion answers, else runs/store.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="In its place: a policy's folder.")
    ] = None,
    reward_model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --model: a reward model's folder.")
    ] = None,
    policy_url: Annotated[
        str | None, typer.Option(metavar="URL", help="In its place: vLLM with the policy.")
    ] = None,
    reward_model_url: Annotated[
        str | None, typer.Option(metavar="URL", help="With --policy-url: vLLM with the reward model.")
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 8080,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=86400, help="From a question to its answer.")
    ] = 300,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=86400, help="For vLLM to come up, at the start.")
    ] = 0,
) -> None:
    """Answers problems over HTTP, as OpenAI's chat completions, until it is stopped."""
    from pipelines import serving

    serving.serve(
        store=store,
        model=model,
        reward_model=reward_model,
        policy_url=policy_url,
        reward_model_url=reward_model_url,
        host=host,
        port=port,
        deadline=deadline,
        wait=wait,
    )


@app.command()
def ask(
    problem: Annotated[str, typer.Argument(metavar="PROBLEM", help="The problem; - reads standard input.")],
    url: Annotated[str, typer.Option(metavar="URL", help="A running server.")] = "http://127.0.0.1:8080",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Responses to choose from; 8 unless the server says else.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="greedy, maj or rm; rm where a reward model is.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="NAME", help="cot (prose, the default) or tir (with Python).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same answer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the server's whole reply.")] = False,
) -> None:
    """Asks a running server, and shows the answer and the candidates with votes and rewards."""
    from pipelines import serving

    fields = {"samples": samples, "strategy": strategy, "mode": mode, "seed": seed}
    serving.ask(problem, url=url, fields=fields, as_json=as_json)


if __name__ == "__main__":
    main()
