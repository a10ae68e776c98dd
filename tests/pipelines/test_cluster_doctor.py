"""`mathloop doctor --cluster` on a bare, a half-ready and a ready cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.fake_cluster import TOKEN, FakeCluster, Object, Refusal
from tests.fake_kfp import FakeKfp
from tests.paths import ROOT
from tests.pipelines.command import MATHLOOP

pytestmark = pytest.mark.slow

Look = Callable[..., tuple[int, dict[str, tuple[bool, str]]]]
SECRET_VALUE = "c2VjcmV0LXRoYXQtbm8tbWVzc2FnZS1tYXktaG9sZA=="

RECORDED = json.loads((ROOT / "tests" / "recorded" / "webhooks.json").read_text(encoding="utf-8"))
"""What the API server of a real cluster answered to dry runs: plural → case → Status."""
IMAGES = {
    ("kserve", "kserve-controller-manager"): "kserve/kserve-controller:v0.21.0",
    ("kubeflow-system", "kubeflow-trainer-controller-manager"): "ghcr.io/kubeflow/trainer/t:v2.3.0",
    ("kubeflow-system", "jobset-controller-manager"): "registry.k8s.io/jobset/jobset:v0.12.0@sha256:01",
    ("kueue-system", "kueue-controller-manager"): "registry.k8s.io:5000/kueue/kueue:v0.19.2",
    ("kubeflow", "ml-pipeline"): "ghcr.io/kubeflow/kfp-api-server:2.17.0",
    ("kubeflow", "workflow-controller"): "ghcr.io/kubeflow/argo@sha256:01",
}


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def look(fake: FakeCluster, tmp_path: Path) -> Look:
    """Exit code, and what was looked at → (whether it is good, what was said)."""
    kubeconfig = fake.write_kubeconfig(tmp_path / "kubeconfig")

    def look(*arguments: str, **environment: str) -> tuple[int, dict[str, tuple[bool, str]]]:
        result = subprocess.run(
            [*MATHLOOP, "doctor", "--cluster", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT), **environment},
            timeout=120,
        )
        assert result.stderr == "", result.stderr
        for secret in (TOKEN, SECRET_VALUE):
            assert secret not in result.stdout
        rows = [(line[:4], *line[5:].partition(": ")[::2]) for line in result.stdout.splitlines()]
        assert {mark for mark, _, _ in rows} <= {"ok  ", "MISS"}
        return result.returncode, {what: (mark == "ok  ", said) for mark, what, said in rows}

    return look


def equip(fake: FakeCluster, namespaces: tuple[str, ...] = ("mathloop", "kubeflow")) -> None:
    """Everything that the overlay `gpu` applies."""
    fake.kfp = FakeKfp(fake)
    for namespace in namespaces:
        named = {"namespace": namespace}
        fake.put(
            "secrets",
            {
                "metadata": {"name": "mathloop-s3", **named},
                "data": {"accesskey": SECRET_VALUE, "secretkey": SECRET_VALUE},
            },
        )
        data = {"endpoint": "http://minio:9000", "region": "us-east-1", "store": "s3://mathloop/store"}
        fake.put("configmaps", {"metadata": {"name": "mathloop-store", **named}, "data": data})
        fake.put("localqueues", {"metadata": {"name": "mathloop", **named}})
    for runtime in ("mathloop-vllm", "mathloop-vllm-pooling", "mathloop-solver"):
        fake.put("servingruntimes", {"metadata": {"name": runtime, "namespace": "mathloop"}})
    fake.put("clusterstoragecontainers", {"metadata": {"name": "mathloop-s3"}})
    fake.put("clustertrainingruntimes", {"metadata": {"name": "mathloop-torchrun"}})
    for pool in ("sampler", "trainer"):
        add_node(fake, pool, "1")
    add_controllers(fake)
    add_webhooks(fake)


def add_controllers(fake: FakeCluster, ready: int = 1) -> None:
    for (namespace, name), image in IMAGES.items():
        containers = [{"name": "sidecar", "image": "sidecar:v1"}, {"name": "manager", "image": image}]
        labels = {"app.kubernetes.io/version": "v4.0.5"} if "@" in image else {}
        fake.put(
            "deployments",
            {
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "replicas": 1,
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
                },
                "status": {"readyReplicas": ready} if ready else {},
            },
        )


def add_webhooks(fake: FakeCluster, *, down: bool = False) -> None:
    """Webhooks that answer as the real ones did: they refuse our probes, and Kueue's suspends TrainJobs."""

    def refuse(plural: str) -> NoReturn:
        status = RECORDED[plural]["down" if down else "denied"]
        refusal = Refusal(status["code"], status["reason"], status["message"])
        refusal.body = status
        raise refusal

    def see_train_job(body: Object) -> Object:
        if down or not body["metadata"]["labels"]:
            refuse("trainjobs")
        return {**body, "spec": {**body["spec"], "suspend": True}}

    fake.admission = {
        "trainjobs": see_train_job,
        "inferenceservices": lambda body: refuse("inferenceservices"),
        "jobsets": lambda body: refuse("jobsets"),
    }


def test_pods_with_an_identity_need_no_secret(fake: FakeCluster, look: Look, s3: Any) -> None:
    equip(fake)
    with fake.lock:
        for key in [key for key in fake.objects if key[0] == "secrets"]:
            del fake.objects[key]
    sets = ("--set", "store=s3://mathloop/doctor", "--set", "pools.secret=")
    code, found = look("--profile", "gpu", *sets)
    assert code == 0, found
    assert found["keys of the store"] == (True, "pools.secret is empty: pods use their identity")


def add_node(fake: FakeCluster, pool: str, gpus: str) -> None:
    labels = {"mathloop.dev/pool": pool}
    status = {"allocatable": {"cpu": "16", "nvidia.com/gpu": gpus}}
    fake.put(
        "nodes", {"metadata": {"name": f"{pool}-{fake.count('nodes')}", "labels": labels}, "status": status}
    )


def test_a_ready_cluster(fake: FakeCluster, look: Look, s3: Any) -> None:
    equip(fake)
    code, found = look("--profile", "gpu", "--set", "store=s3://mathloop/doctor")
    assert [what for what, (good, _) in found.items() if not good] == []
    assert code == 0
    assert found["kubernetes"][1].startswith("v1.36.1")
    assert "single user" in found["kubeflow pipelines"][1]
    assert found["inferenceservices.serving.kserve.io"][1] == "v1beta1"
    assert found["pool sampler"][1] == "1 nvidia.com/gpu on 1 nodes with mathloop.dev/pool=sampler"
    assert found["rights to pods/log"][1] == "get in mathloop"
    assert "is writable" in found["bucket"][1]
    assert {"Secret kubeflow/mathloop-s3", "ConfigMap mathloop/mathloop-store"} <= set(found)
    # Not ours, and no round needs it; what is lost without it is said.
    said = found["Secret kubeflow/mlpipeline-minio-artifact"][1]
    assert said == "does not exist: rounds reuse nothing of earlier ones until pools.artifacts names it"
    keys = {"accesskey": SECRET_VALUE, "secretkey": SECRET_VALUE}
    named = {"name": "mlpipeline-minio-artifact", "namespace": "kubeflow"}
    fake.put("secrets", {"metadata": named, "data": keys})
    code, found = look("--profile", "gpu", "--set", "pools.ca_config_map=store-ca", MATHLOOP_S3_ENDPOINT="")
    assert found["Secret kubeflow/mlpipeline-minio-artifact"] == (True, "accesskey, secretkey")
    good, said = found["ConfigMap kubeflow/store-ca"]
    assert not good
    assert "kubectl create configmap store-ca -n kubeflow --from-file=ca.crt=FILE" in said
    assert not any("mathloop/store-ca" in what for what in found)  # pods there have it by minio-tls


def test_a_bare_cluster(fake: FakeCluster, look: Look) -> None:
    fake.crds.clear()
    code, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    assert code == 1
    good = {what for what, (good, _) in found.items() if good}
    good -= {"Secret kubeflow/mlpipeline-minio-artifact"}  # which nobody needs
    rights = {what for what in found if what.startswith("rights")}
    assert good == {"kubernetes", *rights}  # of a cluster's admin
    for what, said in (
        ("kubeflow pipelines", "install Kubeflow Pipelines 2.17"),
        ("inferenceservices.serving.kserve.io", "not v1beta1; install KServe 0.20 or newer"),
        ("trainjobs.trainer.kubeflow.org", "not v1alpha1; install Kubeflow Trainer v2"),
        ("localqueues.kueue.x-k8s.io", "install Kueue"),
        ("Secret mathloop/mathloop-s3", "kubectl create secret generic mathloop-s3 -n mathloop --from-file"),
        ("ConfigMap mathloop/mathloop-store", "kubectl apply -k manifests/overlays/"),
        ("ConfigMap kubeflow/mathloop-store", "runs-namespace"),
        ("ServingRuntime mathloop-vllm", "install KServe"),
        ("LocalQueue mathloop/mathloop", "install Kueue"),
        ("pool trainer", "kubectl label node NODE mathloop.dev/pool=trainer"),
        ("bucket", "MATHLOOP_S3_ENDPOINT is not set"),
    ):
        assert said in found[what][1], what


def test_a_half_ready_cluster(fake: FakeCluster, look: Look, own_s3: Any) -> None:
    equip(fake, ("mathloop",))
    own_s3.kill()
    fake.crds["inferenceservices.serving.kserve.io"] = "v1alpha2"
    fake.denied |= {("create", "trainjobs"), ("delete", "trainjobs"), ("get", "secrets")}
    with fake.lock:
        del fake.objects[("servingruntimes", "mathloop", "mathloop-solver")]
        fake.objects[("configmaps", "mathloop", "mathloop-store")]["data"].pop("endpoint")
    code, found = look("--profile", "gpu", "--set", "pools.trainer.nodes=2")
    assert code == 1
    missing = {what: said for what, (good, said) in found.items() if not good}
    assert set(missing) == {
        "inferenceservices.serving.kserve.io",
        "rights to trainjobs",
        "Secret mathloop/mathloop-s3",
        "Secret kubeflow/mathloop-s3",
        "ConfigMap mathloop/mathloop-store",
        "ConfigMap kubeflow/mathloop-store",
        "ServingRuntime mathloop-solver",
        "LocalQueue kubeflow/mathloop",
        "pool trainer",
        "bucket",
    }
    assert "may not create, delete in mathloop" in missing["rights to trainjobs"]
    assert "no permission to get secrets" in missing["Secret mathloop/mathloop-s3"]
    assert "lacks endpoint" in missing["ConfigMap mathloop/mathloop-store"]
    assert "1 nvidia.com/gpu on 1 nodes" in missing["pool trainer"]
    assert "2 with 1 each are needed" in missing["pool trainer"]
    assert "no S3 server" in missing["bucket"]
    # What was missing is applied: a profile's namespace, and a second node.
    add_node(fake, "trainer", "8")
    _, found = look("--profile", "gpu", "--set", "pools.trainer.nodes=2", "--namespace", "mathloop")
    assert found["pool trainer"][0]
    assert "ConfigMap kubeflow/mathloop-store" not in found


def test_a_profile_without_gpus_asks_for_none(fake: FakeCluster, look: Look) -> None:
    equip(fake)
    for runtime in ("mathloop-vllm-cpu", "mathloop-vllm-pooling-cpu", "mathloop-solver-cpu"):
        fake.put("servingruntimes", {"metadata": {"name": runtime, "namespace": "mathloop"}})
    fake.crds.pop("localqueues.kueue.x-k8s.io")
    _, found = look("--profile", "laptop", "--set", "deployment.runtimes=cpu", MATHLOOP_S3_ENDPOINT="")
    assert [what for what, (good, _) in found.items() if not good] == ["bucket"]
    assert found["pool trainer"] == (True, "requests no accelerator")
    assert "ServingRuntime mathloop-solver-cpu" in found
    _, found = look("--set", "deployment={runtimes: cpu, vllm: false}", MATHLOOP_S3_ENDPOINT="")
    assert not any("vllm" in what for what in found)


def test_controllers_that_run_are_named_with_their_versions(fake: FakeCluster, look: Look) -> None:
    equip(fake)
    _, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    assert {what: said for what, (good, said) in found.items() if good and "webhook" in said} == {
        "kserve": "v0.21.0, 1 of 1 pods ready in kserve; webhook answers",
        "trainer": "v2.3.0, 1 of 1 pods ready in kubeflow-system; webhook answers",
        "jobset": "v0.12.0, 1 of 1 pods ready in kubeflow-system; webhook answers",
    }
    held = "holds TrainJobs of the queue mathloop back until they fit"
    assert found["kueue"] == (True, f"v0.19.2, 1 of 1 pods ready in kueue-system; {held}")
    assert found["ml-pipeline"][1] == "2.17.0, 1 of 1 pods ready in kubeflow; the API answers"
    assert found["workflow-controller"][1].startswith("v4.0.5, 1 of 1")
    assert fake.count("inferenceservices") == fake.count("trainjobs") == fake.count("jobsets") == 0


def test_crds_without_controllers_are_not_enough(fake: FakeCluster, look: Look) -> None:
    equip(fake)
    fake.admission.clear()
    with fake.lock:
        fake.objects = {key: one for key, one in fake.objects.items() if key[0] != "deployments"}
    code, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    assert code == 1
    missing = {what: said for what, (good, said) in found.items() if not good and what != "bucket"}
    assert set(missing) == {"kserve", "trainer", "jobset", "kueue"}
    assert missing["kserve"] == (
        "no Deployment kserve-controller-manager in kserve or kubeflow, version unknown; the cluster accepts "
        "an invalid InferenceService: no webhook checks it; install KServe 0.20 or newer (docs/cluster.md)"
    )
    assert "install Kubeflow Trainer v2" in missing["trainer"]
    assert "trainer.kubeflow.org/trainjob is not among integrations.frameworks" in missing["kueue"]


def test_controllers_outside_of_the_cluster_are_seen_by_their_webhooks(fake: FakeCluster, look: Look) -> None:
    equip(fake)
    with fake.lock:
        fake.objects = {key: one for key, one in fake.objects.items() if key[0] != "deployments"}
    _, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    assert [what for what, (good, _) in found.items() if not good] == ["bucket"]
    assert found["trainer"][1] == (
        "no Deployment kubeflow-trainer-controller-manager in kubeflow-system or kubeflow, version unknown; "
        "webhook answers"
    )
    assert "no Deployment workflow-controller in kubeflow" in found["workflow-controller"][1]


def test_controllers_that_do_not_run_are_missing(fake: FakeCluster, look: Look) -> None:
    equip(fake)
    add_controllers(fake, ready=0)
    add_webhooks(fake, down=True)
    _, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    for what in ("kserve", "trainer", "jobset", "kueue", "ml-pipeline"):
        good, said = found[what]
        assert not good, what
        assert ", 0 of 1 pods ready in " in said
        assert "kubectl describe pods -n " in said
        assert what == "ml-pipeline" or "does not answer, so nobody can create " in said
    add_controllers(fake)
    _, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    assert "1 of 1 pods ready in kserve; the webhook inferenceservice" in found["kserve"][1]
    assert not found["kserve"][0]
    assert found["ml-pipeline"][0]


def test_what_these_credentials_may_not_see_is_not_missing(fake: FakeCluster, look: Look) -> None:
    equip(fake)
    fake.denied |= {("get", "deployments"), ("create", "jobsets")}
    _, found = look("--profile", "gpu", MATHLOOP_S3_ENDPOINT="")
    assert [what for what, (good, _) in found.items() if not good] == ["bucket"]
    unread = "Deployment kserve-controller-manager not checked: no permission to read it"
    assert found["kserve"][1] == f"{unread}; webhook answers"
    assert "webhook not tried: no permission to create jobsets.jobset.x-k8s.io" in found["jobset"][1]
