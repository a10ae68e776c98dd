"""The solver's spans in a real collector: MLflow's own server takes OTLP, and its client reads them back.

Run by `make test-tracking`, as test_tracking_rounds.py says.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mathloop.serving import tracing
from tests.unit.tracking.test_tracking_rounds import mlflow_server

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed: make test-tracking"
)
def test_a_real_collector_holds_a_question_with_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(tmp_path) as (url, client):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{url}/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-mlflow-experiment-id=0")
        tracing.start()
        try:
            tracing.set_parent(TRACE, "00f067aa0ba902b7", "01")
            with tracing.question_span(strategy="maj", samples=8), tracing.span("sampling", samples=8):
                pass
        finally:
            tracing._PARENT.set(None)
            tracing.record(None)  # sends what is there
        spans = {one.name: one for one in client.get_trace(f"tr-{TRACE}").data.spans}
    assert set(spans) == {"question", "sampling"}
    assert spans["question"].parent_id == "00f067aa0ba902b7"
    assert spans["sampling"].parent_id == spans["question"].span_id
    assert (spans["question"].attributes["strategy"], spans["question"].attributes["samples"]) == ("maj", 8)
