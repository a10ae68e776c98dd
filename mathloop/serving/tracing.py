"""OpenTelemetry spans of a question: question, queue, sampling, sandbox, scoring, comparing.

Nothing is recorded, at the cost of one comparison per span, unless the environment names an endpoint by
OpenTelemetry's own variables and the packages are installed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
LOG = logging.getLogger("mathloop.serving")

Result = TypeVar("Result")
_tracer: Any = None
_provider: Any = None
_PARENT: ContextVar[tuple[str, str, str] | None] = ContextVar("parent", default=None)
"""Trace, span and flags of the request's traceparent, in hexadecimal digits."""


def start() -> None:
    """Sends spans to the endpoint that the environment names, if there is one."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        LOG.warning("no traces (%s is not installed): pip install 'mathloop[tracing]'", error.name)
        return
    record(BatchSpanProcessor(OTLPSpanExporter()))


def record(processor: Any) -> None:
    """Gives all further spans to this span processor; None ends it, once those it has are sent.

    Requires OpenTelemetry's SDK.
    """
    global _tracer, _provider
    if processor is None:
        if _provider is not None:
            _provider.shutdown()
        _tracer = _provider = None
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    name = os.environ.get("OTEL_SERVICE_NAME", "mathloop")
    _provider = TracerProvider(resource=Resource.create({"service.name": name}))
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("mathloop.serving")


def set_parent(trace_id: str, span_id: str, flags: str) -> None:
    """The current request's question is a part of this span, its traceparent's."""
    if _tracer is not None:
        _PARENT.set((trace_id, span_id, flags))


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A part of the current span, for the time of the `with` block; an error in it is recorded."""
    if _tracer is None:
        return nullcontext()
    return _tracer.start_as_current_span(name, attributes=attributes)  # type: ignore[no-any-return]


@contextmanager
def question_span(**attributes: str | int) -> Iterator[None]:
    """The span of a question, a part of the request's."""
    if _tracer is None or (parent := _PARENT.get()) is None:
        with span("question", **attributes):
            yield
        return
    from opentelemetry import trace

    trace_id, span_id, flags = (int(one, 16) for one in parent)
    remote = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with _tracer.start_as_current_span("question", context=context, attributes=attributes):
        yield


def traced(name: str, work: Callable[..., Result]) -> Callable[..., Result]:
    """`work` with a span that is a part of the current one, whichever thread it runs in."""
    tracer = _tracer
    if tracer is None:
        return work
    from opentelemetry import context

    here = context.get_current()

    def run(*args: Any) -> Result:
        with tracer.start_as_current_span(name, context=here):
            return work(*args)

    return run
