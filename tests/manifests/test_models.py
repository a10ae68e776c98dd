"""Custom resources against the models of KServe's and Trainer's own Python SDKs: they know every field."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mathloop.cluster import train_job_spec
from mathloop.cluster.inference_services import services_of, to_object
from mathloop.registry import Champion
from mathloop.settings.pools import Affinity, DeploymentConfig, Pool, Toleration
from tests.manifests.kustomized import Object
from tests.manifests.manifest_builds import built


def _unknown(value: Any, type_name: str, modules: list[Any], where: str) -> Iterator[str]:
    """Fields that a generated model does not have, by its `openapi_types` and `attribute_map`."""
    if inner := re.fullmatch(r"list\[(.+)\]", type_name):
        for index, item in enumerate(value):
            yield from _unknown(item, inner[1], modules, f"{where}[{index}]")
        return
    if inner := re.fullmatch(r"dict\(str, (.+)\)", type_name):
        for name, item in value.items():
            yield from _unknown(item, inner[1], modules, f"{where}.{name}")
        return
    model = next((getattr(module, type_name) for module in modules if hasattr(module, type_name)), None)
    if model is None:
        return
    fields = {wire: name for name, wire in model.attribute_map.items()}
    for name, item in value.items():
        if name not in fields:
            yield f"{where}.{name} is no field of {type_name}"
        else:
            yield from _unknown(item, model.openapi_types[fields[name]], modules, f"{where}.{name}")


def _of(*kinds: str) -> list[Object]:
    return [body for name in ("base", "gpu", "everything") for body in built(name) if body["kind"] in kinds]


def test_kserves_models_know_every_field() -> None:
    try:
        models = importlib.import_module("kserve.models")
    except ImportError:
        pytest.skip("kserve, whose models these are, is not installed")
    modules = [models, importlib.import_module("kubernetes.client")]
    for body in _of("ServingRuntime", "ClusterStorageContainer"):
        kind = f"V1alpha1{body['kind']}"
        assert list(_unknown(body, kind, modules, body["metadata"]["name"])) == []
    wrong = {"spec": {"containers": [{"name": "a", "imagePullPolice": "Always"}], "pods": 1}}
    assert list(_unknown(wrong, "V1alpha1ServingRuntime", modules, "wrong")) == [
        "wrong.spec.containers[0].imagePullPolice is no field of V1Container",
        "wrong.spec.pods is no field of V1alpha1ServingRuntimeSpec",
    ]


def test_trainers_models_give_back_what_they_read() -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    model = models.TrainerV1alpha1ClusterTrainingRuntime
    for body in _of("ClusterTrainingRuntime"):
        assert model.from_dict(body).to_dict() == body
    lost = {**body, "spec": {**body["spec"], "policy": {}}}
    assert model.from_dict(lost).to_dict() != lost


def test_trainers_model_gives_back_the_job_that_a_step_creates() -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    pool = Pool(
        accelerator="nvidia.com/gpu", gpus=8, nodes=4, shared_memory="16Gi", queue="mathloop",
        node_selector={"mathloop.dev/pool": "trainer"}, tolerations=(Toleration(key="nvidia.com/gpu"),),
        affinity=(Affinity(key="zone", values=("a",)), Affinity(key="fast", operator="Exists", weight=10)),
    )  # fmt: skip
    job = train_job_spec.build(
        name="mathloop-sft-0", namespace="mathloop", stage="sft", task="{}", pool=pool,
        secret="mathloop-s3", config_map="mathloop-store", ca_config_map="store-ca",
    )  # fmt: skip
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_kserves_models_know_every_field_of_the_services_that_deployment_creates(mode: Any) -> None:
    try:
        models = importlib.import_module("kserve.models")
    except ImportError:
        pytest.skip("kserve, whose models these are, is not installed")
    modules = [models, importlib.import_module("kubernetes.client")]
    champion = Champion(3, "policy", "reward-model", "base", "round-3", None, {}, "2026-01-01T00:00:00Z")
    for service in services_of(
        champion, "s3://bucket/store", DeploymentConfig(mode=mode, runtimes="gpu"), "c3"
    ):
        assert list(_unknown(to_object(service), "V1beta1InferenceService", modules, service.name)) == []
