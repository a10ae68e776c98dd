"""Spans as they leave the process by OTLP over HTTP, at a stand-in for a collector, which decodes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mathloop.serving import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
REASON = "needs the OTLP exporter: pip install 'mathloop[tracing]'"


@contextmanager
def collector(status: int) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Stands for a collector: its address, and the path, content type and body of each request."""
    received: list[tuple[str, str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send_a_question(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Starts tracing as the server does, with one question of a sampled request, and sends what is there."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "solver-of-a-test")
    tracing.start()
    try:
        tracing.set_parent(TRACE, SPAN, "01")
        with tracing.question_span(strategy="maj", samples=8), tracing.span("sampling", samples=8):
            pass
    finally:
        tracing._PARENT.set(None)
        tracing.record(None)


def test_a_collector_gets_the_question_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason=REASON)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with collector(200) as (address, received):
        send_a_question(monkeypatch, address)
    ((path, kind, body),) = received
    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert named["service.name"] == "solver-of-a-test"
    (scope,) = resource.scope_spans
    assert scope.scope.name == "mathloop.serving"
    spans = {one.name: one for one in scope.spans}
    assert set(spans) == {"question", "sampling"}
    assert {one.trace_id.hex() for one in spans.values()} == {TRACE}
    assert spans["question"].parent_span_id.hex() == SPAN
    assert spans["sampling"].parent_span_id == spans["question"].span_id
    values = {one.key: one.value for one in spans["question"].attributes}
    assert values["strategy"].string_value == "maj"
    assert values["samples"].int_value == 8


def test_a_collector_that_refuses_stops_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason=REASON)
    with collector(400) as (address, received):
        send_a_question(monkeypatch, address)
    assert len(received) == 1
