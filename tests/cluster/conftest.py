"""Fixtures of the suite that runs on a real cluster: `make test-cluster`, where KUBECONFIG names one.

Each case's docstring ends in a line `Run: PLACE, …` that says where it has been run: `lab` (one node with
KServe, Trainer, JobSet and Kueue, without KFP), `cluster with KFP`, `recorded answers` (only its unit tests,
which play recorded statuses), `not at all`.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mathloop.registry import Champion, Registry
from mathloop.storage import open_store
from mathloop.storage.keys import KEY_VARIABLE, SECRET_VARIABLE
from mathloop.storage.s3 import ENDPOINT_VARIABLE
from tests.cluster.real_cluster import NAMESPACE, QUEUE, Object, RealCluster, until
from tests.cluster.small_champions import publish

PLACES = {"lab", "cluster with KFP", "recorded answers", "not at all"}
BUCKET = "mathloop"

Promote = Callable[..., Champion]
_outcomes: dict[str, tuple[str, str]] = {}


def places_of(item: pytest.Item) -> set[str]:
    """Where the case says that it has been run."""
    doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
    found = re.search(r"^ *Run: (.+)\.$", doc, re.MULTILINE)
    return set(found[1].split(", ")) if found else set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a case that does not say where it has been run."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            said = places_of(item)
            if not said or not said <= PLACES:
                known = ", ".join(sorted(PLACES))
                raise pytest.UsageError(f"{item.nodeid}: its docstring needs a line `Run: …`, of {known}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if item.path.parent == Path(__file__).parent and (report.when == "call" or not report.passed):
        remark = f"so far run: {', '.join(sorted(places_of(item)))}"
        if report.skipped:
            remark = f"{report.longrepr[2].removeprefix('Skipped: ')}; {remark}"
        _outcomes[item.nodeid] = (report.outcome, remark)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which case ran here, and which did not and why."""
    if not _outcomes:
        return
    terminalreporter.section("cases on this cluster")
    for nodeid, (outcome, remark) in _outcomes.items():
        terminalreporter.write_line(f"{outcome:8} {nodeid.partition('tests/cluster/')[2]}  ({remark})")


@pytest.fixture(scope="session")
def cluster() -> RealCluster:
    """The cluster; skips where there is none, and ends the suite where it could harm somebody."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        pytest.skip("no cluster: KUBECONFIG names none (docs/cluster.md, Tests on a cluster)")
    found = RealCluster(Path(kubeconfig).resolve())
    names = [one["metadata"]["name"] for one in found.items("namespaces", None)]
    if NAMESPACE not in names:
        pytest.exit(
            f"this cluster has no namespace {NAMESPACE}: install mathloop first (docs/cluster.md)",
            returncode=2,
        )
    for kind in ("inferenceservices.serving.kserve.io", "trainjobs.trainer.kubeflow.org"):
        if there := [one["metadata"]["name"] for one in found.items(kind)]:
            pytest.exit(
                f"{NAMESPACE} has {kind} {', '.join(there)}: the suite deploys and deletes there, so it runs "
                "only where nobody is served; if an earlier run of the suite left them, delete them",
                returncode=2,
            )
    return found


@pytest.fixture(scope="session")
def kfp(cluster: RealCluster) -> RealCluster:
    """The cluster, if Kubeflow Pipelines runs there."""
    if not cluster.has_kfp():
        pytest.skip("no Kubeflow Pipelines on this cluster")
    return cluster


@pytest.fixture(autouse=True)
def tidy(cluster: RealCluster) -> Iterator[None]:
    """Deletes what the case has made in our namespace and left there."""
    before = cluster.leftovers()
    yield
    for kind, name in sorted(cluster.leftovers() - before):
        cluster.kubectl("delete", kind, name, "-n", NAMESPACE, "--ignore-not-found", "--wait=false")
    until("what the case left is deleted", 180, lambda: cluster.leftovers() <= before)


@pytest.fixture(scope="session")
def _store_access(cluster: RealCluster) -> Iterator[dict[str, str]]:
    """Environment that reaches the cluster's store: MATHLOOP_S3_ENDPOINT if set, else a port-forward."""
    import base64
    import json

    data = json.loads(cluster.kubectl("get", "secret", "mathloop-s3", "-n", NAMESPACE, "-o", "json"))["data"]
    keys = {
        KEY_VARIABLE: base64.b64decode(data["accesskey"]).decode(),
        SECRET_VARIABLE: base64.b64decode(data["secretkey"]).decode(),
    }
    if endpoint := os.environ.get(ENDPOINT_VARIABLE):
        yield {**keys, ENDPOINT_VARIABLE: endpoint}
        return
    with cluster.forwarded("service/minio", 9000) as url:
        yield {**keys, ENDPOINT_VARIABLE: url}


@pytest.fixture
def store_url(_store_access: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty store in the cluster's bucket, reachable from here; removed afterwards."""
    from mathloop.storage.s3 import S3Objects

    for name, value in _store_access.items():
        monkeypatch.setenv(name, value)
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield f"s3://{BUCKET}/{prefix}"
    objects = S3Objects(BUCKET, prefix)
    for key in list(objects.keys("")):
        objects.remove(key)


@pytest.fixture
def promote(store_url: str, tmp_path: Path) -> Promote:
    """Publishes another small champion in the store and makes it the current one: `promote(seed=1)`."""

    def make(seed: int, *, whole: bool = True) -> Champion:
        return publish(Registry(open_store(store_url)), open_store(store_url), tmp_path, seed, whole=whole)

    return make


@pytest.fixture
def queue(cluster: RealCluster) -> Iterator[Callable[..., None]]:
    """Makes a LocalQueue for our pods, which any node serves: `queue(cpu="1", memory="8Gi")`."""
    if not cluster.has("clusterqueues.kueue.x-k8s.io"):
        pytest.skip("no Kueue on this cluster")

    def make(**quotas: str) -> None:
        names = [name.replace("_", "-") for name in quotas]
        resources = [
            {"name": name, "nominalQuota": amount}
            for name, amount in zip(names, quotas.values(), strict=True)
        ]
        group = {"coveredResources": names, "flavors": [{"name": QUEUE, "resources": resources}]}
        cluster.apply(
            _kueue("ResourceFlavor", {}),
            _kueue("ClusterQueue", {"namespaceSelector": {}, "resourceGroups": [group]}),
            _kueue("LocalQueue", {"clusterQueue": QUEUE}, namespace=NAMESPACE),
        )

    yield make
    cluster.kubectl("delete", "localqueue", QUEUE, "-n", NAMESPACE, "--ignore-not-found", "--wait=false")
    for kind in ("clusterqueue", "resourceflavor"):
        cluster.kubectl("delete", kind, QUEUE, "--ignore-not-found", "--wait=false")


def _kueue(kind: str, spec: Object, **metadata: str) -> Object:
    version = "kueue.x-k8s.io/v1beta2"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": QUEUE, **metadata}, "spec": spec}
