"""`mathloop serve` and `mathloop ask`: starts the server, and prints its answers on a terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mathloop.errors import BadConfig, BadData, UserError
from mathloop.lines import is_blank
from mathloop.serving import client
from mathloop.serving.client import Reply
from mathloop.serving.config import KEY_VARIABLE, SolverConfig
from mathloop.serving.keys import Keys, read_key
from mathloop.voting import STRATEGIES
from pipelines.streams import visible

if TYPE_CHECKING:
    from mathloop.registry import Champion
    from mathloop.serving.engines import Engine

STORE = "runs/store"
"""Default store: that of the shipped profiles."""
URL = "http://127.0.0.1:8080"


def serve(
    *,
    store: str | None,
    model: Path | None,
    reward_model: Path | None,
    policy_url: str | None,
    reward_model_url: str | None,
    host: str,
    port: int,
    strategy: str | None,
    samples: int | None,
    temperature: float | None,
    adaptive: Literal["auto", "always", "never"],
    deadline: float,
    wait: float,
    page: bool,
    keys: Path | None,
    parallel: int,
    queue: int,
) -> None:
    """Serves until it is stopped.

    Raises:
        UserError: conflicting options, no champion, a broken model, a port in use, an unreachable URL.
    """
    _check_sources(store, model, reward_model, policy_url, reward_model_url)
    if strategy is not None and strategy not in STRATEGIES:
        raise BadConfig(f"--strategy {strategy}: expected one of {', '.join(STRATEGIES)}")
    # While models load, SIGTERM must end the process through Python, so that temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from mathloop.serving import defaults, server
    from mathloop.serving.solver import Solver

    config = SolverConfig(adaptive=adaptive, deadline=deadline, parallel=parallel, queue=queue)
    key = read_key(KEY_VARIABLE)
    accepted = None if keys is None else Keys.read(keys)
    if key is not None:
        accepted = Keys.of(key) if accepted is None else accepted | Keys.of(key)
    bound = server.bind(host, port)
    if accepted is None and host not in ("127.0.0.1", "::1", "localhost"):
        print(
            f"listening on {host} without an API key: anyone who can reach this host can use it; "
            f"set {KEY_VARIABLE} or --keys",
            file=sys.stderr,
        )
    engine, champion = _load(store, model, reward_model, policy_url, reward_model_url, config)
    if strategy is not None and STRATEGIES[strategy].needs == "rewards" and not engine.has_reward_model:
        raise BadConfig(f"--strategy {strategy} needs a reward model, and none is served; choose maj")
    asked = {"strategy": strategy, "samples": samples, "temperature": temperature}
    config, line = defaults.resolve(config, champion, asked, has_reward_model=engine.has_reward_model)
    if line is not None:
        print(line, file=sys.stderr)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{bound.getsockname()[1]}"

    def print_ready() -> None:
        print(f"serving {engine.name} at {url}; stop with Ctrl-C", flush=True)

    server.serve(Solver(engine, config), bound, keys=accepted, wait=wait, on_ready=print_ready, page=page)


def _check_sources(
    store: str | None,
    model: Path | None,
    reward_model: Path | None,
    policy_url: str | None,
    reward_model_url: str | None,
) -> None:
    sources = {"--store": store, "--model": model, "--policy-url": policy_url}
    used = [name for name, value in sources.items() if value is not None]
    if len(used) > 1:
        raise BadConfig(f"{' and '.join(used)} each select a policy; use only one of them")
    if reward_model is not None and model is None:
        raise BadConfig("--reward-model needs --model; a store's champion has its own reward model")
    if reward_model_url is not None and policy_url is None:
        raise BadConfig("--reward-model-url needs --policy-url; add it")


def _load(
    store: str | None,
    model: Path | None,
    reward_model: Path | None,
    policy_url: str | None,
    reward_model_url: str | None,
    config: SolverConfig,
) -> tuple[Engine, Champion | None]:
    if policy_url is not None:
        from mathloop.serving.remote import RemoteEngine

        return RemoteEngine(policy_url, reward_model_url, config, tools=True), None
    import torch

    from mathloop.serving.cores import usable_cores
    from mathloop.serving.local import LocalEngine

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    if model is not None:
        name = f"the model in {model.resolve().name}"
        return LocalEngine.load(model, reward_model, config, name=name), None
    return LocalEngine.load_champion(STORE if store is None else store, config)


def ask(
    problem: str, *, url: str | None, namespace: str | None, fields: dict[str, Any], as_json: bool
) -> None:
    """Sends a problem to a running server; prints the answer and the candidates.

    Args:
        namespace: of the Service that a cluster's champion is served at; None: the server is at `url`.

    Raises:
        UserError: an empty problem, an unreachable server or cluster, or the server's own error.
    """
    from pipelines import streams

    if problem == "-":
        problem = streams.read_program()
    if is_blank(problem):
        raise BadData("the problem is empty; pass it as an argument, or - to read standard input")
    if namespace is not None and url is not None:
        raise BadConfig("--cluster and --url each name a server; use only one of them")
    fields = {name: value for name, value in fields.items() if value is not None}
    if namespace is None:
        reply = client.ask(url or URL, problem, fields)
    else:
        reply = client.ask_through(_send_to(namespace), f"Service {namespace}/mathloop", problem, fields)
    print(json.dumps(reply.body, ensure_ascii=False, indent=1) if as_json else "\n".join(_lines(reply)))


def _send_to(namespace: str) -> client.Send:
    """Sends through the API server of the kubeconfig's cluster."""
    from mathloop.cluster import stable_address
    from mathloop.cluster.kubernetes import Cluster
    from mathloop.cluster.refusals import NotFound, Unreachable

    cluster = Cluster.connect()
    remedy = "deploy a champion: mathloop rollback --serve, or a round with --serve"

    def send(path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        try:
            return cluster.ask_service(stable_address.NAME, namespace, path, body, client.READ_SECONDS)
        except NotFound:
            raise UserError(f"no champion is served in namespace {namespace}; {remedy}") from None
        except Unreachable as error:
            raise UserError(f"the served champion gives no answer ({error}); is its pod ready?") from None

    return send


def _lines(reply: Reply) -> list[str]:
    """The answer, its response, and the table of candidates."""
    rows = [["", "answer", "votes", "weighted", "reward"]]
    for number, candidate in enumerate(reply.candidates):
        answer = "(none)" if candidate.answer is None else candidate.answer
        rows.append(
            [
                "" if number else "▸",
                _short(answer),
                str(candidate.votes),
                _number(candidate.weighted_votes),
                _number(candidate.reward),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    ending = f"{reply.strategy}, {reply.tokens:,} tokens, {reply.seconds:.1f} s, {reply.answers_with}"
    answer = "no final answer" if reply.answer is None else f"answer: {reply.answer}"
    text = [f"  {line}" for line in reply.text.splitlines()]
    return [visible(line) for line in (answer, "", *text, "", *table, "", ending)]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}…"
