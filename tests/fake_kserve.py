"""KServe in Standard mode for the fake cluster: it plays what was recorded of version 0.20.

- The status has an `observedGeneration` that is its Deployment's: it never reaches the generation here.
- An InferenceService whose annotations or spec are written gets new pods, which takes users' requests along.
- A deleted one is there until KServe has taken its finalizer away, and so are its pods.
- Pods have the InferenceService's labels, its name and `component: predictor`.
- A container that ends is started again and again; the InferenceService's status does not tell.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.fake_cluster import FakeCluster
from tests.paths import ROOT

NAME = "serving.kserve.io/inferenceservice"
RECORDED: dict[str, Any] = json.loads((ROOT / "tests/recorded/inference_services.json").read_text())
"""State → an InferenceService and its pod in it."""


@dataclass
class KServe:
    """KServe's controller, its pods, and who answers behind which Service.

    `bad` champions (c2) crash, `stuck` ones never become ready, `mute` ones are ready and do not answer.
    """

    fake: FakeCluster
    bad: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    deaf: bool = False
    """No answer through the Service mathloop, whatever it selects."""
    restarted: list[str] = field(default_factory=list)
    """InferenceServices that were changed, so that their pods were restarted."""
    selected: list[str] = field(default_factory=list)
    """InferenceServices that the Service mathloop selected, one after the other."""
    outages: list[str] = field(default_factory=list)
    """Requests after which the Service selected no ready pod that answers."""
    together: int = 0
    """Most solvers at a time."""

    def __post_init__(self) -> None:
        self.fake.controllers.append(self.reconcile)
        self.fake.watchers.append(self.watch)
        self.fake.answers = self.answer

    def reconcile(self, plural: str, body: dict[str, Any]) -> None:
        if plural == "inferenceservices":
            named = body["metadata"]
            if "finalizers" in named:
                self.restarted.append(named["name"])
            named["finalizers"] = ["inferenceservice.finalizers"]
            named["generation"] = 3
            body["status"] = self._status(body)
            self.fake.put("pods", self._pod(body))

    def watch(self, request: str) -> None:
        with self.fake.lock:
            self._watch(request)

    def _watch(self, request: str) -> None:
        solvers = [key for key in self.fake.objects if key[0] == "inferenceservices" and "solver" in key[2]]
        self.together = max(self.together, len(solvers))
        selected = self._selected()
        if selected and selected not in self.selected[-1:]:
            self.selected.append(selected)
        if selected and not self._answers(selected):
            self.outages.append(request)

    def _status(self, body: dict[str, Any]) -> dict[str, Any]:
        ready = champion_of(body["spec"]["predictor"]) not in self.bad | self.stuck
        status = _renamed(RECORDED["ready" if ready else "loading"]["service"], body["metadata"]["name"])[
            "status"
        ]
        status["deploymentMode"] = body["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
        return {**status, "observedGeneration": 2}

    def _pod(self, body: dict[str, Any]) -> dict[str, Any]:
        named, champion = body["metadata"], champion_of(body["spec"]["predictor"])
        state = "crashing" if champion in self.bad else "loading" if champion in self.stuck else "ready"
        pod = _renamed(RECORDED[state]["pod"], named["name"])
        pod["metadata"]["namespace"] = named["namespace"]
        pod["metadata"]["labels"].update(named["labels"])
        pod["metadata"]["ownerReferences"] = [{"uid": named["uid"]}]
        if champion in self.stuck:
            said = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
            scheduled = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": said,
            }
            pod["status"] = {"phase": "Pending", "conditions": [scheduled]}
        return pod

    def _selected(self) -> str:
        service = self.fake.objects.get(("services", "mathloop", "mathloop"))
        if service is None or service["spec"]["selector"].get("component") != "predictor":
            return ""
        return str(service["spec"]["selector"][NAME])

    def _answers(self, name: str) -> bool:
        """Whether a pod of this InferenceService is ready and answers, and those of which it asks do too."""
        found = self.fake.objects.get(("inferenceservices", "mathloop", name))
        pods = [one for key, one in self.fake.objects.items() if key[0] == "pods"]
        ready = any(
            one["metadata"]["labels"].get(NAME) == name
            and any(container["ready"] for container in one["status"].get("containerStatuses", ()))
            for one in pods
        )
        if found is None or not ready or champion_of(found["spec"]["predictor"]) in self.mute:
            return False
        arguments = found["spec"]["predictor"]["model"].get("args", ())
        return all(
            self._answers(one) for one in re.findall(r"-url=http://(\S+?)-predictor\.", " ".join(arguments))
        )

    def answer(self, service: str, path: str) -> tuple[int, Any]:
        name = self._selected() if service == "mathloop" else service.removesuffix("-predictor")
        if not name or (service == "mathloop" and self.deaf):
            return (503 if name else 404), {}
        if not self._answers(name):
            return 503, {"error": {"message": "the models are not loaded yet"}}
        if path == "/v1/chat/completions":
            return 200, {"choices": [{"message": {"content": f"The answer is 7 ({name})."}}]}
        return 200, {"choices": [{"text": " 7"}]}


def _renamed(recorded: dict[str, Any], name: str) -> dict[str, Any]:
    """A copy of what was recorded, of another InferenceService."""
    text = json.dumps(recorded)
    found = re.search(r"mathloop-solver-c\d", text)
    assert found is not None
    return dict(json.loads(text.replace(found[0], name)))


def champion_of(predictor: dict[str, Any]) -> str:
    """c2 for the models of round r2."""
    found = re.search(r"rounds/r(\d)|-policy-c(\d)-", json.dumps(predictor))
    assert found is not None
    return f"c{found[1] or found[2]}"
