"""The NetworkPolicies as a network plugin reads them: who reaches whom, and that nobody is forgotten."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from mathloop.cluster.inference_services import services_of, to_object
from mathloop.registry import Champion
from mathloop.settings.pools import DeploymentConfig
from tests.manifests import manifest_rules
from tests.manifests.kustomized import Object
from tests.manifests.manifest_builds import built, each_build


@dataclass(frozen=True)
class Peer:
    """A pod, or an address outside the cluster where the namespace is empty."""

    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str] = field(default_factory=dict)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector of Kubernetes; the empty one takes everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for term in selector.get("matchExpressions", ()):
        key, operator = term["key"], term["operator"]
        assert operator in ("In", "Exists")
        if operator == "In" and labels.get(key) not in term["values"]:
            return False
        if operator == "Exists" and key not in labels:
            return False
    return True


def _is_peer(peer: Mapping[str, Any], other: Peer, namespace: str) -> bool:
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
        if not matches(peer["namespaceSelector"], labels):
            return False
    elif other.namespace != namespace:
        return False
    return matches(peer.get("podSelector", {}), other.labels)


def _lets(policies: list[Object], direction: str, pod: Peer, other: Peer, port: int, protocol: str) -> bool:
    """Whether the pod's own side agrees: no policy selects it, or one that does has a rule for this."""
    key, side = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    own = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    if not own:
        return True
    for rule in (rule for spec in own for rule in spec.get(key, ())):
        ports = rule.get("ports")
        fits = ports is None or any((one["port"], one["protocol"]) == (port, protocol) for one in ports)
        if fits and (side not in rule or any(_is_peer(peer, other, pod.namespace) for peer in rule[side])):
            return True
    return False


def reaches(built: list[Object], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    policies = [body for body in built if body["kind"] == "NetworkPolicy"]
    return _lets(policies, "Egress", source, target, port, protocol) and _lets(
        policies, "Ingress", target, source, port, protocol
    )


def _template(name: str) -> dict[str, str]:
    return dict(next(pod.labels for pod in manifest_rules.pods(built("gpu")) if name in pod.owner))


STRANGER = Peer("default", {})
SQUATTER = Peer("mathloop", {"app": "unknown"})
RUN = Peer("kubeflow", {"pipelines.kubeflow.org/v2_component": "true"})
DNS = Peer("kube-system", {"k8s-app": "kube-dns"})
INTERNET = Peer("", {})


@functools.cache
def peers() -> dict[str, Peer]:
    """Everybody who plays a part; pods of ours with the labels that they really get."""
    trainer = {**_template("ClusterTrainingRuntime"), "jobset.sigs.k8s.io/jobset-name": "mathloop-sft-1"}
    return {
        "store": Peer("mathloop", _template("StatefulSet/minio")),
        "bucket job": Peer("mathloop", _template("Job/mathloop-bucket")),
        "trainer": Peer("mathloop", trainer),
        **{name.removeprefix("mathloop-"): pod for name, pod in _serving_pods().items()},
        "driver": Peer("mathloop", {"app.kubernetes.io/component": "control"}),
        "run": RUN,
        "kubeflow": Peer("kubeflow", {"app": "mysql"}),
        "gateway": Peer("envoy-gateway-system", {}),
        "prometheus": Peer("monitoring", {}),
        "client": Peer("team-a", {}, {"mathloop.dev/solver-client": "true"}),
        "stranger": STRANGER,
        "squatter": SQUATTER,
        "internet": INTERNET,
    }


def _serving_pods() -> dict[str, Peer]:
    """As KServe labels them: the runtime's labels, over them the InferenceService's, over them its own."""
    champion = Champion(
        number=1, policy="models/p", reward_model="models/r", base="models/b", round_id="r", parent=None,
        metrics={}, created="2026-01-01T00:00:00Z",
    )  # fmt: skip
    found = {}
    for service in services_of(champion, "s3://mathloop/store", DeploymentConfig(), "c1"):
        runtime = _template(f"ServingRuntime/{service.predictor['model']['runtime']}")
        labels = {**runtime, **to_object(service)["metadata"]["labels"]}
        labels.update({"serving.kserve.io/inferenceservice": service.name, "component": "predictor"})
        found[service.role] = Peer("mathloop", labels)
    return found


FLOWS = [
    ("trainer", "store", 9000, True),
    ("policy", "store", 9000, True),
    ("reward-model", "store", 9000, True),
    ("solver", "store", 9000, True),  # KServe's initializer, in its pod
    ("bucket job", "store", 9000, True),
    ("run", "store", 9000, True),
    ("run", "solver", 8080, True),
    ("run", "policy", 8080, True),
    ("solver", "policy", 8080, True),
    ("solver", "reward-model", 8080, True),
    ("gateway", "solver", 8080, True),
    ("client", "solver", 8080, True),
    ("client", "policy", 8080, False),
    ("client", "store", 9000, False),
    ("run", "solver", 8012, True),
    ("trainer", "trainer", 29400, True),
    ("trainer", "trainer", 40123, True),
    ("prometheus", "policy", 8080, True),
    ("prometheus", "store", 9000, True),
    ("driver", "internet", 6443, True),
    ("kubeflow", "store", 9000, False),
    ("stranger", "store", 9000, False),
    ("squatter", "store", 9000, False),
    ("gateway", "store", 9000, False),
    ("stranger", "solver", 8080, False),
    ("run", "trainer", 29400, False),
    ("solver", "trainer", 29400, False),
    ("trainer", "solver", 8080, False),
    ("trainer", "internet", 443, False),
    ("policy", "internet", 443, False),
    ("solver", "internet", 443, False),
    ("solver", "internet", 6443, False),
    ("store", "internet", 443, False),
    ("driver", "internet", 80, False),
]


@pytest.mark.parametrize(("source", "target", "port", "allowed"), FLOWS)
def test_who_reaches_whom(source: str, target: str, port: int, allowed: bool) -> None:
    assert reaches(built("gpu with monitoring"), peers()[source], peers()[target], port) is allowed


def test_prometheus_reaches_pods_only_with_monitoring() -> None:
    for target, port in (("policy", 8080), ("store", 9000)):
        assert not reaches(built("gpu"), peers()["prometheus"], peers()[target], port)


@each_build
def test_every_pod_is_denied_first_and_finds_names(name: str) -> None:
    policies = [body for body in built(name) if body["kind"] == "NetworkPolicy"]
    templates = [pod.labels for pod in manifest_rules.pods(built(name)) if not pod.partial]
    for labels in [*templates, SQUATTER.labels]:
        pod = Peer("mathloop", labels)
        directions = {
            direction
            for policy in policies
            if matches(policy["spec"]["podSelector"], pod.labels)
            for direction in policy["spec"]["policyTypes"]
        }
        assert directions == {"Ingress", "Egress"}
        assert not reaches(built(name), pod, INTERNET, 443)
        assert not reaches(built(name), STRANGER, pod, 22)
        assert reaches(built(name), pod, DNS, 53, "UDP")


def test_a_profiles_runs_take_the_place_of_kubeflows() -> None:
    profile = Peer("kubeflow-user-example-com", RUN.labels)
    assert reaches(built("gpu for a profile"), profile, peers()["store"], 9000)
    assert not reaches(built("gpu for a profile"), RUN, peers()["store"], 9000)
    assert not reaches(built("gpu"), profile, peers()["store"], 9000)
