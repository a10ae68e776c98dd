"""Kinds of Kubernetes objects that mathloop reads or writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of Kubernetes object."""

    name: str
    plural: str
    group: str
    """Empty for the core kinds of Kubernetes."""
    version: str
    remedy: str = ""
    """What to do where the cluster does not have this kind."""

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def crd(self) -> str:
        """Name of its CustomResourceDefinition, or of the core resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


TRAINER_REMEDY = "install Kubeflow Trainer v2 (docs/cluster.md)"
KSERVE_REMEDY = "install KServe 0.20 or newer (docs/cluster.md)"
TRAIN_JOB = Kind("TrainJob", "trainjobs", "trainer.kubeflow.org", "v1alpha1", TRAINER_REMEDY)
TRAINING_RUNTIME = Kind(
    "ClusterTrainingRuntime", "clustertrainingruntimes", "trainer.kubeflow.org", "v1alpha1", TRAINER_REMEDY
)
INFERENCE_SERVICE = Kind(
    "InferenceService", "inferenceservices", "serving.kserve.io", "v1beta1", KSERVE_REMEDY
)
SERVING_RUNTIME = Kind("ServingRuntime", "servingruntimes", "serving.kserve.io", "v1alpha1", KSERVE_REMEDY)
LOCAL_QUEUE = Kind("LocalQueue", "localqueues", "kueue.x-k8s.io", "v1beta2", "install Kueue 0.14 or newer")
WORKLOAD = Kind("Workload", "workloads", "kueue.x-k8s.io", "v1beta2", "install Kueue 0.14 or newer")
JOB_SET = Kind("JobSet", "jobsets", "jobset.x-k8s.io", "v1alpha2", TRAINER_REMEDY)
JOB = Kind("Job", "jobs", "batch", "v1")
DEPLOYMENT = Kind("Deployment", "deployments", "apps", "v1")
HTTP_ROUTE = Kind(
    "HTTPRoute", "httproutes", "gateway.networking.k8s.io", "v1",
    "install the Gateway API, or leave deployment.gateway.name empty",
)  # fmt: skip
SERVICE = Kind("Service", "services", "", "v1")
POD = Kind("Pod", "pods", "", "v1")
EVENT = Kind("Event", "events", "", "v1")
SECRET = Kind("Secret", "secrets", "", "v1")
CONFIG_MAP = Kind("ConfigMap", "configmaps", "", "v1")
