"""`mathloop evaluate`, `serve` and `ask`: commands that generate answers."""

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
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder.")],
    benchmark: Annotated[Path, typer.Argument(metavar="BENCHMARK", help="File of problems with answers.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all responses to this .parquet or .jsonl file.")
    ] = None,
    reward_model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Reward model, for rm@k."),
    ] = None,
    profile: Profile = "laptop",
    sets: Sets = None,
) -> None:
    """Evaluates a model on a benchmark, greedily and sampled, and prints the table of scores."""
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
        str | None, typer.Option(metavar="URL", help="Serve this store's champion. Default: runs/store.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Serve this policy folder instead of a champion.")
    ] = None,
    reward_model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --model: reward model folder.")
    ] = None,
    policy_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Serve the policy of this vLLM server instead.")
    ] = None,
    reward_model_url: Annotated[
        str | None, typer.Option(metavar="URL", help="With --policy-url: vLLM server with the reward model.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0: all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8080,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=86400, help="Time limit per request.")
    ] = 300,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=86400, help="Time to wait for vLLM at startup.")
    ] = 0,
) -> None:
    """Serves a model over HTTP through an OpenAI-compatible chat completions API."""
    from pipelines.commands import endpoint

    endpoint.serve(
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
    problem: Annotated[
        str, typer.Argument(metavar="PROBLEM", help="The problem, or - to read standard input.")
    ],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="URL of the server. Default: http://127.0.0.1:8080.")
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Ask the champion that your kubeconfig's cluster serves.")
    ] = False,
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="With --cluster: namespace of its Service.")
    ] = "mathloop",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Responses to sample. Default: the server's, 8.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(STRATEGIES)}. Default: rm if a reward model is served, else maj.",
        ),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="NAME", help="cot (text only, the default) or tir (with Python).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Sampling seed, for a reproducible answer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's whole reply as JSON.")] = False,
) -> None:
    """Sends a problem to a running server; prints the answer and all candidates with votes and rewards.

    With --cluster, through the API server, as kubectl does.
    """
    from pipelines.commands import endpoint

    fields = {"samples": samples, "strategy": strategy, "mode": mode, "seed": seed}
    endpoint.ask(problem, url=url, namespace=namespace if cluster else None, fields=fields, as_json=as_json)
