"""A champion behind KServe, in both modes: created, updated by canary, and rolled back when it fails."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from mathloop.cluster import deployment, rollout
from mathloop.cluster.deployment import DeploymentFailed, deploy
from mathloop.cluster.inference_services import FORMER, POLICY, REWARD_MODEL, SOLVER, first, services_of
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused
from mathloop.registry import Champion
from mathloop.settings.pools import DeploymentConfig, Toleration
from tests import crd_schemas
from tests.fake_cluster import FakeCluster

STORE = "s3://mathloop/store"
Mode = Literal["Standard", "Knative"]
both_modes = pytest.mark.parametrize("mode", ["Standard", "Knative"])


def champion(number: int, reward_model: bool = True) -> Champion:
    return Champion(
        number=number,
        policy=f"rounds/r{number}/policy",
        reward_model=f"rounds/r{number}/reward_model" if reward_model else None,
        base="base/b/policy",
        round_id=f"r{number}",
        parent=number - 1 if number else None,
        metrics={"greedy": 0.5},
        created="2026-11-25T00:00:00+00:00",
    )


def settings(mode: Mode = "Standard", **more: Any) -> DeploymentConfig:
    return DeploymentConfig.model_validate({"mode": mode, "ready_seconds": 100, "smoke_seconds": 100, **more})


IMPATIENT = {"ready_seconds": 1, "smoke_seconds": 2}
"""For champions that never become ready or never answer."""


@dataclass
class KServe:
    """What KServe's controller does to an InferenceService, and who then gets which traffic.

    `bad` champions never become ready, `mute` ones become ready and do not answer.
    """

    fake: FakeCluster
    bad: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    failure: dict[str, Any] = field(default_factory=dict)
    """modelStatus of a bad champion."""
    traffic: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    """After every write: service, and the share of each champion's policy."""
    _rolled_out: dict[str, dict[str, Any]] = field(default_factory=dict)
    _good: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fake.controllers.append(self.reconcile)
        self.fake.answers = self.answer

    def reconcile(self, plural: str, body: dict[str, Any]) -> None:
        if plural != "inferenceservices":
            return
        name, spec = body["metadata"]["name"], body["spec"]
        mode = body["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
        status = self._standard(spec) if mode == "Standard" else self._knative(name, body)
        status["observedGeneration"] = body["metadata"]["generation"]
        status["address"] = {"url": f"http://{name}-main.mathloop.svc.cluster.local"}
        body["status"] = status

    def _standard(self, spec: dict[str, Any]) -> dict[str, Any]:
        canaries = [
            {
                "name": one["predictor"]["name"],
                "ready": _version(one["predictor"]) not in self.bad,
                "trafficPercent": one["trafficPercent"],
                **({"modelStatus": self.failure} if _version(one["predictor"]) in self.bad else {}),
            }
            for one in spec.get("canary") or []
        ]
        shares = {
            _version(one["predictor"]): one["trafficPercent"]
            for one, told in zip(spec.get("canary") or [], canaries, strict=True)
            if told["ready"]
        }
        stable = _version(spec["predictor"])
        self._note(spec, {stable: 100 - sum(shares.values()), **shares})
        return {"canaryStatuses": canaries, **_conditions(stable not in self.bad)}

    def _knative(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        predictor, generation = body["spec"]["predictor"], body["metadata"]["generation"]
        version, percent = _version(predictor), predictor.get("canaryTrafficPercent")
        ready = version not in self.bad
        old = self._rolled_out.get(name)
        if percent is None and ready:
            self._rolled_out[name] = predictor
        split = {version: 100} if percent is None or old is None else {version: percent}
        if not ready and old is not None:
            split = {}  # Knative sends nothing to a revision that is not ready
        if old is not None and sum(split.values()) < 100:
            share = split.get(_version(old), 0)
            split = {**split, _version(old): share + 100 - sum(split.values())}
        self._note(body["spec"], split)
        component = {
            "latestCreatedRevision": f"{name}-{generation}",
            "latestReadyRevision": f"{name}-{generation}" if ready else f"{name}-{generation - 1}",
            "traffic": [{"tag": "latest", "url": f"http://{name}-{version}.mathloop.svc.cluster.local"}],
        }
        told = {"modelStatus": self.failure} if not ready and self.failure else {}
        return {"components": {"predictor": component}, **told, **_conditions(ready)}

    def _note(self, spec: dict[str, Any], shares: dict[str, int]) -> None:
        kind = spec["predictor"]["model"]["runtime"]
        self.traffic.append((kind, {version: share for version, share in shares.items() if share}))

    def answer(self, service: str, path: str) -> tuple[int, Any]:
        mute = any(f"-{version}" in service for version in self.mute)
        if service.endswith("-main"):
            (share,) = [dict(shares) for kind, shares in self.traffic[-1:]]
            mute = any(share.get(version) == 100 for version in self.mute)
        if mute:
            return 500, {}
        if path == "/v1/chat/completions":
            return 200, {"choices": [{"message": {"content": "The answer is 7."}}]}
        return 200, {"choices": [{"text": " 7"}]}


def _version(predictor: dict[str, Any]) -> str:
    """c2 for the models of round r2."""
    model = predictor["model"]
    text = json.dumps([model.get("storageUri"), model.get("args"), predictor.get("storageUris")])
    found = re.search(r"rounds/r(\d)|-policy-c(\d)-", text)
    return f"c{found[1] or found[2]}" if found else "same"


def _conditions(ready: bool) -> dict[str, Any]:
    told = {"type": "Ready", "status": "True" if ready else "False", "reason": "MinimumReplicasUnavailable"}
    return {"conditions": [told]}


@pytest.fixture
def kserve(fake: FakeCluster) -> KServe:
    return KServe(fake)


Deploy = Callable[..., list[str]]


@pytest.fixture
def deploying(cluster: Cluster) -> Deploy:
    def go(number: int, config: DeploymentConfig, **more: Any) -> list[str]:
        said: list[str] = []
        deploy(cluster, champion(number, **more), STORE, config, say=said.append, poll_seconds=0.05)
        return said

    return go


def served(fake: FakeCluster, name: str) -> dict[str, Any]:
    found = fake.find("inferenceservices", name)
    assert found is not None
    return found


VARIANTS: list[dict[str, Any]] = [
    {"mode": "Standard"},
    {"mode": "Knative"},
    {"weights": "stream", "node_selector": {"mathloop.dev/pool": "sampler"}},
    {"vllm": False, "runtimes": "cpu"},
    {"tolerations": [{"key": "nvidia.com/gpu"}], "replicas": 3},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("reward_model", [True, False])
def test_every_object_passes_the_crds_schema(variant: dict[str, Any], reward_model: bool) -> None:
    for service in services_of(champion(3, reward_model), STORE, DeploymentConfig.model_validate(variant)):
        body = first(service)
        assert crd_schemas.problems(body) == []
        assert body["spec"]["predictor"]["serviceAccountName"] == "mathloop-serving"
        assert {"part-of", "component", "managed-by", "name"} == {
            label.removeprefix("app.kubernetes.io/") for label in body["metadata"]["labels"]
        }


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_object_is_one_of_kserves_own_models(
    variant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs where the CRDs are not: a field that the SDK's model does not have is lost on the way."""
    sdk = pytest.importorskip("kserve.models", reason="the kserve SDK is not installed")
    from kubernetes.client import ApiClient, models

    for name, kind in vars(sdk).items():  # the client finds models by name among its own
        if name.startswith("V1") and not hasattr(models, name):
            monkeypatch.setattr(models, name, kind, raising=False)
    api = ApiClient()
    for service in services_of(champion(3), STORE, DeploymentConfig.model_validate(variant)):
        body = first(service)
        answer = SimpleNamespace(data=json.dumps(body))
        kept = api.sanitize_for_serialization(api.deserialize(answer, "V1beta1InferenceService"))
        assert list(_lost(body, kept)) == []
        body["spec"]["predictor"]["runtimes"] = "no such field"
        assert list(_lost(body, kept)) == ["runtimes"]


def _lost(wanted: Any, kept: Any) -> Iterator[str]:
    """Names of the fields that are not as they were."""
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(kept.get(name), dict):
            yield from _lost(value, kept[name])
        elif kept.get(name) != value:
            yield name


def test_weights_are_the_published_artifacts_copied_or_streamed() -> None:
    by_name = {one.name: one.predictor for one in services_of(champion(3), STORE, settings())}
    assert by_name[POLICY]["model"]["storageUri"] == "s3://mathloop/store/rounds/r3/policy"
    assert by_name[REWARD_MODEL]["model"]["storageUri"] == "s3://mathloop/store/rounds/r3/reward_model"
    assert by_name[POLICY]["model"]["runtime"] == "mathloop-vllm"
    assert "http://mathloop-policy-c3-predictor.mathloop.svc" in by_name[SOLVER]["model"]["args"][1]
    config = settings(weights="stream", tolerations=[{"key": "nvidia.com/gpu"}])
    policy = services_of(champion(3), STORE, config)[0].predictor
    assert "storageUri" not in policy["model"]
    assert policy["model"]["args"][0] == "--model=s3://mathloop/store/rounds/r3/policy"
    assert policy["tolerations"] == [Toleration(key="nvidia.com/gpu").to_kubernetes()]
    (solver,) = services_of(champion(3), STORE, settings(vllm=False, runtimes="cpu"))
    assert solver.predictor["model"]["runtime"] == "mathloop-solver-cpu"
    assert [one["uri"].rpartition("/")[2] for one in solver.predictor["storageUris"]] == [
        "policy",
        "reward_model",
    ]
    with pytest.raises(ClusterRefused, match="s3:// store"):
        services_of(champion(3), "/var/store", settings())


@both_modes
def test_the_first_champion_is_created_waited_for_and_asked(
    fake: FakeCluster, kserve: KServe, deploying: Deploy, mode: Mode
) -> None:
    said = deploying(1, settings(mode))
    assert {key[2] for key in fake.objects} == {POLICY, REWARD_MODEL, SOLVER}
    assert f"{SOLVER}: answers 'The answer is 7.'" in said
    assert said[-1].startswith("champion 1 is served by")
    writes = [path for method, path in fake.requests if method in ("POST", "PUT") and "proxy" not in path]
    # Deploying again changes nothing.
    deploying(1, settings(mode))
    again = [path for method, path in fake.requests if method in ("POST", "PUT") and "proxy" not in path]
    assert again == writes


@both_modes
def test_the_next_champion_takes_over_by_a_canary(
    fake: FakeCluster, kserve: KServe, deploying: Deploy, mode: Mode
) -> None:
    deploying(1, settings(mode))
    kserve.traffic.clear()
    deploying(2, settings(mode, canary_percent=20))
    shares = [share for kind, share in kserve.traffic if kind == "mathloop-vllm"]
    assert shares == [{"c1": 100}, {"c1": 80, "c2": 20}, {"c2": 100}, {"c2": 100}]
    for name in (POLICY, REWARD_MODEL, SOLVER):
        found = served(fake, name)
        assert found["metadata"]["annotations"]["mathloop.dev/champion"] == "2"
        assert FORMER not in found["metadata"]["annotations"]
        assert "canary" not in found["spec"]
        assert "canaryTrafficPercent" not in found["spec"]["predictor"]
    # In Standard mode the promoted predictor keeps the canary's name: its pods are not started again.
    assert served(fake, POLICY)["spec"]["predictor"].get("name") == ("c2" if mode == "Standard" else None)


def test_the_two_modes_never_use_each_others_canary(
    fake: FakeCluster, kserve: KServe, cluster: Cluster
) -> None:
    seen: dict[str, list[dict[str, Any]]] = {"Standard": [], "Knative": []}
    for mode in ("Standard", "Knative"):
        fake.objects.clear()
        fake.controllers.append(lambda _, body, mode=mode: seen[mode].append(copy.deepcopy(body["spec"])))
        for number in (1, 2):
            deploy(cluster, champion(number), STORE, settings(mode), say=str, poll_seconds=0.05)
        fake.controllers.pop()
    assert any(spec.get("canary") for spec in seen["Standard"])
    assert not any("canaryTrafficPercent" in spec["predictor"] for spec in seen["Standard"])
    dark = next(spec["canary"][0] for spec in seen["Standard"] if spec.get("canary"))
    assert (dark["trafficPercent"], dark["predictor"]["minReplicas"]) == (0, 1)
    assert "maxReplicas" not in dark["predictor"]  # KServe refuses it on a canary
    assert dark["predictor"]["model"]["name"] == "kserve-container"
    assert not any("name" in spec["predictor"]["model"] for spec in (*seen["Standard"], *seen["Knative"]))
    assert not any(spec.get("canary") for spec in seen["Knative"])
    assert any(spec["predictor"].get("canaryTrafficPercent") == 0 for spec in seen["Knative"])


@pytest.mark.slow
@both_modes
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("bad", "is not ready after 1 s"),
        ("broken", r"cannot start \(ModelLoadFailed: out of memory\)"),
        ("mute", "gives no answer"),
    ],
)
def test_a_failed_canary_is_rolled_back_and_gets_no_traffic(
    fake: FakeCluster, kserve: KServe, deploying: Deploy, mode: Mode, how: str, said: str
) -> None:
    deploying(1, settings(mode))
    before = {name: served(fake, name)["spec"] for name in (POLICY, REWARD_MODEL, SOLVER)}
    kserve.traffic.clear()
    (kserve.mute if how == "mute" else kserve.bad).add("c2")
    if how == "broken":
        told = {"reason": "ModelLoadFailed", "message": "out of memory"}
        kserve.failure = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": told}
    with pytest.raises(DeploymentFailed, match=said) as caught:
        deploying(2, settings(mode, **IMPATIENT))
    assert "\n" not in str(caught.value)
    assert "rolled back" in str(caught.value)
    assert all(share.get("c2", 0) == 0 for _, share in kserve.traffic)
    for name, spec in before.items():
        found = served(fake, name)
        assert found["spec"] == spec
        assert FORMER not in found["metadata"]["annotations"]
        assert found["metadata"]["annotations"]["mathloop.dev/champion"] == "1"
    # And the one after it can be deployed.
    kserve.failure = {}
    deploying(3, settings(mode))
    assert served(fake, POLICY)["metadata"]["annotations"]["mathloop.dev/champion"] == "3"


@pytest.mark.slow
@both_modes
def test_a_champion_that_fails_with_its_share_of_traffic_gives_it_back(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, mode: Mode
) -> None:
    deploy(cluster, champion(1), STORE, settings(mode), say=str, poll_seconds=0.05)
    before = served(fake, POLICY)["spec"]

    def watch(text: str) -> None:
        if "10 % of the traffic" in text:
            kserve.mute.add("c2")

    with pytest.raises(DeploymentFailed, match="gives no answer"):
        deploy(cluster, champion(2), STORE, settings(mode, **IMPATIENT), say=watch, poll_seconds=0.05)
    assert max(share.get("c2", 0) for _, share in kserve.traffic) == 10
    assert served(fake, POLICY)["spec"] == before


@both_modes
@pytest.mark.parametrize("step", ["begin", "shift", "promote"])
def test_a_deployment_that_was_killed_is_gone_on_with(
    fake: FakeCluster,
    kserve: KServe,
    deploying: Deploy,
    mode: Mode,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deploying(1, settings(mode))
    done = getattr(rollout, step)

    def killed(*arguments: Any) -> None:
        done(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rollout, step, killed)
        with pytest.raises(KeyboardInterrupt):
            deploying(2, settings(mode))
    deploying(2, settings(mode))
    for name in (POLICY, REWARD_MODEL, SOLVER):
        found = served(fake, name)
        assert found["metadata"]["annotations"]["mathloop.dev/champion"] == "2"
        assert FORMER not in found["metadata"]["annotations"]
        assert "canary" not in found["spec"]


@pytest.mark.slow
@both_modes
def test_a_champion_without_a_reward_model_ends_the_former_ones(
    fake: FakeCluster, kserve: KServe, deploying: Deploy, mode: Mode
) -> None:
    deploying(1, settings(mode))
    # A champion that fails takes nothing away.
    kserve.bad.add("c2")
    with pytest.raises(DeploymentFailed):
        deploying(2, settings(mode, **IMPATIENT), reward_model=False)
    assert {key[2] for key in fake.objects} == {POLICY, REWARD_MODEL, SOLVER}
    said = deploying(3, settings(mode), reward_model=False)
    assert {key[2] for key in fake.objects} == {POLICY, SOLVER}
    assert f"{REWARD_MODEL}: deleted; champion 3 does not use it" in said
    # Not before the solver has moved.
    changes = [(method, path) for method, path in fake.requests if method in ("PUT", "PATCH", "DELETE")]
    assert changes[-1][0] == "DELETE"
    assert changes[-1][1].endswith(f"/{REWARD_MODEL}")
    assert not any(
        "--reward-model" in arg for arg in served(fake, SOLVER)["spec"]["predictor"]["model"]["args"]
    )
    # It comes back with the next champion that has one.
    deploying(4, settings(mode))
    assert {key[2] for key in fake.objects} == {POLICY, REWARD_MODEL, SOLVER}
    assert served(fake, REWARD_MODEL)["metadata"]["annotations"]["mathloop.dev/champion"] == "4"


def test_a_solver_that_holds_its_models_ends_vllm_and_leaves_others_alone(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    deploying(1, settings())
    for name in (REWARD_MODEL, SOLVER):  # whose is it without the label?
        fake.objects[("inferenceservices", "mathloop", name)]["metadata"]["labels"].clear()
    deploying(2, settings(vllm=False, runtimes="cpu"))
    assert {key[2] for key in fake.objects} == {REWARD_MODEL, SOLVER}


def test_writes_that_lose_against_kserve_are_made_again(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    deploying(1, settings())
    fake.conflicts = 3
    deploying(2, settings())
    assert served(fake, POLICY)["metadata"]["annotations"]["mathloop.dev/champion"] == "2"


def test_a_service_of_the_other_mode_is_refused(fake: FakeCluster, kserve: KServe, deploying: Deploy) -> None:
    deploying(1, settings("Knative"))
    with pytest.raises(ClusterRefused, match=r"is in Knative mode: set deployment.mode=Knative"):
        deploying(2, settings("Standard"))


def test_what_the_cluster_lacks_is_one_line(fake: FakeCluster, deploying: Deploy) -> None:
    fake.crds.pop("inferenceservices.serving.kserve.io")
    with pytest.raises(ClusterRefused, match=r"no InferenceService .*: install KServe") as caught:
        deploying(1, settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("promoted", [True, False])
def test_the_stage_deploys_only_what_a_round_promoted(
    fake: FakeCluster,
    kserve: KServe,
    tmp_path: Path,
    s3: Any,
    promoted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import uuid

    from mathloop.registry import Registry
    from mathloop.storage import open_store

    url = f"s3://mathloop/test-{uuid.uuid4().hex}"
    store = open_store(url)
    (tmp_path / "model").write_text("weights")
    store.publish(tmp_path / "model", "rounds/r1/policy")
    Registry(store).promote(
        "rounds/r1/policy", None, round_id="r1", expected=None, base="rounds/r1/policy", metrics={}
    )
    (tmp_path / "published").write_text(json.dumps({"promoted": promoted, "number": 0, "reason": ""}))
    monkeypatch.setattr(deployment, "POLL_SECONDS", 0.05)
    report = deployment.run(store_url=url, published=tmp_path / "published", config=settings())
    assert report.kept == promoted
    assert (fake.find("inferenceservices", POLICY) is not None) == promoted
    if promoted:
        found = served(fake, POLICY)["spec"]["predictor"]["model"]
        assert found["storageUri"] == f"{url}/rounds/r1/policy"
