"""A client of an OpenAI-compatible server, which is not trusted: its answers are bounded and checked."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
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
"""Attempts while nothing was begun: no connection, or "busy"."""
BROKEN_TRIES = 2
"""Attempts after a connection that broke, or a gateway's error: the work may have been done in vain."""
FIRST_PAUSE = 0.25
"""Seconds before the second attempt; each later pause is twice as long."""
LONGEST_PAUSE = 5.0
BUSY = (429, 503)
GATEWAY = (502, 504)
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

    def __init__(self, what: str, root: str, client: httpx.AsyncClient) -> None:
        self.what, self.root = what, root
        self._client = client
        self._model: str | None = None

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

    async def post(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Its answer to a request for its model. Raises Refused: 400 if it refuses the request, else 503."""
        if self._model is None:
            await self.model()
        return await self.ask("POST", path, {"model": self._model, **payload})

    async def check(self, seconds: float) -> None:
        """Asks once for its models. Raises Refused if it does not answer within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.ask("GET", "/v1/models", tries=1)
        except TimeoutError:
            raise self._unavailable("does not answer in time") from None

    async def ask(
        self, method: str, path: str, payload: dict[str, Any] | None = None, tries: int = TRIES
    ) -> dict[str, Any]:
        """Its answer, a JSON object; tries again after pauses while it is unreachable or busy."""
        status, data, reason = 0, b"", ""
        for attempt in range(tries):
            most = tries
            try:
                status, data = await self._exchange(method, path, payload)
            except httpx.ReadTimeout:
                raise self._unavailable("does not answer in time") from None
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                status, reason = 0, _reason(error)
                most = tries if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else BROKEN_TRIES
            else:
                if status < 300:
                    return self._object(data)
                reason = f"answers {status} to {path}"
                most = BROKEN_TRIES if status in GATEWAY else tries
            if status not in (0, *BUSY, *GATEWAY) or attempt >= min(most, tries) - 1:
                break
            await asyncio.sleep(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.75, 1.25))
        if status == 404 and method == "POST":
            self._model = None  # it may serve another model by now
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

    async def _exchange(self, method: str, path: str, payload: dict[str, Any] | None) -> tuple[int, bytes]:
        async with self._client.stream(method, f"{self.root}{path}", json=payload) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self.invalid("a compressed body")
            data = bytearray()
            async for part in response.aiter_raw():
                data += part
                if len(data) > LARGEST:
                    raise self.invalid(f"more than {LARGEST} bytes")
            return response.status_code, bytes(data)

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            return parse_object(data)
        except ValueError as error:
            raise self.invalid(f"something else than JSON ({error})") from None

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


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "cannot be reached (no connection in time)"
    if isinstance(error, httpx.ConnectError):
        return "cannot be reached"
    return f"broke the connection ({type(error).__name__})"
