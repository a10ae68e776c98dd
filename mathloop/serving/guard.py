"""Checks before every route: known paths, the API key, and the size of the body.

KServe's server has routes that load and unload; the solver's users must not reach them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from mathloop.serving import metrics
from mathloop.serving.clients import Client, set_client
from mathloop.serving.config import MODEL
from mathloop.serving.keys import Keys
from mathloop.serving.refusals import Refused
from mathloop.serving.wire import encode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

CHAT = "/v1/chat/completions"
KSERVE_ROOT = "/openai"
"""KServe has OpenAI's routes under this path; they are at both."""
PREDICT, INFER = f"/v1/models/{MODEL}:predict", f"/v2/models/{MODEL}/infer"
"""KServe's own protocols, V1 and V2."""
TYPESET = "/page/typeset"
PAGE_FILES = {
    "/page/page.css": "text/css",
    "/page/page.js": "text/javascript",
    "/page/typesetting.js": "text/javascript",
}
OPEN = frozenset({"/", "/metrics", "/v2/health/live", "/v2/health/ready", *PAGE_FILES})
"""Paths of probes, Prometheus and the page's files, which have no key."""
ASK = frozenset({CHAT, KSERVE_ROOT + CHAT, PREDICT, INFER, TYPESET})
"""Paths that take JSON."""
READ = re.compile(r"/openapi\.json|(/openai)?/v1/models(/[^/:]+)?|/v2(/models(/[^/:]+(/ready)?)?)?")


class Guard:
    """ASGI middleware; answers refused requests with OpenAI's error object."""

    def __init__(self, app: App, *, keys: Keys | None, body_bytes: int) -> None:
        """`keys` are None where none is asked for."""
        self._app, self._bytes, self._keys = app, body_bytes, keys

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a websocket that is not accepted is closed
        try:
            self._check(scope)
        except Refused as refused:
            await reply(refused, send)
            return
        limited = _Limited(receive, send, self._bytes)
        with suppress(_TooLarge):
            await self._app(scope, limited.receive, limited.send)
        if limited.too_large and not limited.begun:
            await reply(_too_large(self._bytes), send)

    def _check(self, scope: Message) -> None:
        path, method = scope["path"], scope["method"]
        headers = {name.lower(): value for name, value in scope["headers"]}
        reads = path in OPEN or READ.fullmatch(path) is not None
        asks = path in ASK
        if not reads and not asks:
            raise Refused(
                404, f"unknown path; use POST {CHAT} (GET /openapi.json has all)", code="unknown_url"
            )
        allowed = ("GET", "HEAD") if reads else ("POST",)
        if method not in allowed:
            raise Refused(
                405,
                f"{method} is not allowed for this path; use {allowed[0]}",
                code="method_not_allowed",
                allow=allowed,
            )
        name = None
        if self._keys is not None and path not in OPEN:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            name = self._keys.name_of(given.strip())
            if scheme.lower() != b"bearer" or name is None:
                raise Refused(
                    401,
                    "a valid key is required: Authorization: Bearer … (for `mathloop ask`: MATHLOOP_API_KEY)",
                    code="invalid_api_key",
                )
        set_client(Client((scope.get("client") or ("", 0))[0], name))
        if asks:
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind != b"application/json":  # other sites can send other types without a preflight
                message = (
                    "Content-Type: expected application/json (curl: -H 'Content-Type: application/json')"
                )
                raise Refused(415, message, code="unsupported_media_type")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._bytes:
            raise _too_large(self._bytes)


async def reply(refused: Refused, send: Send) -> None:
    """Sends a refusal."""
    metrics.REFUSED.labels(str(refused.status)).inc()
    body = encode(refused.body()).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.headers()}
    if refused.status in (413, 415):
        headers["Connection"] = "close"  # the rest of the body is not read
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class _TooLarge(Exception):
    """The body exceeded its bound while it was read."""


class _Limited:
    """The receive and send functions of a request, with a bound on its body."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._left = receive, send, most
        self.too_large = self.begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.too_large = True
            raise _TooLarge
        return message

    async def send(self, message: Message) -> None:
        if self.too_large and not self.begun:
            return  # the routes' answer to the truncated body
        self.begun = True
        await self._send(message)


def _too_large(most: int) -> Refused:
    return Refused(413, f"the body is longer than {most} bytes", code="body_too_large")
