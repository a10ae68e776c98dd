"""A client of an OpenAI-compatible server, which is not trusted: its answers are bounded and checked."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import certifi
import httpx

from mathloop.lines import parse_object
from mathloop.serving.config import ENDPOINT_KEY_VARIABLE
from mathloop.serving.keys import read_key
from mathloop.serving.refusals import UNAVAILABLE, Refused

LARGEST = 32 << 20
"""Most bytes of an answer."""
TRIES = 4
FIRST_PAUSE = 0.25
"""Seconds before the second attempt; each later pause is twice as long."""
BUSY = (429, 503)
GATEWAY = (502, 504)


@dataclass(frozen=True)
class Retries:
    """When a request is sent again, and after which pauses."""

    tries: int = TRIES
    """Attempts while nothing was begun: no connection, or "busy"."""
    broken_tries: int = 2
    """Attempts after a connection that broke, or a gateway's error: the work may have been done in vain."""
    longest_pause: float = 5.0
    longest_asked: float = 0.0
    """Longest pause that the server may ask for by Retry-After, in seconds."""
    whole: bool = False
    """Whether answers that do not come in time or are not whole are asked for again as well, and those of a
    server with an error of its own (5xx)."""

    def pause(self, attempt: int, asked: float) -> float:
        """Seconds after attempt number `attempt`, from 0; no less than `asked` for."""
        own: float = min(FIRST_PAUSE * 2.0**attempt, self.longest_pause) * random.uniform(0.75, 1.25)
        return max(own, min(asked, self.longest_asked))

    def allowed(self, status: int) -> int:
        """Attempts in all, where the last one ended in this status; 0: without one."""
        if status in (0, *GATEWAY) or (self.whole and (status >= 500 or status == 408)):
            return self.broken_tries
        return self.tries if status in BUSY else 1


ONE_QUESTION = Retries()
"""Somebody waits for the answer."""


MOST_SHOWN = 200
"""Characters of an endpoint's message or name that are passed on."""


def open_client(seconds: float) -> httpx.AsyncClient:
    """The HTTP client of one endpoint; `seconds` bounds the time between two bytes of an answer.

    It uses no proxy, follows no redirect, and reads trusted certificates from SSL_CERT_FILE.
    """
    context = _trust(os.environ.get("SSL_CERT_FILE") or certifi.where())
    key = read_key(ENDPOINT_KEY_VARIABLE)
    return httpx.AsyncClient(
        verify=context,
        trust_env=False,
        timeout=httpx.Timeout(seconds, connect=3.0, pool=None),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
        headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})},
    )


@lru_cache(maxsize=4)
def _trust(certificates: str) -> ssl.SSLContext:
    """Read once: the file is large, and there is a client per endpoint."""
    return ssl.create_default_context(cafile=certificates)


class Endpoint:
    """A server with OpenAI's API at `root`; messages call it `what`: the policy, the reward model."""

    def __init__(
        self,
        what: str,
        root: str,
        client: httpx.AsyncClient,
        *,
        model: str | None = None,
        retries: Retries = ONE_QUESTION,
    ) -> None:
        """`model`: its name there; None for the first that is served."""
        self.what, self.root = what, root
        self._client, self._retries = client, retries
        self._model = self._fixed = model

    async def model(self) -> str:
        """The name of the first model that it serves."""
        answer = await self.ask("GET", "/v1/models")
        models = answer.get("data")
        if not isinstance(models, list) or not models or not isinstance(models[0], dict):
            raise self.invalid("no list of models")
        name = models[0].get("id")
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MOST_SHOWN:
            raise self.invalid("a model without a name")
        self._model = name
        return name

    async def post(
        self, path: str, payload: dict[str, Any], whole: Callable[[dict[str, Any]], object] | None = None
    ) -> dict[str, Any]:
        """Its answer to a request for its model. Raises Refused: 400 if it refuses the request, else 503.

        `whole` raises ValueError for an answer that is not whole.
        """
        if self._model is None:
            await self.model()
        return await self.ask("POST", path, {"model": self._model, **payload}, whole=whole)

    async def check(self, seconds: float) -> None:
        """Asks once for its models. Raises Refused if it does not answer within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.ask("GET", "/v1/models", tries=1)
        except TimeoutError:
            raise self._unavailable("does not answer in time") from None

    async def ask(
        self,
        method: str,
        path: str,
        payload: dict[str, Any] | None = None,
        tries: int | None = None,
        whole: Callable[[dict[str, Any]], object] | None = None,
    ) -> dict[str, Any]:
        """Its answer, a JSON object; tries again after pauses while it is unreachable or busy."""
        status, data, reason, asked = 0, b"", "", 0.0
        for attempt in range(self._retries.tries if tries is None else tries):
            asked = 0.0
            try:
                status, data, asked = await self._exchange(method, path, payload)
                if status < 300:
                    return self._object(data, whole)
                reason, most = f"answers {status} to {path}", self._retries.allowed(status)
            except httpx.ReadTimeout:
                status, reason = 0, "does not answer in time"
                most = self._retries.broken_tries if self._retries.whole else 1
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                status, reason = 0, _reason(error)
                unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                most = self._retries.tries if unreached else self._retries.broken_tries
            except Refused as error:
                if not self._retries.whole:
                    raise
                status, reason, most = (
                    0,
                    error.detail.partition(f"{self.root} ")[2],
                    self._retries.broken_tries,
                )
            if attempt >= most - 1:
                break
            if tries is None or attempt < tries - 1:
                await asyncio.sleep(self._retries.pause(attempt, asked))
        if status == 404 and method == "POST":
            self._model = self._fixed  # it may serve another model by now
        if status in (400, 413, 422):
            raise Refused(
                400, f"{self.what} refuses the request: {self._message(data)}", code="model_refused"
            )
        if status in (401, 403):
            reason += f" (set {ENDPOINT_KEY_VARIABLE})"
        raise self._unavailable(reason if status == 0 else f"{reason}: {self._message(data)}")

    def invalid(self, content: str) -> Refused:
        """The error for an answer that does not fit the API."""
        return self._unavailable(f"answers with {content}, which is not vLLM's API")

    def no_answer(self, seconds: float) -> Refused:
        """The error for an endpoint that accepts a connection and does not answer."""
        return self._unavailable(f"did not answer within {seconds:g} s; start it, or correct the URL")

    def _unavailable(self, reason: str) -> Refused:
        return Refused(
            503,
            f"{self.what} is unavailable; try again later",
            code=UNAVAILABLE,
            retry_after=5,
            detail=f"{self.what} at {self.root} {reason}",
        )

    async def _exchange(
        self, method: str, path: str, payload: dict[str, Any] | None
    ) -> tuple[int, bytes, float]:
        """Status, body, and the seconds after which the server wants to be asked again."""
        async with self._client.stream(method, f"{self.root}{path}", json=payload) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self.invalid("a compressed body")
            data = bytearray()
            async for part in response.aiter_raw():
                data += part
                if len(data) > LARGEST:
                    raise self.invalid(f"more than {LARGEST} bytes")
            return response.status_code, bytes(data), _seconds(response.headers.get("retry-after", ""))

    def _object(self, data: bytes, whole: Callable[[dict[str, Any]], object] | None = None) -> dict[str, Any]:
        try:
            answer = parse_object(data)
        except ValueError as error:
            raise self.invalid(f"something else than JSON ({error})") from None
        try:
            if whole is not None:
                whole(answer)
        except ValueError as error:
            raise self.invalid(str(error)) from None
        return answer

    def _message(self, data: bytes) -> str:
        """The message of an error object, shortened."""
        try:
            answer = parse_object(data)
        except ValueError:
            return "no reason given"
        error = answer.get("error", answer)
        message = error.get("message") if isinstance(error, dict) else error
        text = "".join(c if c.isprintable() else " " for c in str(message or "no reason given"))
        return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _seconds(retry_after: str) -> float:
    """Of a Retry-After, which is a number of seconds or a date; 0 for anything else."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "cannot be reached (no connection in time)"
    if isinstance(error, httpx.ConnectError):
        return "cannot be reached"
    return f"broke the connection ({type(error).__name__})"
