"""Spans of a question, with OpenTelemetry's in-memory exporter."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from mathloop.serving import tracing
from mathloop.serving.config import SolverConfig
from mathloop.serving.questions import Question
from mathloop.serving.request_ids import RequestIds
from mathloop.serving.solver import Solver
from tests.unit.serving.standins import ScriptedEngine

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
QUESTION = Question("3+4?", "weighted", 3, "cot", 1.0, 1.0, 7, 64)


@pytest.fixture
def exporter() -> Iterator[Any]:
    reason = "needs opentelemetry-sdk: pip install 'mathloop[tracing]'"
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=reason)
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    found = memory.InMemorySpanExporter()
    tracing.record(SimpleSpanProcessor(found))
    yield found
    tracing.record(None)


async def request(headers: dict[str, str]) -> None:
    """A request that asks the solver."""
    solver = Solver(ScriptedEngine(["7", "8"], [2.0, 3.0]), SolverConfig())
    await solver.prepare()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await solver.ask(QUESTION)

    scope = {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}

    async def nothing(*_: Any) -> Any:
        return None

    await RequestIds(app)(scope, nothing, nothing)
    await solver.close()


def test_a_question_is_a_part_of_its_requests_trace_and_has_parts(exporter: Any) -> None:
    asyncio.run(request({"traceparent": f"00-{TRACE}-{SPAN}-01"}))
    spans = {one.name: one for one in exporter.get_finished_spans()}
    assert set(spans) == {"question", "queue", "sampling", "scoring", "comparing"}
    asked = spans.pop("question")
    assert f"{asked.parent.span_id:016x}" == SPAN
    assert dict(asked.attributes) == {"strategy": "weighted", "mode": "cot", "samples": 3}
    for one in spans.values():
        assert one.parent.span_id == asked.context.span_id
        assert f"{one.context.trace_id:032x}" == TRACE


def test_a_caller_that_is_not_sampled_leaves_no_spans(exporter: Any) -> None:
    asyncio.run(request({"traceparent": f"00-{TRACE}-{SPAN}-00"}))
    assert not exporter.get_finished_spans()


def test_a_program_in_another_thread_is_a_part_of_the_question(exporter: Any) -> None:
    with tracing.question_span():
        thread = threading.Thread(target=tracing.traced("sandbox", lambda: None))
        thread.start()
        thread.join()
    program, asked = exporter.get_finished_spans()
    assert program.parent.span_id == asked.context.span_id


def test_without_an_endpoint_or_the_packages_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(request({"traceparent": f"00-{TRACE}-{SPAN}-01"}))
    work = object()
    assert tracing.traced("sandbox", work) is work  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace.export", None)
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    warned: list[str] = []  # not from the log, which a server that ran here before has set up for itself
    monkeypatch.setattr(tracing.LOG, "warning", lambda text, *values: warned.append(text % values))
    tracing.start()
    assert len(warned) == 1
    assert "mathloop[tracing]" in warned[0]
