"""A client of the solver. The server is not trusted: its reply is bounded and checked before it is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import certifi
import urllib3

from mathloop.errors import UserError
from mathloop.lines import parse_object
from mathloop.serving.config import KEY_VARIABLE, MODEL
from mathloop.serving.keys import read_key
from mathloop.serving.urls import check_url

LARGEST = 64 << 20
"""Most bytes of a reply."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 330.0
"""Time between two bytes: longer than the server's own deadline, unless `--deadline` raises that."""
PATH = "/v1/chat/completions"
START = "start one with `mathloop serve`, or set --url"


@dataclass(frozen=True)
class Candidate:
    """One final answer among the responses."""

    answer: str | None
    votes: int
    weighted_votes: float | None
    reward: float | None


@dataclass(frozen=True)
class Reply:
    """The server's reply."""

    text: str
    answer: str | None
    strategy: str
    answers_with: str
    candidates: list[Candidate]
    """The chosen one is first."""
    seconds: float
    tokens: int
    body: dict[str, Any]
    """The whole reply."""


Send = Callable[[str, dict[str, Any]], tuple[int, bytes]]
"""(path, JSON body) → status and body of the answer; raises UserError if the server cannot be reached."""


def ask(url: str, problem: str, fields: dict[str, Any]) -> Reply:
    """Sends a problem to the solver at `url`; `fields` are added to the request.

    Raises UserError if it cannot be reached, refuses, or its reply is malformed.
    """
    root = check_url("--url", url)
    return ask_through(lambda path, body: _send(root, path, body), root, problem, fields)


def ask_through(send: Send, name: str, problem: str, fields: dict[str, Any]) -> Reply:
    """As `ask`, through another way to the server, which messages call `name`."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": problem}], **fields}
    status, data = send(PATH, body)
    try:
        if len(data) > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        reply = parse_object(data)
        if status != 200:
            raise UserError(f"{name} refuses: {reply['error']['message']}")
        return _checked(reply)
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(f"{name} is not a mathloop solver (status {status}); {START}") from None


def _send(root: str, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if key := read_key(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        retries=False,
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
    try:
        answer = pool.request(
            "POST",
            f"{root}{path}",
            body=json.dumps(body).encode(),
            headers=headers,
            preload_content=False,
        )
        return answer.status, answer.read(LARGEST + 1)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UserError(f"no server at {root} ({_reason(error)}); {START}") from None


def _checked(reply: dict[str, Any]) -> Reply:
    """Raises ValueError, KeyError, TypeError or IndexError for a missing field or a wrong type."""
    extension = reply["mathloop"]
    candidates = [
        Candidate(
            _text_or_none(one["answer"]),
            int(one["votes"]),
            _number_or_none(one["weighted_votes"]),
            _number_or_none(one["reward"]),
        )
        for one in extension["candidates"]
    ]
    return Reply(
        text=str(reply["choices"][0]["message"]["content"]),
        answer=_text_or_none(extension["answer"]),
        strategy=str(extension["strategy"]),
        answers_with=str(extension["answers_with"]),
        candidates=candidates,
        seconds=float(extension["seconds"]["total"]),
        tokens=int(reply["usage"]["completion_tokens"]),
        body=reply,
    )


def _text_or_none(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError
    return value


def _number_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # a subclass of ConnectTimeoutError
        return "connection refused, or unknown host"
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return "it does not answer"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return "it does not answer in time"
    return "the connection broke"
