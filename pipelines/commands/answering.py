"""`mathloop serve` and `ask`: a server of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mathloop.voting import STRATEGIES


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
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Default of requests: {', '.join(STRATEGIES)}. Default: the champion's best in its "
            "evaluation; without one, weighted if a reward model is served, else maj.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Default number of responses. Default: as evaluated, else 8."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0.01, max=2, help="Default sampling temperature. Default: as evaluated, else 1."),
    ] = None,
    adaptive: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(
            help="Draw until the vote is settled. auto: while other questions are there, without a seed."
        ),
    ] = "auto",
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=86400, help="Time limit per request.")
    ] = 300,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=86400, help="Time to wait for vLLM at startup.")
    ] = 0,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Accepted API keys, lines NAME SHA256, besides MATHLOOP_API_KEY."),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option(min=1, help="Requests answered at the same time; one of n < 8 samples counts as n/8."),
    ] = 32,
    queue: Annotated[
        int, typer.Option(min=0, help="Requests that may wait; further ones are refused (HTTP 429).")
    ] = 256,
    no_page: Annotated[bool, typer.Option("--no-page", help="No page for people at /.")] = False,
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
        strategy=strategy,
        samples=samples,
        temperature=temperature,
        adaptive=adaptive,
        deadline=deadline,
        wait=wait,
        page=not no_page,
        keys=keys,
        parallel=parallel,
        queue=queue,
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
            help=f"{', '.join(STRATEGIES)}. Default: the server's.",
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
