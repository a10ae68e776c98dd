"""Settings of a cluster: node pools, the champion's endpoints, the names of Secrets and ConfigMaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
"""A Kubernetes object name (at most 63 characters here)."""
OPTIONAL_NAME = r"^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$"
LABEL_NAME = r"^([A-Za-z0-9]([A-Za-z0-9./_-]{0,251}[A-Za-z0-9])?)?$"
CPU = r"^([1-9][0-9]*m?|[0-9]+\.[0-9]+)?$"
SIZE = r"^([1-9][0-9]*(Ki|Mi|Gi|Ti)?)?$"
URL = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$"
DAY = 86_400
"""Seconds."""
DEADLINE_SECONDS = 300
"""Longest time of a question at a served champion."""
PAUSE_SECONDS = 10
"""A pod that ends still takes requests for so long: until no router sends it any."""
DRAIN_SECONDS = DEADLINE_SECONDS + PAUSE_SECONDS + 20
"""Time in which the solver's pods end, and longest time of a request at a router."""
REMOVAL_SECONDS = DRAIN_SECONDS + 60
CA_FOLDER, CA_KEY = "/etc/store-ca", "ca.crt"
"""Folder and file name under which pods find the store's CA certificates: a mounted ConfigMap."""


class Toleration(BaseModel):
    """A node taint that a pool's pods tolerate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field("", pattern=LABEL_NAME, description="Taint key; empty with Exists: every taint")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="Exists ignores the value")
    value: str = Field("", description="Taint value, with Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "NoSchedule", description="Taint effect; empty: every effect"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError(f"operator Exists takes no value ({self.value}): leave it out, or use Equal")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal needs a key: give one, or use Exists")
        return self

    def to_kubernetes(self) -> dict[str, str]:
        """The toleration in Kubernetes' format."""
        return {name: value for name, value in self.model_dump().items() if value}


class Affinity(BaseModel):
    """A node affinity term: a requirement or preference on node labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=LABEL_NAME, min_length=1, description="Label name")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        "In", description="How the label is compared with the values"
    )
    values: tuple[str, ...] = Field((), description="Values to compare the label with")
    weight: int = Field(0, ge=0, le=100, description="0: required; 1–100: weight of a preference")


class Pool(BaseModel):
    """Nodes and resources for one kind of task. Empty strings and zeros request nothing; CPU and memory have
    defaults of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: ClassVar[Mapping[str, str]] = {"cpu": "500m", "memory": "1Gi"}
    """Requests where neither request nor limit is set: pods without any are starved by others."""

    accelerator: str = Field(
        "", pattern=LABEL_NAME, description="Accelerator resource, such as nvidia.com/gpu"
    )
    gpus: int = Field(0, ge=0, le=64, description="Accelerators per node")
    nodes: int = Field(
        1,
        ge=1,
        le=1024,
        description="Nodes per stage; more than 1 uses a TrainJob, or a sampling Job",
    )
    cpu: str = Field(
        "", pattern=CPU, description="CPU request, such as 4; empty: the limit, else what a nano model takes"
    )
    cpu_limit: str = Field("", pattern=CPU, description="CPU limit")
    memory: str = Field(
        "", pattern=SIZE, description="Memory request, such as 16Gi; empty: the limit, else what it takes"
    )
    memory_limit: str = Field("", pattern=SIZE, description="Memory limit")
    shared_memory: str = Field("", pattern=SIZE, description="Size of /dev/shm, such as 8Gi")
    node_selector: dict[str, str] = Field({}, description="Required node labels")
    tolerations: tuple[Toleration, ...] = Field((), description="Node taints that pods tolerate")
    affinity: tuple[Affinity, ...] = Field((), description="Node affinity terms")
    queue: str = Field("", pattern=OPTIONAL_NAME, description="Kueue LocalQueue of the tasks")
    priority: str = Field("", pattern=OPTIONAL_NAME, description="Kueue WorkloadPriorityClass")
    timeout_seconds: int = Field(0, ge=0, description="Timeout of a task's pod, in seconds; 0: none")
    queue_seconds: int = Field(DAY, ge=1, description="Seconds a job of several nodes may wait")
    run_seconds: int = Field(2 * DAY, ge=1, description="Seconds such a job may run once it started")
    run_as_user: int = Field(0, ge=0, description="User id in the pods, never root; 0: the image's")
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = Field(
        "", description="When nodes pull images; empty: Kubernetes' default"
    )

    @model_validator(mode="after")
    def _has_an_accelerator(self) -> Self:
        for name in ("cpu", "memory"):
            asked, limit = getattr(self, name), getattr(self, f"{name}_limit")
            if asked and limit and _amount(asked) > _amount(limit):
                raise ValueError(f"{name} ({asked}) is more than {name}_limit ({limit}): lower it")
        if self.gpus and not self.accelerator:
            raise ValueError(f"gpus ({self.gpus}) needs accelerator, such as nvidia.com/gpu: add it")
        return self

    @property
    def limit_bytes(self) -> float:
        """`memory_limit` in bytes; 0: none."""
        return _amount(self.memory_limit) if self.memory_limit else 0.0

    @property
    def names_resources(self) -> bool:
        """Whether it says what its pods may use."""
        return bool(self.cpu or self.cpu_limit or self.memory or self.memory_limit or self.gpus)

    def request(self, name: Literal["cpu", "memory"]) -> str:
        """The request of a pod; empty where Kubernetes takes the limit."""
        return getattr(self, name) or ("" if getattr(self, f"{name}_limit") else self.least[name])

    def labels(self) -> dict[str, str]:
        """Kueue's labels for a pod or a TrainJob."""
        labels = {"kueue.x-k8s.io/queue-name": self.queue, "kueue.x-k8s.io/priority-class": self.priority}
        return {name: value for name, value in labels.items() if value}

    def resources(self) -> dict[str, dict[str, str | int]]:
        """Requests and limits in Kubernetes' format; both contain the accelerators.

        Where the pool names no limit, its own request is the limit: the LimitRange of our namespace gives
        other containers one, and a pod that requests more is refused.
        """
        gpus: dict[str, str | int] = {self.accelerator: self.gpus} if self.gpus else {}
        requests: dict[str, str | int] = {
            "cpu": self.request("cpu"),
            "memory": self.request("memory"),
            **gpus,
        }
        limits: dict[str, str | int] = {
            "cpu": self.cpu_limit or self.cpu,
            "memory": self.memory_limit or self.memory,
            **gpus,
        }
        kinds = {"requests": requests, "limits": limits}
        return {
            kind: {name: value for name, value in amounts.items() if value}
            for kind, amounts in kinds.items()
            if any(amounts.values())
        }


def _amount(text: str) -> float:
    """A quantity of Kubernetes as a number: cores, or bytes."""
    units = {"m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
    unit = next((unit for unit in units if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units.get(unit, 1.0)


class ControlPool(Pool):
    """The pool of tasks that move records and wait for others."""

    least: ClassVar[Mapping[str, str]] = {"cpu": "100m", "memory": "512Mi"}


class SamplerPool(Pool):
    """The pool of tasks that sample; `nodes` above 1 share what a stage samples."""

    shard_responses: int = Field(
        8192,
        ge=1,
        description="Responses per shard with several nodes: a killed pod loses one shard at most. Each "
        "shard waits for its longest response, so that many small ones cost time",
    )


class Gateway(BaseModel):
    """A Gateway of the Gateway API through which users reach the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", pattern=OPTIONAL_NAME, description="Name of the Gateway; empty: none")
    namespace: str = Field(
        "", pattern=OPTIONAL_NAME, description="Its namespace; empty: that of the InferenceServices"
    )
    hostname: str = Field(
        "", pattern=OPTIONAL_NAME, description="Host name of the route; empty: every one of the Gateway"
    )


class DeploymentConfig(BaseModel):
    """Deployment of a champion to KServe endpoints, behind the Service `mathloop`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field("mathloop", pattern=NAME, description="Namespace of the InferenceServices")
    mode: Literal["Standard", "Knative"] = Field("Standard", description="KServe's deployment mode")
    runtimes: Literal["gpu", "cpu"] = Field("gpu", description="cpu: ServingRuntimes whose names end in -cpu")
    vllm: bool = Field(True, description="false: only the solver, without the two vLLM services")
    weights: Literal["copy", "stream"] = Field(
        "copy", description="copy: pods download the weights first; stream: vLLM reads them from the bucket"
    )
    gateway: Gateway = Field(
        Gateway(), description="Gateway that gives a new champion a share of the traffic"
    )
    canary_percent: int = Field(
        10, ge=1, le=99, description="Percent of a gateway's traffic for a new champion before it takes over"
    )
    canary_seconds: int = Field(60, ge=0, description="Seconds that a new champion has this share")
    keep_former: bool = Field(
        True, description="Keep the former champion running until the next deployment, for a fast rollback"
    )
    replicas: int = Field(1, ge=1, le=1000, description="Pods of each InferenceService")
    ready_seconds: int = Field(1800, ge=1, description="Seconds a champion's services may take to be ready")
    smoke_seconds: int = Field(120, ge=1, description="Seconds the smoke-test question may take")
    node_selector: dict[str, str] = Field({}, description="Required node labels of vLLM pods")
    tolerations: tuple[Toleration, ...] = Field((), description="Node taints that vLLM pods tolerate")

    @model_validator(mode="after")
    def _has_one_router(self) -> Self:
        if self.gateway.name and self.mode == "Knative":
            raise ValueError(
                "gateway.name needs mode Standard: Knative's Services are no backends of a route"
            )
        return self

    @property
    def longest_seconds(self) -> int:
        """Longest time that a deployment takes, in seconds: three removals, five questions, and the waits."""
        waits = self.ready_seconds + self.canary_seconds * bool(self.gateway.name)
        return 3 * 2 * REMOVAL_SECONDS + waits + 5 * self.smoke_seconds


class ArtifactsConfig(BaseModel):
    """KFP's artifact bucket: a run reuses cached outputs only if they still exist there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        "http://seaweedfs.kubeflow:9000", pattern=URL, description="S3 endpoint, as seen from the runs' pods"
    )
    secret: str = Field(
        "mlpipeline-minio-artifact",
        pattern=NAME,
        description="Secret (accesskey, secretkey) in the runs' namespace; if missing, nothing is reused",
    )


class PoolsConfig(BaseModel):
    """Node pools of a cluster, and the Secrets and ConfigMaps of tasks. Local runs ignore this section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: SamplerPool = Field(SamplerPool(), description="Sampling, ranking and evaluation")
    trainer: Pool = Field(Pool(), description="Training")
    control: ControlPool = Field(ControlPool(), description="All other tasks; needs no accelerator")
    secret: str = Field(
        "mathloop-s3",
        pattern=OPTIONAL_NAME,
        description="Secret with accesskey and secretkey of S3; empty: the pods' own identity (a role)",
    )
    config_map: str = Field(
        "mathloop-store", pattern=NAME, description="ConfigMap with endpoint and region of S3, and the store"
    )
    ca_config_map: str = Field(
        "",
        pattern=OPTIONAL_NAME,
        description="ConfigMap with ca.crt, the CA certificates for S3; empty: those of certifi",
    )
    artifacts: ArtifactsConfig = Field(ArtifactsConfig(), description="KFP's artifact bucket")
    retries: int = Field(2, ge=0, le=10, description="Times that a task runs again after its pod was deleted")

    @model_validator(mode="after")
    def _trains_where_it_can(self) -> Self:
        if self.control.nodes > 1:
            raise ValueError("control.nodes must be 1: only trainer and sampler span nodes")
        return self
