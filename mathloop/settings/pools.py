"""Settings of a cluster: node pools, the champion's endpoints, the names of Secrets and ConfigMaps."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
"""What Kubernetes takes for a name (at most 63 characters here)."""
OPTIONAL_NAME = r"^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$"
LABEL_NAME = r"^([A-Za-z0-9]([A-Za-z0-9./_-]{0,251}[A-Za-z0-9])?)?$"
CPU = r"^([1-9][0-9]*m?|[0-9]+\.[0-9]+)?$"
SIZE = r"^([1-9][0-9]*(Ki|Mi|Gi|Ti)?)?$"
URL = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$"
DAY = 86_400
"""Seconds."""
CA_FOLDER, CA_KEY = "/etc/store-ca", "ca.crt"
"""Where pods find the authorities of the store's certificate: a ConfigMap's key, mounted in a folder."""


class Toleration(BaseModel):
    """A taint that pods of a pool may be scheduled in spite of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field("", pattern=LABEL_NAME, description="The taint's key; empty with Exists: every taint")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="Exists ignores the value")
    value: str = Field("", description="The taint's value, with Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "NoSchedule", description="The taint's effect; empty: every effect"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError(f"operator Exists takes no value ({self.value}): leave it out, or use Equal")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal needs a key: give one, or use Exists")
        return self

    def to_kubernetes(self) -> dict[str, str]:
        """The toleration as Kubernetes writes it."""
        return {name: value for name, value in self.model_dump().items() if value}


class Affinity(BaseModel):
    """A demand on a node's labels, finer than a selector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=LABEL_NAME, min_length=1, description="The label's name")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        "In", description="How the label is compared with the values"
    )
    values: tuple[str, ...] = Field((), description="Values that it is compared with")
    weight: int = Field(0, ge=0, le=100, description="0: the node must fit; 1–100: a preference so strong")


class Pool(BaseModel):
    """Where the tasks of a kind run and what they may use. Empty texts and zeros ask for nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accelerator: str = Field("", pattern=LABEL_NAME, description="Resource name, such as nvidia.com/gpu")
    gpus: int = Field(0, ge=0, le=64, description="Accelerators a node")
    nodes: int = Field(1, ge=1, le=1024, description="Pods that train together; above 1 by a TrainJob")
    cpu: str = Field("", pattern=CPU, description="CPU cores requested, such as 4 or 500m")
    cpu_limit: str = Field("", pattern=CPU, description="CPU cores at most")
    memory: str = Field("", pattern=SIZE, description="Memory requested, such as 16Gi")
    memory_limit: str = Field("", pattern=SIZE, description="Memory at most")
    shared_memory: str = Field("", pattern=SIZE, description="Size of /dev/shm, in memory, such as 8Gi")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must carry")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are no obstacle")
    affinity: tuple[Affinity, ...] = Field((), description="Finer demands on a node's labels")
    queue: str = Field("", pattern=OPTIONAL_NAME, description="Kueue's LocalQueue that tasks wait in")
    priority: str = Field("", pattern=OPTIONAL_NAME, description="Kueue's WorkloadPriorityClass")
    timeout_seconds: int = Field(0, ge=0, description="Seconds until a task's pod is ended; 0: never")
    queue_seconds: int = Field(DAY, ge=1, description="Seconds that a TrainJob may wait for its nodes")
    run_seconds: int = Field(2 * DAY, ge=1, description="Seconds that a TrainJob may run once it has them")
    run_as_user: int = Field(0, ge=0, description="User id of the pods; 0: the image's own, never root")
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = Field(
        "", description="When nodes pull images; empty: Kubernetes decides"
    )

    @model_validator(mode="after")
    def _has_an_accelerator(self) -> Self:
        if self.gpus and not self.accelerator:
            raise ValueError(f"gpus ({self.gpus}) needs accelerator, such as nvidia.com/gpu: add it")
        return self

    def labels(self) -> dict[str, str]:
        """What Kueue reads from a pod or a TrainJob."""
        named = {"kueue.x-k8s.io/queue-name": self.queue, "kueue.x-k8s.io/priority-class": self.priority}
        return {name: value for name, value in named.items() if value}

    def resources(self) -> dict[str, dict[str, str | int]]:
        """Requests and limits as Kubernetes writes them; accelerators stand in both."""
        gpus: dict[str, str | int] = {self.accelerator: self.gpus} if self.gpus else {}
        requests: dict[str, str | int] = {"cpu": self.cpu, "memory": self.memory, **gpus}
        limits: dict[str, str | int] = {"cpu": self.cpu_limit, "memory": self.memory_limit, **gpus}
        kinds = {"requests": requests, "limits": limits}
        return {
            kind: {name: value for name, value in named.items() if value}
            for kind, named in kinds.items()
            if any(named.values())
        }


class DeploymentConfig(BaseModel):
    """How a champion is put behind KServe endpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field("mathloop", pattern=NAME, description="Namespace of the InferenceServices")
    mode: Literal["Standard", "Knative"] = Field("Standard", description="KServe's deployment mode")
    runtimes: Literal["gpu", "cpu"] = Field("gpu", description="cpu: the ServingRuntimes that end in -cpu")
    vllm: bool = Field(True, description="false: the solver alone, without vLLM's two services")
    weights: Literal["copy", "stream"] = Field(
        "copy", description="copy: every pod copies them first; stream: vLLM reads them from the bucket"
    )
    canary_percent: int = Field(10, ge=1, le=99, description="Traffic that tries the new champion first")
    replicas: int = Field(1, ge=1, le=1000, description="Pods of each InferenceService")
    ready_seconds: int = Field(1800, ge=1, description="Seconds that a service may take to become ready")
    smoke_seconds: int = Field(120, ge=1, description="Seconds that the smoke question may take")
    node_selector: dict[str, str] = Field({}, description="Labels that nodes of vLLM pods must carry")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are no obstacle to vLLM pods")


class ArtifactsConfig(BaseModel):
    """KFP's own bucket: a round looks there for what earlier ones made, before it reuses any of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        "http://seaweedfs.kubeflow:9000", pattern=URL, description="Its S3 endpoint, as pods of runs reach it"
    )
    secret: str = Field(
        "mlpipeline-minio-artifact",
        pattern=NAME,
        description="Secret with accesskey and secretkey, where runs are; without it nothing is reused",
    )


class PoolsConfig(BaseModel):
    """Node pools of a cluster, and what every task there finds. A local round ignores all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: Pool = Field(Pool(), description="Sampling, ranking and evaluation")
    trainer: Pool = Field(Pool(), description="Training")
    control: Pool = Field(Pool(), description="Everything else; it needs no accelerator")
    secret: str = Field("mathloop-s3", pattern=NAME, description="Secret with accesskey and secretkey of S3")
    config_map: str = Field(
        "mathloop-store", pattern=NAME, description="ConfigMap with endpoint and region of S3, and the store"
    )
    ca_config_map: str = Field(
        "",
        pattern=OPTIONAL_NAME,
        description="ConfigMap with ca.crt: authorities of S3's certificate; empty: those that certifi knows",
    )
    artifacts: ArtifactsConfig = Field(ArtifactsConfig(), description="KFP's own bucket")
    retries: int = Field(2, ge=0, le=10, description="Times that a task which only moves data is tried again")

    @model_validator(mode="after")
    def _trains_where_it_can(self) -> Self:
        if self.sampler.nodes > 1 or self.control.nodes > 1:
            raise ValueError("sampler.nodes and control.nodes must be 1: only the trainer spans nodes")
        return self
