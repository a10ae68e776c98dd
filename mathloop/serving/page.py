"""The page at `/`: ask, see the responses arrive, and why one of their answers was chosen.

It is a client of the public API like any other. Nothing is loaded from elsewhere, and nothing of a response
becomes HTML: the server turns formulas into trees, from which the page's script builds elements by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from mathloop.lines import parse_object
from mathloop.serving import wire
from mathloop.serving.guard import PAGE_FILES, TYPESET
from mathloop.serving.refusals import Refused
from mathloop.typesetting import split_blocks, typeset, typeset_answer

MOST_TEXTS = 200
LONGEST_TEXT = 20_000
"""Characters of a text that are typeset; the rest stays as it is written."""
MOST_FORMULAS = 2_000
"""Formulas of one request."""
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
    one_at_a_time = asyncio.Semaphore(1)

    async def page(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return Response('{"status":"alive"}', media_type="application/json", headers={"Vary": "Accept"})
        return Response(_read("page.html"), media_type="text/html; charset=utf-8", headers=HEADERS)

    async def asset(request: Request) -> Response:
        path = request.url.path
        return Response(_read(path.rpartition("/")[2]), media_type=PAGE_FILES[path], headers=HEADERS)

    async def formulas(request: Request) -> Response:
        try:
            texts, answers = _texts(await request.body())
        except Refused as refused:
            body = wire.encode(refused.body()).encode()
            return Response(body, refused.status, media_type="application/json")
        async with one_at_a_time:  # however many ask, questions get the processor
            made = await asyncio.to_thread(_typeset, texts, answers)
        return Response(wire.encode(made).encode(), media_type="application/json")

    router.add_api_route("/", page, methods=["GET", "HEAD"])
    for path in PAGE_FILES:
        router.add_api_route(path, asset, methods=["GET", "HEAD"])
    router.add_api_route(TYPESET, formulas, methods=["POST"])
    app.include_router(router)


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


def _typeset(texts: Sequence[str], answers: Sequence[str]) -> dict[str, Any]:
    """Blocks of the texts, and pieces of the answers: strings are text, lists are elements."""
    left = MOST_FORMULAS
    blocks: list[list[dict[str, Any]]] = []
    for text in texts:
        blocks.append([])
        for kind, words in split_blocks(text[:LONGEST_TEXT]):
            pieces = typeset(words, most=min(left, 1_000)) if kind == "prose" else [words]
            left -= sum(not isinstance(piece, str) for piece in pieces)
            blocks[-1].append({"kind": kind, "pieces": pieces})
        if len(text) > LONGEST_TEXT:
            blocks[-1].append({"kind": "prose", "pieces": [text[LONGEST_TEXT:]]})
    return {"texts": blocks, "answers": [typeset_answer(answer) for answer in answers]}
