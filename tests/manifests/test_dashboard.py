"""The Grafana dashboard: Grafana can draw it, Prometheus can read it, and what it asks for is really told."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.manifests.kustomized import MANIFESTS
from tests.manifests.manifest_builds import built
from tests.paths import ROOT

DASHBOARD = json.loads((MANIFESTS / "components/monitoring/dashboard.json").read_text(encoding="utf-8"))
VLLM = {
    *("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"),
    *("vllm:num_preemptions_total", "vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
    *("vllm:request_success_total", "vllm:e2e_request_latency_seconds", "vllm:time_to_first_token_seconds"),
    *("vllm:inter_token_latency_seconds", "vllm:request_queue_time_seconds"),
}
"""As vLLM 0.32 names them (vllm/v1/metrics/loggers.py; a counter's name gets `_total` when it is shown)."""
OTHERS = {
    *("kueue_pending_workloads", "kueue_admitted_active_workloads", "kueue_admission_wait_time_seconds"),
    *("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_POWER_USAGE"),
    *(
        "minio_cluster_capacity_usable_free_bytes",
        "minio_s3_requests_total",
        "minio_s3_requests_errors_total",
    ),
}
"""Of Kueue 0.19, NVIDIA's DCGM exporter and MinIO."""


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def _queries(source: str) -> Iterator[str]:
    for panel in _panels():
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            if target["datasource"]["type"] == source:
                yield target["expr"]


def test_panels_have_their_own_numbers_and_places() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_sources_are_chosen_by_the_reader() -> None:
    variables = {one["name"]: one["query"] for one in DASHBOARD["templating"]["list"]}
    assert variables["prometheus"] == "prometheus"
    assert variables["loki"] == "loki"
    for panel in _panels():
        assert panel["datasource"]["uid"] == f"${{{panel['datasource']['type']}}}"


def test_the_issues_figures_are_there() -> None:
    titles = " ".join(panel["title"] for panel in _panels()).lower()
    for wanted in ("tokens per second", "reward", "kl", "waiting workloads", "gpu utilization", "latency"):
        assert wanted in titles
    text = " ".join(_queries("prometheus"))
    for quantile in ("0.5", "0.95", "0.99"):
        assert f"histogram_quantile({quantile}, sum by (le, model_name)" in text


def test_prometheus_can_read_every_query() -> None:
    parser = pytest.importorskip("promql_parser")
    for query in _queries("prometheus"):
        parser.parse(query.replace("$__rate_interval", "5m").replace("$namespace", "mathloop"))
    with pytest.raises(ValueError, match=r"."):
        parser.parse("sum by (le (rate(x[5m]))")


def test_metrics_are_those_that_somebody_exports() -> None:
    prometheus = pytest.importorskip("prometheus_client.metrics")
    from mathloop.serving import metrics

    kept = [one for one in vars(metrics).values() if isinstance(one, prometheus.MetricWrapperBase)]
    families = [family for one in kept for family in one.collect()]
    ours = {one.name + ("_total" if one.type == "counter" else "") for one in families}
    asked = {
        name.removesuffix("_bucket").removesuffix("_count")
        for query in _queries("prometheus")
        for name in re.findall(r"\b(?:vllm:|kueue_|DCGM_|minio_|mathloop_)\w+", query)
    }
    assert asked <= VLLM | OTHERS | ours
    assert asked >= VLLM


def test_curves_are_of_fields_that_the_stages_log() -> None:
    """Keywords of every `progress.update(…)` in mathloop, and what Progress itself writes."""
    logged = {"stage", "done", "total", "unit", "seconds", "tokens_per_second"}
    for path in (ROOT / "mathloop").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "progress.update":
                logged |= {keyword.arg for keyword in node.keywords if keyword.arg}
    asked = {name for query in _queries("loki") for name in re.findall(r"unwrap (\w+)", query)}
    assert {"tokens_per_second", "reward", "KL", "loss"} <= asked
    assert asked <= logged
    for query in _queries("loki"):
        assert query.count("(") == query.count(")")
        assert '__error__=""' in query, "lines that are no JSON must not end the query"


def test_the_config_map_holds_it_for_grafanas_sidecar() -> None:
    (found,) = [
        body
        for body in built("gpu with monitoring")
        if body["kind"] == "ConfigMap" and body["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    assert json.loads(found["data"]["mathloop.json"]) == DASHBOARD


def test_monitors_find_ports_that_the_pods_have() -> None:
    by_kind = {
        body["kind"]: body for body in built("gpu with monitoring") if body["kind"].endswith("Monitor")
    }
    ports = {
        port["name"]
        for body in built("gpu with monitoring")
        if body["kind"] == "ServingRuntime"
        for port in body["spec"]["containers"][0]["ports"]
    }
    assert {one["port"] for one in by_kind["PodMonitor"]["spec"]["podMetricsEndpoints"]} == ports
    wanted = by_kind["ServiceMonitor"]["spec"]
    services = [
        body
        for body in built("gpu with monitoring")
        if body["kind"] == "Service"
        and wanted["selector"]["matchLabels"].items() <= body["metadata"]["labels"].items()
    ]
    assert [body["metadata"]["name"] for body in services] == ["minio"]
    assert wanted["endpoints"][0]["port"] in {port["name"] for port in services[0]["spec"]["ports"]}
