"""The page at `/`: ask, see the responses arrive, and why one of their answers was chosen.

It is a client of the public API like any other. Nothing is loaded from elsewhere, and nothing of a response
becomes HTML: the server turns formulas into trees, from which the page's script builds elements by name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from mathloop.lines import parse_object
from mathloop.serving import metrics, wire
from mathloop.serving.guard import PAGE_FILES, TYPESET
from mathloop.serving.refusals import Refused
from mathloop.serving.routes import read_body, until_hang_up
from mathloop.typesetting import split_blocks, typeset, typeset_answer

MOST_TEXTS = 200
LONGEST_TEXT = 20_000
"""Characters of a text that are typeset; the rest stays as it is written."""
MOST_FORMULAS = 2_000
"""Formulas of one request."""
MOST_CHARACTERS = 200_000
"""Characters of one request that are typeset."""
MOST_WAITING = 8
"""Requests at once; others are refused with HTTP 429, and their texts stay as they are written."""
SECONDS = 5.0
"""Of one request; what is not typeset by then stays as it is written."""
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # A script that would assign text as HTML fails, ours included.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}


def add_page(app: FastAPI) -> None:
    """Adds the page's routes. `/` stays KServe's probe for clients that do not ask for HTML."""
    router = APIRouter(include_in_schema=False)
    turns = _Turns()

    async def page(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return Response('{"status":"alive"}', media_type="application/json", headers={"Vary": "Accept"})
        return Response(_read("page.html"), media_type="text/html; charset=utf-8", headers=HEADERS)

    async def asset(request: Request) -> Response:
        path = request.url.path
        return Response(_read(path.rpartition("/")[2]), media_type=PAGE_FILES[path], headers=HEADERS)

    async def formulas(request: Request) -> Response:
        try:
            texts, answers = _texts(await read_body(request))
            task = turns.begin(texts, answers)
            if not await until_hang_up(request, task, None):
                return Response(status_code=499)
        except Refused as refused:
            metrics.REFUSED.labels(str(refused.status)).inc()
            body = wire.encode(refused.body()).encode()
            return Response(body, refused.status, refused.headers(), media_type="application/json")
        return Response(task.result(), media_type="application/json")

    router.add_api_route("/", page, methods=["GET", "HEAD"])
    for path in PAGE_FILES:
        router.add_api_route(path, asset, methods=["GET", "HEAD"])
    router.add_api_route(TYPESET, formulas, methods=["POST"])
    app.include_router(router)


class _Turns:
    """Typesets one request at a time: however many ask, questions get the processor."""

    def __init__(self) -> None:
        self.inside = 0
        self._one = asyncio.Semaphore(1)

    def begin(self, texts: Sequence[str], answers: Sequence[str]) -> asyncio.Task[bytes]:
        """The reply's body; cancelled, it ends within one text. Raises Refused (429) if too many wait."""
        if self.inside >= MOST_WAITING:
            raise Refused(429, "too many texts wait to be typeset", code="queue_full", retry_after=1)
        self.inside += 1
        task = asyncio.create_task(self._render(texts, answers))
        task.add_done_callback(self._leave)
        return task

    def _leave(self, _: asyncio.Task[bytes]) -> None:
        self.inside -= 1

    async def _render(self, texts: Sequence[str], answers: Sequence[str]) -> bytes:
        async with self._one:
            gone = False
            end = time.monotonic() + SECONDS
            work = asyncio.ensure_future(
                asyncio.to_thread(_typeset, texts, answers, lambda: gone or time.monotonic() > end)
            )
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                gone = True  # a thread cannot be cancelled: the next waits until this one has seen it
                await asyncio.wait({work})
                raise


def _read(name: str) -> bytes:
    return files("mathloop.serving").joinpath(name).read_bytes()


def _texts(body: bytes) -> tuple[list[str], list[str]]:
    """The fields `texts` and `answers`. Raises Refused."""
    try:
        fields = parse_object(body)
    except ValueError as error:
        raise Refused(400, f"the body is not a JSON object: {error}", code="invalid_json") from None
    lists = [fields.get(name, []) for name in ("texts", "answers")]
    for name, values in zip(("texts", "answers"), lists, strict=True):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise Refused(422, f"{name}: expected a list of texts", param=name)
    texts, answers = lists
    if len(texts) + len(answers) > MOST_TEXTS:
        raise Refused(422, f"texts: expected at most {MOST_TEXTS} texts and answers", param="texts")
    return texts, answers


def _typeset(texts: Sequence[str], answers: Sequence[str], over: Callable[[], bool]) -> bytes:
    """Blocks of the texts, and pieces of the answers, as JSON: strings are text, lists are elements.

    Past a bound, or once it is `over`, the rest stays as it is written.
    """
    formulas, characters = MOST_FORMULAS, MOST_CHARACTERS
    blocks: list[list[dict[str, Any]]] = []
    for text in texts:
        blocks.append([])
        most = 0 if over() else min(LONGEST_TEXT, characters)
        characters -= min(most, len(text))
        for kind, words in split_blocks(text[:most]):
            pieces = typeset(words, most=min(formulas, 1_000)) if kind == "prose" else [words]
            formulas -= sum(not isinstance(piece, str) for piece in pieces)
            blocks[-1].append({"kind": kind, "pieces": pieces})
        if len(text) > most:
            blocks[-1].append({"kind": "prose", "pieces": [text[most:]]})
    made: list[list[Any]] = []
    for answer in answers:
        typesets = len(answer) <= characters and not over()
        characters -= len(answer) if typesets else 0
        made.append(typeset_answer(answer) if typesets else [answer])
    return wire.encode({"texts": blocks, "answers": made}).encode()
