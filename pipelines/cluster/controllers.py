"""Whether a cluster's controllers run: their pods are ready, their webhooks answer; and their versions.

A CRD alone does nothing. Each controller is looked for twice: its Deployment where its project's manifests
put it, and its webhook, by a dry run of an object that only this webhook refuses or changes. A webhook that
answers is enough, since controllers may be installed elsewhere or run outside of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mathloop.cluster.kinds import DEPLOYMENT, INFERENCE_SERVICE, JOB_SET, LOCAL_QUEUE, TRAIN_JOB, Kind
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Denied, Forbidden, WebhookDown
from mathloop.cluster.train_job_launching import NAMESPACE
from mathloop.cluster.train_job_spec import RUNTIME
from pipelines.doctor import Finding

PROBE = "mathloop-doctor"
VERSION_LABEL = "app.kubernetes.io/version"
KUEUE_REMEDY = "install Kueue 0.15 or newer (docs/cluster.md)"


@dataclass(frozen=True)
class Controller:
    """A Deployment that has to run."""

    part: str
    deployment: str
    namespaces: tuple[str, ...]
    """Where manifests put it."""
    remedy: str


KSERVE = Controller("kserve", "kserve-controller-manager", ("kserve", "kubeflow"), INFERENCE_SERVICE.remedy)
TRAINER = Controller(
    "trainer", "kubeflow-trainer-controller-manager", ("kubeflow-system", "kubeflow"), TRAIN_JOB.remedy
)
JOBSET = Controller(
    "jobset", "jobset-controller-manager", ("kubeflow-system", "jobset-system"), JOB_SET.remedy
)
KUEUE = Controller("kueue", "kueue-controller-manager", ("kueue-system",), KUEUE_REMEDY)
PIPELINES = tuple(
    Controller(name, name, ("kubeflow",), "install Kubeflow Pipelines 2.17 (docs/cluster.md)")
    for name in (
        "ml-pipeline",
        "ml-pipeline-persistenceagent",
        "ml-pipeline-scheduledworkflow",
        "workflow-controller",
    )
)
"""KFP's controllers and Argo's."""


@dataclass(frozen=True)
class Webhook:
    """What a dry run shows of a controller's webhook."""

    works: bool | None
    """None: it could not be tried."""
    detail: str


def examine(cluster: Cluster, served: Sequence[Kind], queue: str) -> Iterator[Finding]:
    """Checks the controllers of those kinds that the API server serves.

    Args:
        queue: a LocalQueue that the profile names; empty: Kueue is not needed.
    """
    for controller, kind, body in (
        (KSERVE, INFERENCE_SERVICE, _nameless_service()),
        (TRAINER, TRAIN_JOB, _train_job({"kind": "NoRuntime", "name": PROBE}, {})),
        (JOBSET, JOB_SET, _job_set_without_coordinator()),
    ):
        if kind in served:
            yield _finding(cluster, controller, _refuses(cluster, kind, body))
    if queue and {LOCAL_QUEUE, TRAIN_JOB} <= set(served):
        yield _finding(cluster, KUEUE, _holds_back(cluster, queue))


def examine_pipelines(cluster: Cluster) -> Iterator[Finding]:
    """Checks the Deployments of a KFP whose API answers."""
    for controller in PIPELINES:
        yield _finding(cluster, controller, Webhook(True, "the API answers"))


def _finding(cluster: Cluster, controller: Controller, webhook: Webhook) -> Finding:
    try:
        found = next(
            (
                one
                for place in controller.namespaces
                if (one := cluster.get(DEPLOYMENT, controller.deployment, place))
            ),
            None,
        )
    except Forbidden:
        where = f"Deployment {controller.deployment} not checked: no permission to read it"
        return _verdict(controller, webhook, webhook.works is not False, where)
    except ClusterRefused as error:
        return Finding(controller.part, False, str(error))
    if found is None:
        where = (
            f"no Deployment {controller.deployment} in {' or '.join(controller.namespaces)}, version unknown"
        )
        return _verdict(controller, webhook, webhook.works is True, where)
    wanted, ready = found["spec"].get("replicas", 1), (found.get("status") or {}).get("readyReplicas", 0)
    place = found["metadata"]["namespace"]
    where = f"{_version(found)}, {ready} of {wanted} pods ready in {place}"
    if ready < max(1, wanted):
        look = f"kubectl describe pods -n {place}, kubectl logs -n {place} deployment/{controller.deployment}"
        return Finding(controller.part, False, f"{where}; {webhook.detail}; {look}")
    return _verdict(controller, webhook, webhook.works is not False, where)


def _verdict(controller: Controller, webhook: Webhook, ok: bool, where: str) -> Finding:
    remedy = "" if ok else f"; {controller.remedy}"
    return Finding(controller.part, ok, f"{where}; {webhook.detail}{remedy}")


def _version(deployment: dict[str, Any]) -> str:
    """The tag of the controller's image, else its version label."""
    template = deployment["spec"]["template"]
    containers = template["spec"]["containers"]
    chosen = next((one for one in containers if one["name"] == "manager"), containers[0])
    tag = chosen["image"].partition("@")[0].rpartition("/")[2].partition(":")[2]
    labels = {**(template["metadata"].get("labels") or {}), **(deployment["metadata"].get("labels") or {})}
    return str(tag or labels.get(VERSION_LABEL) or "version unknown")


def _refuses(cluster: Cluster, kind: Kind, body: dict[str, Any]) -> Webhook:
    """Whether a webhook refuses an object that the kind's schema accepts."""
    try:
        cluster.try_create(kind, body)
    except Denied:
        return Webhook(True, "webhook answers")
    except WebhookDown as error:
        return Webhook(False, str(error))
    except ClusterRefused as error:
        return Webhook(None, f"webhook not tried: {error}")
    return Webhook(False, f"the cluster accepts an invalid {kind.name}: no webhook checks it")


def _holds_back(cluster: Cluster, queue: str) -> Webhook:
    """Whether Kueue's webhook suspends a TrainJob of a queue."""
    body = _train_job({"name": RUNTIME}, {"kueue.x-k8s.io/queue-name": queue})
    try:
        answer = cluster.try_create(TRAIN_JOB, body)
    except WebhookDown as error:
        return Webhook(False, str(error))
    except ClusterRefused as error:
        return Webhook(None, f"webhook not tried: {error}")
    if answer["spec"].get("suspend"):
        return Webhook(True, f"holds TrainJobs of the queue {queue} back until they fit")
    return Webhook(
        False,
        f"a TrainJob of the queue {queue} is not held back: Kueue does not run, or "
        "trainer.kubeflow.org/trainjob is not among integrations.frameworks of its configuration",
    )


def _nameless_service() -> dict[str, Any]:
    """KServe wants names that begin with a letter."""
    container = {"name": "kserve-container", "image": PROBE}
    return _body(INFERENCE_SERVICE, f"1-{PROBE}", {"predictor": {"containers": [container]}})


def _train_job(runtime: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    body = _body(TRAIN_JOB, PROBE, {"runtimeRef": runtime, "trainer": {"numNodes": 1}})
    body["metadata"]["labels"] = labels
    return body


def _job_set_without_coordinator() -> dict[str, Any]:
    """JobSet wants the coordinator to be one of its jobs."""
    container = {"name": "node", "image": PROBE}
    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}}
    jobs = [{"name": "node", "replicas": 1, "template": template}]
    return _body(JOB_SET, PROBE, {"replicatedJobs": jobs, "coordinator": {"replicatedJob": "none"}})


def _body(kind: Kind, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec}
