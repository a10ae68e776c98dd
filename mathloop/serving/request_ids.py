"""The identity of a request in its reply and in the log: X-Request-Id, and W3C's traceparent.

Both are taken from the request where they are valid, so that one name follows a question through gateways.
"""

from __future__ import annotations

import random
import re
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mathloop.serving import tracing

REQUEST_ID, TRACE = b"x-request-id", b"traceparent"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACE = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_RANDOM = random.Random()
"""Seeded by the system once: names need to be unique, not secret, and each system call costs CPU time."""
_CURRENT: ContextVar[dict[str, str] | None] = ContextVar("request", default=None)


def new_id(characters: int) -> str:
    """A random name of so many hexadecimal digits."""
    return f"{_RANDOM.getrandbits(4 * characters):0{characters}x}"


def log_fields() -> dict[str, str]:
    """`request_id` and `trace_id` of the current request, for its log line."""
    return dict(_CURRENT.get() or {})


class RequestIds:
    """ASGI middleware: names every request and adds both headers to its reply, whatever the reply is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(REQUEST_ID, b"").decode("latin-1")
        name = given if _REQUEST_ID.fullmatch(given) else new_id(32)
        parent = _TRACE.fullmatch(headers.get(TRACE, b"").decode("latin-1"))
        trace_id, flags = (parent[1], parent[3]) if parent else (new_id(32), "00")
        span = f"00-{trace_id}-{new_id(16)}-{flags}"
        if parent:
            tracing.set_parent(trace_id, parent[2], flags)
        _CURRENT.set({"request_id": name, "trace_id": trace_id})

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(REQUEST_ID, name.encode()), (TRACE, span.encode())]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        await self._app(scope, receive, reply)
