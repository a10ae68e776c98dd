"""Compiled pipelines of every profile: pools, secrets by reference, code and seed in the cache key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.images import CONTROL_IMAGE, SAMPLER_IMAGE, TRAINER_IMAGE
from mathloop.cluster import reuse
from mathloop.cluster.sampling_launching import Pods
from mathloop.settings import Settings
from mathloop.settings.pools import Pool
from pipelines import compiling
from pipelines.compiling import arguments_of, code_version, write_compiled
from pipelines.profile import FOLDER, load_profile
from pipelines.table import PIPELINES, find_pipeline
from tests.paths import ROOT

PROFILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SAMPLING = {"cot", "tir", "reward-data", "selection", "evaluation"}
TRAINING = {"sft", "reward-model", "grpo"}
SECRET = "a-secret-that-no-file-may-hold"


class Compiled:
    """One compiled pipeline, looked at by the name of a component."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.spec, platforms = yaml.load_all(self.text, yaml.CSafeLoader)
        self.platforms: dict[str, Any] = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.executors: dict[str, Any] = self.spec["deploymentSpec"]["executors"]

    def names(self) -> set[str]:
        return {name.removeprefix("exec-") for name in self.executors}

    def container(self, name: str) -> dict[str, Any]:
        container: dict[str, Any] = self.executors[f"exec-{name}"]["container"]
        return container

    def pod(self, name: str) -> dict[str, Any]:
        pod: dict[str, Any] = self.platforms[f"exec-{name}"]
        return pod

    def tasks(self) -> dict[str, Any]:
        groups = [self.spec["root"]["dag"]["tasks"]]
        groups += [part["dag"]["tasks"] for part in self.spec["components"].values() if "dag" in part]
        return {name: task for group in groups for name, task in group.items()}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Compiled]]:
    """Profile → pipeline; compiled where secrets stand in the environment."""
    found: dict[str, dict[str, Compiled]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MATHLOOP_S3_ACCESS_KEY_ID", "MATHLOOP_S3_SECRET_ACCESS_KEY", "MATHLOOP_S3_ENDPOINT"):
            patch.setenv(name, SECRET)
        patch.setenv("MATHLOOP_CODE_VERSION", "code-1")
        for profile in (*PROFILES, "nodes"):
            out = tmp_path_factory.mktemp(profile)
            sets = ["pools.trainer.nodes=2", "pools.trainer.gpus=4"] if profile == "nodes" else []
            write_compiled(out, load_profile("gpu" if sets else profile, sets))
            found[profile] = {path.stem: Compiled(path) for path in out.iterdir()}
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_compiles_with_its_settings_as_defaults(
    compiled: dict[str, dict[str, Compiled]], profile: str
) -> None:
    assert set(compiled[profile]) == set(PIPELINES)
    settings = load_profile(profile)
    for pipeline in PIPELINES:
        one = compiled[profile][pipeline]
        parameters = one.spec["root"]["inputDefinitions"]["parameters"]
        for name, value in arguments_of(find_pipeline(pipeline), settings).items():
            assert parameters[name]["defaultValue"] == (-1 if name == "seed" else value)
        assert parameters["store"]["defaultValue"].startswith("s3://")
        if "preflight" in one.tasks():  # which has the whole profile as a constant
            constant = one.tasks()["preflight"]["inputs"]["parameters"]["profile"]["runtimeValue"]["constant"]
            assert Settings.model_validate_json(constant) == compiling.for_cluster(settings)
        # Who opens the form in the UI can start at once.
        assert all("defaultValue" in one or one.get("isOptional") for one in parameters.values())


@pytest.mark.parametrize("profile", [*PROFILES, "nodes"])
def test_no_secret_and_nothing_of_this_machine(
    compiled: dict[str, dict[str, Compiled]], profile: str
) -> None:
    for one in compiled[profile].values():
        for part in (SECRET, str(ROOT), str(Path.home()) + "/", "/tmp/", "pip install"):
            assert part not in one.text
        for name in one.names():
            secrets = {secret["secretName"]: secret for secret in one.pod(name)["secretAsEnv"]}
            secret = secrets.pop("mathloop-s3")
            # Preflight alone looks into KFP's own bucket, and goes on where it may not.
            optional = {name: other["optional"] for name, other in secrets.items()}
            assert optional == ({"mlpipeline-minio-artifact": True} if "preflight" in name else {})
            assert {entry["envVar"] for entry in secret["keyToEnv"]} == {
                "MATHLOOP_S3_ACCESS_KEY_ID",
                "MATHLOOP_S3_SECRET_ACCESS_KEY",
            }
            maps = {store["configMapName"] for store in one.pod(name)["configMapAsEnv"]}
            assert maps == {"mathloop-store"}
            assert "configMapAsVolume" not in one.pod(name)
            # A store whose pod moves is waited for.
            assert {"name": "MATHLOOP_PATIENCE", "value": "180"} in one.container(name)["env"]
            assert one.pod(name)["securityContext"]["runAsNonRoot"] is True


def test_pods_with_an_identity_of_their_own_get_no_keys(tmp_path: Path) -> None:
    settings = load_profile("tiny", ["pools.secret=", "pools.trainer.nodes=2"])
    compiling.compile_one(find_pipeline("pretraining"), tmp_path / "one.yaml", settings)
    one = Compiled(tmp_path / "one.yaml")
    assert "mathloop-s3" not in one.text
    assert {name for name in one.names() if "secretAsEnv" in one.pod(name)} == {"preflight"}
    launched = one.tasks()["pretrain"]
    access = launched["inputs"]["parameters"]["access"]["runtimeValue"]["constant"]
    assert json.loads(access)["secret"] == ""


def test_tir_trains_between_iterations_in_the_trainers_pool_and_image(tmp_path: Path) -> None:
    settings = load_profile("gpu", ["tir.iterations=2"])
    compiling.compile_one(find_pipeline("data"), tmp_path / "data.yaml", settings)
    one = Compiled(tmp_path / "data.yaml")
    assert one.pod("tir")["nodeSelector"]["labels"] == {"mathloop.dev/pool": "trainer"}
    assert "mathloop/trainer" in one.container("tir")["image"]
    tasks = one.tasks()
    sft = tasks["tir"]["inputs"]["parameters"]["sft_settings"]
    assert sft == {"componentInputParameter": "sft_settings"}
    assert one.pod("cot")["nodeSelector"]["labels"] == {"mathloop.dev/pool": "sampler"}


@pytest.mark.parametrize(("pool", "names"), [("sampler", SAMPLING), ("trainer", TRAINING)])
def test_each_gpu_step_carries_its_pool(
    compiled: dict[str, dict[str, Compiled]], pool: str, names: set[str]
) -> None:
    one = compiled["gpu"]["improvement-round"]
    for name in names:
        pod = one.pod(name)
        accelerator = one.container(name)["resources"]["accelerator"]
        assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
        assert pod["nodeSelector"]["labels"] == {"mathloop.dev/pool": pool}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        (shared,) = pod["emptyDirMounts"]
        assert (shared["mountPath"], shared["medium"], shared["sizeLimit"]) == ("/dev/shm", "Memory", "8Gi")
        assert pod["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "mathloop"
        assert int(pod["activeDeadlineSeconds"]) > 3600
        for kind in ("CpuRequest", "CpuLimit", "MemoryRequest", "MemoryLimit"):
            assert one.container(name)["resources"][f"resource{kind}"]
    for name in one.names() - SAMPLING - TRAINING:
        assert "accelerator" not in one.container(name)["resources"]
        assert "nodeSelector" not in one.pod(name)
        assert one.pod(name)["podMetadata"]["labels"]["app.kubernetes.io/component"] == "control"


def test_everything_that_a_pool_can_say_reaches_the_task(tmp_path: Path) -> None:
    sets = [
        "pools.sampler.affinity=[{key: gpu, values: [h100]}, {key: zone, operator: Exists, weight: 5}]",
        "pools.sampler.priority=nightly",
        "pools.sampler.run_as_user=10001",
        "pools.sampler.image_pull_policy=Always",
        "pools.secret=keys",
        "pools.config_map=place",
        "pools.ca_config_map=authority",
        "pools.artifacts={endpoint: https://s3.example.com, secret: bucket-keys}",
    ]
    write_compiled(tmp_path, load_profile("gpu", sets))
    pod = Compiled(tmp_path / "data.yaml").pod("cot")
    assert pod["nodeAffinity"] == [
        {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]},
        {"matchExpressions": [{"key": "zone", "operator": "Exists"}], "weight": 5},
    ]
    assert pod["podMetadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "nightly"
    assert pod["securityContext"] == {"runAsUser": "10001", "runAsNonRoot": True}
    assert pod["imagePullPolicy"] == "Always"
    assert pod["secretAsEnv"][0]["secretName"] == "keys"
    assert pod["configMapAsEnv"][0]["configMapName"] == "place"
    one = Compiled(tmp_path / "improvement-round.yaml")
    for name in one.names():
        (mounted,) = one.pod(name)["configMapAsVolume"]
        assert (mounted["configMapName"], mounted["mountPath"]) == ("authority", "/etc/store-ca")
        path = {"name": "MATHLOOP_S3_CA", "value": "/etc/store-ca/ca.crt"}
        assert path in one.container(name)["env"]
    secrets = {secret["secretName"]: secret for secret in one.pod("preflight")["secretAsEnv"]}
    keys = secrets["bucket-keys"]
    assert {entry["envVar"] for entry in keys["keyToEnv"]} == set(reuse.KEYS.values())
    endpoint = {"name": "MATHLOOP_ARTIFACTS_ENDPOINT", "value": "https://s3.example.com"}
    assert endpoint in one.container("preflight")["env"]


def test_training_on_several_nodes_is_launched(compiled: dict[str, dict[str, Compiled]]) -> None:
    one = compiled["nodes"]["improvement-round"]
    for name in TRAINING:
        assert one.container(name)["args"][-1] == "train_job"
        inputs = one.tasks()[name]["inputs"]
        stage = inputs["parameters"]["stage"]["runtimeValue"]["constant"]
        assert stage == name.replace("-", "_")
        pool = Pool.model_validate_json(inputs["parameters"]["pool"]["runtimeValue"]["constant"])
        assert (pool.nodes, pool.gpus) == (2, 4)
        # The launcher needs no GPU, and outlives queue and run of its job.
        assert "accelerator" not in one.container(name)["resources"]
        assert int(one.pod(name)["activeDeadlineSeconds"]) > 3 * 86_400
    pretraining = compiled["nodes"]["pretraining"]
    assert pretraining.container("pretrain")["args"][-1] == "train_job"


def test_sampling_on_several_nodes_is_launched(tmp_path: Path) -> None:
    sets = ["pools.sampler.nodes=3", "pools.sampler.shard_responses=64", "writing.templates=[reword]"]
    settings = load_profile("gpu", sets)
    sampling = {
        "improvement-round": ("writing", "cot", "tir", "reward-data", "selection", "evaluation"),
        "evaluation": ("champion-evaluation",),
        "written-corpus": ("written-problems", "cot", "tir"),
    }
    for pipeline, names in sampling.items():
        compiling.compile_one(find_pipeline(pipeline), tmp_path / "one.yaml", settings)
        one = Compiled(tmp_path / "one.yaml")
        for name in names:
            container, inputs = one.container(name), one.tasks()[name]["inputs"]
            assert container["args"][-1] == name.replace("-", "_")
            assert container["image"] == CONTROL_IMAGE
            assert "accelerator" not in container["resources"]
            pods = inputs["parameters"]["pods"]["runtimeValue"]["constant"]
            pods = Pods.model_validate_json(pods)
            assert (pods.stage, pods.image) == (name.replace("-", "_"), SAMPLER_IMAGE)
            assert (pods.pool.nodes, pods.pool.shard_responses) == (3, 64)
            # The step waits for its pods, however long they may queue and run.
            assert int(one.pod(name)["activeDeadlineSeconds"]) > 3 * 86_400


def test_what_several_pods_cannot_share_stays_on_one(tmp_path: Path) -> None:
    sets = ["pools.sampler.nodes=3", "tir.iterations=2", "writing.templates=[reword]"]
    settings = load_profile("gpu", [*sets, "writing.endpoint=http://writer:8000/v1"])
    compiling.compile_one(find_pipeline("data"), tmp_path / "one.yaml", settings)
    one = Compiled(tmp_path / "one.yaml")
    assert "pods" in one.tasks()["cot"]["inputs"]["parameters"]
    for name, image in (("tir", TRAINER_IMAGE), ("writing", SAMPLER_IMAGE)):
        assert "pods" not in one.tasks()[name]["inputs"]["parameters"]
        assert one.container(name)["image"] == image


def test_code_and_seed_reach_preflight_and_its_seed_everybody(
    compiled: dict[str, dict[str, Compiled]],
) -> None:
    """KFP's cache sees arguments and not the environment: preflight makes one of the other."""
    for one in compiled["gpu"].values():
        for name in one.names():
            assert {"name": "MATHLOOP_CODE_VERSION", "value": "code-1"} in one.container(name)["env"]
    tasks = compiled["gpu"]["improvement-round"].tasks()
    drawn = {"taskOutputParameter": {"producerTask": "preflight", "outputParameterKey": "seed"}}
    for name in ("synthesis", "learning", "judgment"):
        assert tasks[name]["inputs"]["parameters"]["seed"] == drawn
    for name in {*SAMPLING, *TRAINING, "problems"}:
        assert tasks[name]["inputs"]["parameters"]["seed"] == {"componentInputParameter": "seed"}
    assert tasks["preflight"]["inputs"]["parameters"]["seed"] == {"componentInputParameter": "seed"}


def test_the_code_version_is_given_or_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MATHLOOP_CODE_VERSION", raising=False)
    assert code_version() == code_version()
    assert code_version().startswith("0.1.0+")
    monkeypatch.setenv("MATHLOOP_CODE_VERSION", "sha-1")
    assert code_version() == "sha-1"


def test_golden_files_hold_no_code_version_and_are_ready_for_the_ui() -> None:
    for path in (ROOT / "pipelines" / "compiled").glob("*.yaml"):
        one = Compiled(path)
        assert "MATHLOOP_CODE_VERSION" not in one.text
        assert all(one.pod(name)["secretAsEnv"] for name in one.names())
        parameters = one.spec["root"]["inputDefinitions"]["parameters"]
        assert parameters["store"]["defaultValue"] == compiling.CLUSTER_STORE


def test_a_task_whose_pod_was_evicted_runs_again(compiled: dict[str, dict[str, Compiled]]) -> None:
    """Argo counts the longest backoff from the first attempt's start: it must outlast all attempts."""
    for name, task in compiled["gpu"]["improvement-round"].tasks().items():
        if task["componentRef"]["name"] in ("comp-synthesis", "comp-learning"):
            continue
        policy = task["retryPolicy"]
        assert (policy["maxRetryCount"], policy["backoffFactor"]) == (2, 2.0), name
        timeout = int(compiled["gpu"]["improvement-round"].pod(name)["activeDeadlineSeconds"])
        assert int(policy["backoffMaxDuration"].removesuffix("s")) >= 3 * timeout


def test_deployment_is_off_by_default_and_absent_on_one_machine(
    compiled: dict[str, dict[str, Compiled]],
) -> None:
    one = compiled["gpu"]["improvement-round"]
    assert one.spec["root"]["inputDefinitions"]["parameters"]["serve"]["defaultValue"] == "no"
    task = one.tasks()["deployment"]
    assert task["inputs"]["parameters"]["serve"] == {"componentInputParameter": "serve"}
    assert set(task["dependentTasks"]) == {"preflight", "judgment"}
    local = find_pipeline("improvement-round")
    assert "deployment" not in local.pipeline_spec.root.dag.tasks
    assert "mathloop-s3" not in str(local.platform_spec)


def test_every_task_asks_for_what_a_small_model_takes(compiled: dict[str, dict[str, Compiled]]) -> None:
    """Beside a TrainJob, pods without requests are starved."""
    for profile in ("tiny", "laptop"):
        one = compiled[profile]["improvement-round"]
        for name in one.names():
            small = name not in SAMPLING | TRAINING
            resources = one.container(name)["resources"]
            assert resources["resourceCpuRequest"] == ("100m" if small else "500m"), name
            assert resources["resourceMemoryRequest"] == ("512Mi" if small else "1Gi"), name
            assert "resourceCpuLimit" not in resources
            assert "emptyDirMounts" not in one.pod(name)
