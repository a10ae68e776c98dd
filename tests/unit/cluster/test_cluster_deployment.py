"""Deployments to KServe: a release per champion, a Service that is switched, and what a kill leaves."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mathloop.cluster import deployment
from mathloop.cluster.deployment import DeploymentFailed, deploy
from mathloop.cluster.inference_services import (
    POLICY,
    REWARD_MODEL,
    SOLVER,
    State,
    services_of,
    state_of,
    to_object,
)
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused
from mathloop.registry import Champion, ServingDefaults
from mathloop.serving.config import SolverConfig
from mathloop.settings.pools import DeploymentConfig, Toleration
from tests import crd_schemas
from tests.fake_cluster import FakeCluster
from tests.fake_kserve import RECORDED, KServe
from tests.paths import ROOT, SHARED_DATA

STORE = "s3://mathloop/store"


def champion(number: int, reward_model: bool = True, models_of: int | None = None) -> Champion:
    models = number if models_of is None else models_of
    return Champion(
        number=number,
        policy=f"rounds/r{models}/policy",
        reward_model=f"rounds/r{models}/reward_model" if reward_model else None,
        base="base/b/policy",
        round_id=f"r{number}",
        parent=number - 1 if number else None,
        metrics={"greedy": 0.5},
        created="2026-11-25T00:00:00+00:00",
    )


def settings(**more: Any) -> DeploymentConfig:
    return DeploymentConfig.model_validate({"ready_seconds": 100, "smoke_seconds": 100, **more})


IMPATIENT = {"ready_seconds": 1, "smoke_seconds": 1}
"""For champions that never become ready or never answer."""
GATEWAY = {"gateway": {"name": "public", "namespace": "gateways", "hostname": "math.example.com"}}


@pytest.fixture
def kserve(fake: FakeCluster) -> Iterator[KServe]:
    played = KServe(fake)
    yield played
    assert played.restarted == []  # an InferenceService that is changed gets new pods
    assert played.together <= 2


Deploy = Callable[..., list[str]]


@pytest.fixture
def deploying(cluster: Cluster) -> Deploy:
    def go(number: int, config: DeploymentConfig | None = None, **more: Any) -> list[str]:
        said: list[str] = []
        deploy(
            cluster, champion(number, **more), STORE, config or settings(), say=said.append, poll_seconds=0.01
        )
        return said

    return go


def names(fake: FakeCluster) -> set[str]:
    """The InferenceServices that exist."""
    return {
        key[2]
        for key, one in fake.objects.items()
        if key[0] == "inferenceservices" and "deletionTimestamp" not in one["metadata"]
    }


def release(*suffixes: str) -> set[str]:
    return {f"{role}-{suffix}" for suffix in suffixes for role in (POLICY, REWARD_MODEL, SOLVER)}


def stable(fake: FakeCluster) -> dict[str, Any]:
    found = fake.find("services", "mathloop")
    assert found is not None
    return found


def served(fake: FakeCluster) -> tuple[str, str]:
    """Number of the champion that the Service names, and the InferenceService that it selects."""
    found = stable(fake)
    selected = found["spec"]["selector"]["serving.kserve.io/inferenceservice"]
    return found["metadata"]["annotations"]["mathloop.dev/champion"], selected


def writes(fake: FakeCluster) -> list[tuple[str, str]]:
    return [(method, path) for method, path in fake.requests if method != "GET" and "proxy" not in path]


VARIANTS: list[dict[str, Any]] = [
    {"mode": "Standard"},
    {"mode": "Knative"},
    {"weights": "stream", "node_selector": {"mathloop.dev/pool": "sampler"}},
    {"vllm": False, "runtimes": "cpu"},
    {"tolerations": [{"key": "nvidia.com/gpu"}], "replicas": 3},
]


def recorded_state(name: str) -> State:
    return state_of(RECORDED[name]["service"], [RECORDED[name]["pod"]])


def test_states_are_read_as_kserve_writes_them() -> None:
    assert recorded_state("ready") == State(True, "")
    loading = recorded_state("loading")
    assert (loading.ready, loading.failed) == (False, "")
    assert loading.pending == "kserve-container is running, not ready"
    assert "minimum availability" in recorded_state("initializing").pending
    restarted = recorded_state("restarted")  # once: the store may have been away
    assert restarted.pending.startswith("kserve-container: CrashLoopBackOff: back-off 10s")
    assert restarted.failed == ""
    assert recorded_state("crashing").failed == "kserve-container ended 3 times: Error, exit code 2"
    # KServe has said nothing yet.
    assert state_of({"metadata": {"generation": 1}}, []) == State(False, "its pods start")
    disabled = {"transitionStatus": "InvalidSpec", "lastFailureInfo": {"reason": "RuntimeDisabled"}}
    assert state_of({"status": {"modelStatus": disabled}}, []).failed == "RuntimeDisabled"


def test_an_observed_generation_is_the_deployments() -> None:
    """As recorded elsewhere: ready, at generation 3 with an observedGeneration of 2."""
    path = SHARED_DATA / "cluster" / "inferenceservice_ready.json"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the checkout")
    found = json.loads(path.read_text())
    assert found["status"]["observedGeneration"] < found["metadata"]["generation"]
    assert state_of(found, []).ready


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("reward_model", [True, False])
def test_every_object_passes_the_crds_schema(variant: dict[str, Any], reward_model: bool) -> None:
    config = DeploymentConfig.model_validate(variant)
    for service in services_of(champion(3, reward_model), STORE, config, "c3"):
        body = to_object(service)
        assert crd_schemas.problems(body) == []
        assert body["spec"]["predictor"]["serviceAccountName"] == "mathloop-serving"
        labels = body["metadata"]["labels"]
        assert (labels["mathloop.dev/champion"], labels["mathloop.dev/release"]) == ("3", "c3")
        assert labels["app.kubernetes.io/name"] == service.role
        assert body["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == config.mode


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
    for service in services_of(champion(3), STORE, DeploymentConfig.model_validate(variant), "c3"):
        body = to_object(service)
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
    by_role = {one.role: one.predictor for one in services_of(champion(3), STORE, settings(), "c3")}
    assert by_role[POLICY]["model"]["storageUri"] == "s3://mathloop/store/rounds/r3/policy"
    assert by_role[REWARD_MODEL]["model"]["storageUri"] == "s3://mathloop/store/rounds/r3/reward_model"
    assert by_role[POLICY]["model"]["runtime"] == "mathloop-vllm"
    assert "http://mathloop-policy-c3-predictor.mathloop.svc" in by_role[SOLVER]["model"]["args"][2]
    config = settings(weights="stream", tolerations=[{"key": "nvidia.com/gpu"}])
    policy = services_of(champion(3), STORE, config, "c3")[0].predictor
    assert "storageUri" not in policy["model"]
    assert policy["model"]["args"][0] == "--model=s3://mathloop/store/rounds/r3/policy"
    assert policy["tolerations"] == [Toleration(key="nvidia.com/gpu").to_kubernetes()]
    (solver,) = services_of(champion(3), STORE, settings(vllm=False, runtimes="cpu"), "c3")
    assert solver.predictor["model"]["runtime"] == "mathloop-solver-cpu"
    assert [one["uri"].rpartition("/")[2] for one in solver.predictor["storageUris"]] == [
        "policy",
        "reward_model",
    ]
    with pytest.raises(ClusterRefused, match="s3:// store"):
        services_of(champion(3), "/var/store", settings(), "c3")


def test_a_solver_is_started_with_what_the_evaluation_of_its_champion_found_best() -> None:
    evaluated = ServingDefaults("weighted", 16, 0.6, 0.7, 0.5, 50)
    solver = services_of(replace(champion(3), serving=evaluated), STORE, settings(), "c3")[-1].predictor
    assert solver["model"]["args"][-3:] == ["--strategy=weighted", "--temperature=0.6", "--samples=16"]
    greedy = replace(evaluated, strategy="greedy", samples=1)
    local = settings(vllm=False, runtimes="cpu")
    (one,) = services_of(replace(champion(3), serving=greedy), STORE, local, "c3")
    assert one.predictor["model"]["args"][-2:] == ["--strategy=greedy", "--temperature=0.6"]
    bare = services_of(champion(3), STORE, settings(), "c3")[-1].predictor
    assert not any("strategy" in argument for argument in bare["model"]["args"])


def test_routers_and_pods_give_a_question_its_whole_deadline() -> None:
    by_role = {one.role: one.predictor for one in services_of(champion(3), STORE, settings(), "c3")}
    solver = by_role[SOLVER]
    (deadline,) = [int(one[11:]) for one in solver["model"]["args"] if one.startswith("--deadline=")]
    pause = solver["model"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert all(one["timeout"] > deadline for one in by_role.values())
    assert all(one["terminationGracePeriodSeconds"] > deadline + pause for one in by_role.values())
    assert deadline == SolverConfig().deadline
    knative = services_of(champion(3), STORE, settings(mode="Knative"), "c3")
    assert not any("lifecycle" in one.predictor["model"] for one in knative), "Knative refuses it"
    assert not any("terminationGracePeriodSeconds" in one.predictor for one in knative)


@pytest.mark.parametrize(("mode", "port"), [("Standard", 8080), ("Knative", 8012)])
def test_the_first_champion_is_created_waited_for_and_asked(
    fake: FakeCluster, kserve: KServe, deploying: Deploy, mode: str, port: int
) -> None:
    said = deploying(1, settings(mode=mode))
    assert names(fake) == release("c1")
    assert f"{SOLVER}-c1: answers 'The answer is 7 (mathloop-solver-c1).'" in said
    assert said[-1] == "champion 1 is served at http://mathloop.mathloop.svc.cluster.local"
    assert served(fake) == ("1", f"{SOLVER}-c1")
    assert stable(fake)["spec"]["ports"] == [
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": port}
    ]
    before, version = names(fake), stable(fake)["spec"]
    deploying(1, settings(mode=mode))
    assert (names(fake), stable(fake)["spec"]) == (before, version)
    assert kserve.outages == []


def test_each_champion_takes_over_without_a_gap(fake: FakeCluster, kserve: KServe, deploying: Deploy) -> None:
    """The former one keeps running; the one before it goes before the new one needs its GPUs."""
    deploying(1)
    said = deploying(2)
    assert names(fake) == release("c1", "c2")
    assert served(fake) == ("2", f"{SOLVER}-c2")
    assert "champion 1 (mathloop-solver-c1) keeps running until the next deployment, for the way back" in said
    solver = fake.find("inferenceservices", f"{SOLVER}-c2")
    assert solver is not None
    assert "http://mathloop-policy-c2-predictor.mathloop" in str(solver["spec"]["predictor"]["model"]["args"])
    deploying(3)
    assert names(fake) == release("c2", "c3")
    assert kserve.selected == [f"{SOLVER}-c1", f"{SOLVER}-c2", f"{SOLVER}-c3"]
    assert kserve.outages == []
    deleted = [path.rpartition("/")[2] for method, path in writes(fake) if method == "DELETE"]
    assert deleted[0] == f"{SOLVER}-c1"  # it finishes its requests by its policy


def test_a_former_champion_that_is_not_to_be_kept_goes_after_the_switch(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    deploying(1)
    deploying(2, settings(keep_former=False))
    assert names(fake) == release("c2")
    assert kserve.outages == []
    first = next(path for method, path in writes(fake) if method == "DELETE")
    switched = [path for method, path in writes(fake) if path.endswith("/services/mathloop")]
    assert writes(fake).index(("DELETE", first)) > writes(fake).index(("PUT", switched[-1]))


def test_a_rollback_is_a_switch_while_the_former_champion_runs(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    deploying(1)
    deploying(2)
    before = writes(fake)
    deploying(3, models_of=1)  # what `rollback` promotes
    assert served(fake) == ("3", f"{SOLVER}-c1")
    assert writes(fake)[len(before) :] == [("PUT", "/api/v1/namespaces/mathloop/services/mathloop")]
    assert names(fake) == release("c1", "c2")
    deploying(4, models_of=2)
    assert served(fake) == ("4", f"{SOLVER}-c2")
    deploying(5)
    assert names(fake) == release("c2", "c5")
    deploying(6, models_of=1)  # it is gone: made again
    assert served(fake) == ("6", f"{SOLVER}-c6")
    assert kserve.outages == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("bad", r"cannot start \(kserve-container ended 3 times: Error, exit code 2\)"),
        ("stuck", r"is not ready after 1 s \(deployment.ready_seconds\): Unschedulable: .* nvidia.com/gpu"),
        ("mute", r"mathloop-policy-c2 at http://\S+ gives no answer \(HTTP 503\)"),
    ],
)
def test_a_champion_that_fails_leaves_the_served_one_alone(
    fake: FakeCluster, kserve: KServe, deploying: Deploy, how: str, said: str
) -> None:
    deploying(1)
    before = {name: fake.find("inferenceservices", name) for name in release("c1")}
    service = stable(fake)
    getattr(kserve, how).add("c2")
    with pytest.raises(DeploymentFailed, match=said) as caught:
        deploying(2, settings(**IMPATIENT))
    assert str(caught.value).startswith("champion 2 is not served: ")
    assert str(caught.value).endswith("; champion 1 (mathloop-solver-c1) is served")
    assert "\n" not in str(caught.value)
    assert names(fake) == release("c1")
    assert {name: fake.find("inferenceservices", name) for name in release("c1")} == before
    assert stable(fake) == service
    deploying(3)
    assert served(fake) == ("3", f"{SOLVER}-c3")
    assert names(fake) == release("c1", "c3")
    assert kserve.outages == []


def test_a_champion_that_fails_tells_the_end_of_its_log(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pods are deleted, so that they free their GPUs."""
    kserve.bad.add("c1")
    monkeypatch.setattr(Cluster, "last_lines", lambda *_: ["loading", "out of memory"])
    said: list[str] = []
    with pytest.raises(DeploymentFailed, match=r"exit code 2\): out of memory; no champion is served"):
        deploy(cluster, champion(1), STORE, settings(), say=said.append, poll_seconds=0.01)
    assert "kserve-container| out of memory" in said
    assert names(fake) == set()
    assert fake.find("services") is None


def test_no_answer_through_the_service_switches_back(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, deploying: Deploy
) -> None:
    deploying(1)

    def watch(text: str) -> None:
        kserve.deaf = kserve.deaf or "selects champion 2" in text

    with pytest.raises(DeploymentFailed, match=r"Service mathloop at \S+ gives no answer .*champion 1 "):
        deploy(cluster, champion(2), STORE, settings(**IMPATIENT), say=watch, poll_seconds=0.01)
    assert served(fake) == ("1", f"{SOLVER}-c1")
    assert names(fake) == release("c1")


class Killed(BaseException):
    """SIGKILL: nothing is cleaned up after it."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", [{}, {"keep_former": False}, GATEWAY], ids=["keep", "drop", "gateway"])
def test_a_deployment_killed_at_any_moment_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: dict[str, Any]
) -> None:
    """After c0 and c1, the deployment of c2 is killed after its first, second, … write, and run again.

    Between two writes it only reads, so that a kill there leaves the same.
    """
    config = settings(canary_seconds=0, **variant)
    kills = 0
    while True:
        fake = FakeCluster()
        fake.lingering = 1
        kserve = KServe(fake)
        monkeypatch.setenv("KUBECONFIG", str(fake.write_kubeconfig(tmp_path / "kubeconfig")))
        cluster = Cluster.connect()
        for number in (0, 1):
            deploy(cluster, champion(number), STORE, config, say=str, poll_seconds=0.001)
        request, left = cluster.api.request, kills

        def killing(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            answer = request(*arguments, **named)  # noqa: B023
            left -= arguments[0] != "GET" and "proxy" not in arguments[1]
            if left < 0:
                raise Killed
            return answer

        cluster.api.request = killing
        try:
            deploy(cluster, champion(2), STORE, config, say=str, poll_seconds=0.001)
            finished = True
        except Killed:
            finished = False
            assert served(fake)[1] in (f"{SOLVER}-c1", f"{SOLVER}-c2")
        cluster.api.request = request
        deploy(cluster, champion(2), STORE, config, say=str, poll_seconds=0.001)
        assert served(fake) == ("2", f"{SOLVER}-c2")
        assert names(fake) == (release("c2") if "keep_former" in variant else release("c1", "c2"))
        assert kserve.outages == []
        assert kserve.restarted == []
        assert kserve.together <= 2
        routes = fake.find("httproutes", "mathloop")
        if routes:
            assert [one["name"] for one in routes["spec"]["rules"][0]["backendRefs"]] == ["mathloop"]
        fake.close()
        if finished:
            break
        kills += 1
    assert kills >= 7  # three deleted, three created, one switched


@pytest.mark.slow
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_write_whose_answer_is_lost_is_no_other_deployments(
    kserve: KServe, fake: FakeCluster, cluster: Cluster, deploying: Deploy, monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:  # fmt: skip
    """In a run's pod each request is sent again where the connection broke."""
    deploying(1)
    monkeypatch.setenv("MATHLOOP_PATIENCE", "60")
    request, lost = cluster.api.request, []

    def losing(*arguments: Any, **named: Any) -> Any:
        answer = request(*arguments, **named)
        if arguments[0] == method and "proxy" not in arguments[1] and not lost:
            lost.append(arguments[1])
            raise ConnectionResetError
        return answer

    cluster.api.request = losing
    deploying(2)
    assert lost
    assert served(fake) == ("2", f"{SOLVER}-c2")
    assert kserve.outages == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_canceled_deployment_leaves_nothing(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, deploying: Deploy, number: signal.Signals
) -> None:
    deploying(1)
    kserve.stuck.add("c2")

    def cancel(text: str) -> None:
        if "waiting" in text:
            os.kill(os.getpid(), number)

    with pytest.raises((SystemExit, KeyboardInterrupt)):
        deploy(cluster, champion(2), STORE, settings(), say=cancel, poll_seconds=0.01)
    assert names(fake) == release("c1")
    assert served(fake) == ("1", f"{SOLVER}-c1")


def test_what_a_killed_deployment_left_goes_before_the_next_begins(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, deploying: Deploy
) -> None:
    deploying(1)
    kserve.bad.add("c2")

    def killed(text: str) -> None:
        if "created" in text and SOLVER in text:
            raise Killed

    with pytest.raises(Killed):
        deploy(cluster, champion(2), STORE, settings(), say=killed, poll_seconds=0.01)
    assert names(fake) == release("c1", "c2")
    deploying(3)
    assert names(fake) == release("c1", "c3")
    created = next(i for i, (method, path) in enumerate(writes(fake)) if method == "DELETE")
    assert writes(fake)[created][1].endswith(f"{SOLVER}-c2")
    assert kserve.outages == []


def test_services_of_the_same_champion_that_cannot_start_are_made_anew(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, deploying: Deploy
) -> None:
    """They were restarted too often while the store was away, say."""
    kserve.bad.add("c1")

    def killed(text: str) -> None:
        if "created" in text:
            raise Killed

    with pytest.raises(Killed):
        deploy(cluster, champion(1), STORE, settings(), say=killed, poll_seconds=0.01)
    kserve.bad.clear()
    said = deploying(1)
    assert f"{POLICY}-c1: deleted" in said
    assert served(fake) == ("1", f"{SOLVER}-c1")


def test_other_settings_for_the_served_champion_get_services_of_their_own(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    deploying(1)
    deploying(1, settings(replicas=2))
    assert served(fake) == ("1", f"{SOLVER}-c1-2")
    assert names(fake) == release("c1", "c1-2")
    deploying(1, settings(replicas=3))
    assert served(fake) == ("1", f"{SOLVER}-c1")
    assert names(fake) == release("c1", "c1-2")
    solver = fake.find("inferenceservices", f"{SOLVER}-c1")
    assert solver is not None
    assert solver["spec"]["predictor"]["minReplicas"] == 3
    assert kserve.outages == []


def test_a_champion_without_a_reward_model_has_no_service_for_one(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    deploying(1)
    deploying(2, reward_model=False)
    assert names(fake) == release("c1") | {f"{POLICY}-c2", f"{SOLVER}-c2"}
    deploying(3, settings(vllm=False, runtimes="cpu"))
    assert names(fake) == {f"{POLICY}-c2", f"{SOLVER}-c2", f"{SOLVER}-c3"}
    assert kserve.outages == []


def test_a_gateway_gives_the_new_champion_a_share_first(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    shares: list[list[tuple[str, int]]] = []

    def watch(plural: str, body: dict[str, Any]) -> None:
        if plural == "httproutes":
            (rule,) = body["spec"]["rules"]
            shares.append([(one["name"], one["weight"]) for one in rule["backendRefs"]])

    fake.controllers.append(watch)
    config = settings(canary_percent=20, canary_seconds=0, **GATEWAY)
    deploying(1, config)
    assert shares == [[("mathloop", 100)]]
    route = fake.find("httproutes", "mathloop")
    assert route is not None
    assert route["spec"] == {
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["math.example.com"],
        "rules": [
            {
                "backendRefs": [{"name": "mathloop", "port": 80, "weight": 100}],
                "timeouts": {"request": "330s"},
            }
        ],
    }
    deploying(2, config)
    canary = [("mathloop", 80), (f"{SOLVER}-c2-predictor", 20)]
    assert shares[1:] == [[("mathloop", 100)], canary, [("mathloop", 100)]]
    switched = [path for method, path in writes(fake) if method == "PUT"]
    assert [path.split("/")[-2] for path in switched[-3:]] == ["httproutes", "services", "httproutes"]


def test_a_canary_that_fails_with_its_share_of_the_traffic_gives_it_back(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, deploying: Deploy
) -> None:
    deploying(1, settings(**GATEWAY))

    def watch(text: str) -> None:
        if "of the gateway's traffic" in text:
            kserve.mute.add("c2")

    config = settings(canary_seconds=0, **GATEWAY, **IMPATIENT)
    with pytest.raises(DeploymentFailed, match="gives no answer"):
        deploy(cluster, champion(2), STORE, config, say=watch, poll_seconds=0.01)
    route = fake.find("httproutes", "mathloop")
    assert route is not None
    assert [one["name"] for one in route["spec"]["rules"][0]["backendRefs"]] == ["mathloop"]
    assert served(fake) == ("1", f"{SOLVER}-c1")
    assert names(fake) == release("c1")


def test_a_cluster_without_the_gateway_api_is_one_line(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    fake.crds.pop("httproutes.gateway.networking.k8s.io")
    with pytest.raises(ClusterRefused, match=r"no HTTPRoute .*: install the Gateway API, or leave"):
        deploying(1, settings(**GATEWAY))


def test_users_may_change_the_service(fake: FakeCluster, kserve: KServe, deploying: Deploy) -> None:
    deploying(1)
    service = fake.objects[("services", "mathloop", "mathloop")]
    service["spec"]["type"] = "LoadBalancer"
    service["spec"]["ports"][0]["nodePort"] = 30080
    service["metadata"]["annotations"]["example.com/owner"] = "ann"
    fake.conflicts = 2
    deploying(2)
    assert served(fake) == ("2", f"{SOLVER}-c2")
    assert stable(fake)["spec"]["type"] == "LoadBalancer"
    assert stable(fake)["spec"]["ports"][0]["nodePort"] == 30080
    assert stable(fake)["metadata"]["annotations"]["example.com/owner"] == "ann"


def test_a_service_of_somebody_else_is_left_alone(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    theirs = {"metadata": {"name": "mathloop", "namespace": "mathloop"}, "spec": {"selector": {"app": "x"}}}
    fake.put("services", copy.deepcopy(theirs))
    with pytest.raises(ClusterRefused, match="Service mathloop/mathloop is not mathloop's"):
        deploying(1)
    assert stable(fake)["spec"] == theirs["spec"]
    assert names(fake) == set()


def test_a_deployment_that_was_overtaken_changes_nothing(
    fake: FakeCluster, kserve: KServe, cluster: Cluster, deploying: Deploy
) -> None:
    deploying(1)
    deploying(2)

    def overtake(text: str) -> None:
        if text.startswith(f"{SOLVER}-c3: answers"):
            deploying(4, models_of=2)
            deploying(5, models_of=1)

    with pytest.raises(DeploymentFailed, match=r"champion 5 .* is served"):
        deploy(cluster, champion(3), STORE, settings(), say=overtake, poll_seconds=0.01)
    assert served(fake)[0] == "5"
    assert kserve.outages == []


def test_services_that_mathloop_did_not_make_are_left_alone(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    fake.put("inferenceservices", {"metadata": {"name": "theirs", "namespace": "mathloop"}, "spec": {}})
    for number in (1, 2, 3):
        deploying(number)
    assert names(fake) == {"theirs", *release("c2", "c3")}


def test_what_the_cluster_lacks_is_one_line(fake: FakeCluster, deploying: Deploy) -> None:
    fake.crds.pop("inferenceservices.serving.kserve.io")
    with pytest.raises(ClusterRefused, match=r"no InferenceService .*: install KServe") as caught:
        deploying(1)
    assert "\n" not in str(caught.value)


def test_permissions_that_are_missing_are_one_line(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    fake.denied.add(("create", "services"))
    with pytest.raises(ClusterRefused, match="no permission to create services in namespace mathloop"):
        deploying(1)
    assert names(fake) == set()


def test_the_pipelines_role_allows_what_a_deployment_does(
    fake: FakeCluster, kserve: KServe, deploying: Deploy
) -> None:
    for number in (1, 2, 3):
        deploying(number, settings(canary_seconds=0, **GATEWAY))
    kserve.bad.add("c4")
    with pytest.raises(DeploymentFailed):
        deploying(4)
    (role,) = [
        body
        for body in yaml.safe_load_all((ROOT / "manifests/base/pipeline-access.yaml").read_text())
        if body["kind"] == "Role"
    ]
    allowed = {
        (verb, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        if "resourceNames" not in rule
    }
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "list"}
    for method, path in fake.requests:
        if "proxy" in path:  # only from outside of the cluster
            continue
        plural, _, name = path.partition("/namespaces/mathloop/")[2].partition("/")
        if name.endswith("/log"):
            assert ("get", "pods/log") in allowed
        else:
            verb = "get" if name and method == "GET" else verbs[method]
            assert (verb, plural) in allowed, (method, path)
    assert ("delete", "inferenceservices") in allowed
    assert ("patch", "inferenceservices") not in allowed  # they are never changed


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
    monkeypatch.setitem(deployment.deploy.__kwdefaults__, "poll_seconds", 0.05)
    report = deployment.run(store_url=url, published=tmp_path / "published", config=settings())
    said = "champion 0 (round r1) is served at http://mathloop.mathloop.svc.cluster.local"
    refused = "nothing to serve: the challenger was refused"
    assert report.sentence().startswith(f"deployment: {said if promoted else refused} (")
    found = fake.find("inferenceservices", f"{POLICY}-c0")
    assert (found is not None) == promoted
    if found is not None:
        assert found["spec"]["predictor"]["model"]["storageUri"] == f"{url}/rounds/r1/policy"
