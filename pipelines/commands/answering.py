"""`mathloop evaluate`, `serve` and `ask`: models that answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mathloop.errors import BadConfig
from mathloop.voting import STRATEGIES
from pipelines.commands.options import Profile, Sets
from pipelines.paths import check_folder


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
    from mathloop.models.loading import check_model
    from mathloop.problems.files import read_problem_file
    from mathloop.records import read_problems, read_responses, write_problems
    from pipelines.profile import load_profile

    settings = load_profile(profile, sets or [])
    if out is not None:
        if out.is_dir() or out.resolve() == benchmark.resolve():
            raise BadConfig(f"--out {out}: expected a file other than the benchmark")
        check_folder(out.parent)
    with tempfile.TemporaryDirectory() as folder:
        problems, results = Path(folder) / "benchmark.parquet", out or Path(folder) / "results.parquet"
        write_problems(problems, read_problem_file(benchmark))
        # The stage shows progress before it loads a model; a refusal must be one line alone.
        check_model(model, "policy")
        if reward_model is not None:
            check_model(reward_model, "reward model")
        stage.run(
            benchmark=problems,
            models={model.resolve().name: model},
            reward_model=reward_model or Path(os.devnull),  # not a folder: no rewards
            out=results,
            config=settings.evaluation,
            seed=settings.seed,
        )
        print(print_table(score_table(read_problems(problems), read_responses(results), k=None)))


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


def ask(
    problem: Annotated[str, typer.Argument(metavar="PROBLEM", help="The problem; - reads standard input.")],
    url: Annotated[str, typer.Option(metavar="URL", help="A running server.")] = "http://127.0.0.1:8080",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Responses to choose from; 8 unless the server says else.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(STRATEGIES)}. Default: rm if a reward model is served, else maj.",
        ),
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
