"""The solver's routes: read a question, wait for its answer, send it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from mathloop.serving import metrics, wire
from mathloop.serving import predict as kserve
from mathloop.serving.answer import Answer
from mathloop.serving.config import MODEL
from mathloop.serving.guard import CHAT, INFER, KSERVE_ROOT, PREDICT
from mathloop.serving.openapi import describe_api
from mathloop.serving.progress import TEXT, Progress
from mathloop.serving.questions import Question, read_question
from mathloop.serving.refusals import Refused
from mathloop.serving.request_ids import new_id
from mathloop.serving.solver import Solver

BODY_SECONDS = 30.0
"""Longest wait for a request's body."""
PROGRESS_SECONDS = 0.5
"""Longest wait before a stream with progress begins; until then an error has a status of its own."""
PING_SECONDS = 10.0
"""Pause between pings in a stream: gateways close silent connections, mostly after 15 to 60 seconds."""


def add_routes(app: FastAPI, solver: Solver) -> None:
    """Adds the solver's routes to the app, whose OpenAPI document then shows these alone.

    They override KServe's. They are Starlette's plain routes, which take a third of the time of FastAPI's: we
    read bodies ourselves, and nothing is injected.
    """
    app.openapi = lambda: describe_api(solver)  # type: ignore[method-assign]
    created = int(time.time())

    async def models(_: Request) -> Response:
        return _json(wire.models_list(solver, created))

    async def model(request: Request) -> Response:
        if request.path_params["name"] != MODEL:
            return _refusal(Refused(404, f"the only model is {MODEL!r}", code="model_not_found"))
        return _json(wire.model_object(solver, created))

    def read(body: bytes) -> Question:
        engine = solver.engine
        return read_question(
            body, solver.config, has_reward_model=engine.has_reward_model, modes=engine.modes
        )

    async def predict(request: Request) -> Response:
        """V1 and V2: their questions are answered before the reply begins."""
        name = None
        try:
            body = await read_body(request)
            if request.url.path == INFER:
                questions, name = kserve.read_inputs(body, lambda fields: read(_encoded(fields)))
            else:
                questions = kserve.read_instances(body, lambda fields: read(_encoded(fields)))
            task = asyncio.create_task(kserve.answer_all(solver, questions))
            if not await until_hang_up(request, task, None):
                return Response(status_code=499)
        except Refused as refused:
            metrics.REFUSED.labels(str(refused.status)).inc()
            return Response(
                _encoded({"error": refused.message}),
                refused.status,
                refused.headers(),
                media_type="application/json",
            )
        answers = task.result()
        made = kserve.outputs(answers, name) if request.url.path == INFER else kserve.predictions(answers)
        return _json(made)

    async def chat(request: Request) -> Response:
        engine = solver.engine
        try:
            question = read(await read_body(request))
            progress = Progress()
            if question.by_token or (question.stream and question.stream_progress):
                progress.listen()
                if not question.stream_progress:
                    progress.only(TEXT)
            task = solver.ask(question)
        except Refused as refused:
            metrics.REFUSED.labels(str(refused.status)).inc()
            return _refusal(refused)
        reply_id, now = f"chatcmpl-{new_id(32)}", int(time.time())
        try:
            # A stream begins with its first byte: until then, an error still has a status of its own.
            first = PROGRESS_SECONDS if question.stream_progress else PING_SECONDS
            begins = progress if question.by_token else None
            there = await until_hang_up(request, task, first if question.stream else None, begins)
            if question.stream and there:
                events = _events(task, progress, wire.Stream(reply_id, now), question.choices, engine.name)
                return _TaskStream(task, events)
            if there:
                return _json(wire.completion(task.result(), engine.name, reply_id, now))
        except Refused as refused:
            return _refusal(refused)
        return Response(status_code=499)  # the client is gone

    async def ready(_: Request) -> Response:
        # KServe's own route is always ready, whatever its models report.
        fault = {} if solver.ready else {"fault": solver.fault}
        body = wire.encode({"ready": solver.ready, **fault}).encode()
        return Response(body, 200 if solver.ready else 503, media_type="application/json")

    for root in ("", KSERVE_ROOT):  # the first one is found first
        app.add_route(f"{root}{CHAT}", chat, methods=["POST"])
    for path in (PREDICT, INFER):
        app.add_route(path, predict, methods=["POST"])
    for root in ("", KSERVE_ROOT):
        app.add_route(f"{root}/v1/models", models, methods=["GET"])
        app.add_route(f"{root}/v1/models/{{name}}", model, methods=["GET"])
    app.add_route("/v2/health/ready", ready, methods=["GET"])


async def read_body(request: Request) -> bytes:
    """The request's body. Raises Refused if it does not arrive: an open request would delay a shutdown."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        raise Refused(
            408, f"the body did not arrive within {BODY_SECONDS:g} seconds", code="timeout"
        ) from None
    except ClientDisconnect:
        raise Refused(400, "the connection closed before the end of the body", code="invalid_json") from None


async def until_hang_up(
    request: Request, task: asyncio.Task[Any], seconds: float | None, begins: Progress | None = None
) -> bool:
    """Waits for the answer, up to so many seconds; False if the client hangs up, which stops the work.

    An event of `begins` ends the wait too.

    Raises Refused if the question was refused.
    """
    gone = asyncio.create_task(_hung_up(request))
    news = set() if begins is None else {asyncio.create_task(begins.wait())}
    stays = False
    try:
        await asyncio.wait({task, gone, *news}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        stays = task.done() or not gone.done()
        return stays
    finally:
        for waiting in (gone, *news):
            waiting.cancel()
        if not stays:
            await _stop(task)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Refused):
        await task


async def _events(
    task: asyncio.Task[Answer], progress: Progress, stream: wire.Stream, choices: int, model_name: str
) -> AsyncIterator[bytes]:
    for part in stream.opening(choices):
        yield part
    while not task.done():
        news = asyncio.create_task(progress.wait())
        try:
            await asyncio.wait({task, news}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        events = progress.take()
        if not events and not task.done():
            yield wire.PING
        for event in events:
            yield stream.event(event)
    for event in progress.take():  # an answer that was there before the stream began
        yield stream.event(event)
    try:
        answer = task.result()
    except Refused as refused:
        for part in stream.refused(refused):
            yield part
        return
    for part in stream.answered(answer, model_name):
        yield part


class _TaskStream(StreamingResponse):
    """A stream of server-sent events; its task ends with it, however it ends."""

    def __init__(self, task: asyncio.Task[Answer], events: AsyncIterator[bytes]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._task = task

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        try:
            await super().__call__(scope, receive, send)
        finally:
            await _stop(self._task)


def _json(value: dict[str, object]) -> Response:
    return Response(_encoded(value), media_type="application/json")


def _encoded(value: dict[str, object]) -> bytes:
    return wire.encode(value).encode()


def _refusal(refused: Refused) -> Response:
    body = wire.encode(refused.body()).encode()
    return Response(body, refused.status, refused.headers(), media_type="application/json")
