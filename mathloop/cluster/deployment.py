"""Deploys a champion next to the former one: a smoke test, a share of the traffic, all of it; or a rollback.

Every step can be repeated: a killed deployment resumes; a finished one is a no-op.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mathloop.cluster import rollout
from mathloop.cluster.inference_services import (
    MANAGED_BY,
    MANAGER,
    POLICY,
    RUNTIMES,
    SOLVER,
    Service,
    address,
    services_of,
    state_of,
)
from mathloop.cluster.kinds import INFERENCE_SERVICE
from mathloop.cluster.kubeconfig import SERVICE_ACCOUNT
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Unreachable
from mathloop.errors import BadData, MathloopError
from mathloop.files import open_plain, reading
from mathloop.lines import parse_object
from mathloop.registry import Champion, Registry
from mathloop.settings.pools import DeploymentConfig
from mathloop.stages import StageReport, timed
from mathloop.storage import open_store

POLL_SECONDS = 5.0
MODEL = "mathloop"
QUESTION = "Ann has 3 apples and gets 4 more. How many apples does she have?"

Ask = Callable[[str, str, dict[str, Any], float], dict[str, Any]]
"""(URL, path, JSON body, seconds) → the JSON answer; raises OSError, or ValueError if it is no JSON."""


class DeploymentFailed(MathloopError):
    """The champion is not served; the message says why and which champion is."""


@timed
def run(*, store_url: str, published: Path, config: DeploymentConfig) -> StageReport:
    """Deploys the store's champion if `published` says that a round promoted one.

    Args:
        published: JSON file of the publication stage, with the field `promoted`.

    Raises:
        DeploymentFailed: it did not become ready or did not answer; the former champion is served.
        ClusterRefused: the cluster lacks KServe, permission or an answer.
    """
    report = StageReport("deployment", inputs=1)
    champion = Registry(open_store(store_url)).current()
    if not _promoted(published) or champion is None:
        report.notes.append("No champion was promoted: the deployment stays as it is.")
    else:
        deploy(Cluster.connect(), champion, open_store(store_url).url, config)
        report.kept, report.values["champion"] = 1, champion.number
        report.notes.append(f"Champion {champion.number} (round {champion.round_id}) is served.")
    return report


def _promoted(published: Path) -> bool:
    try:
        with reading(published), open_plain(published) as file:
            return bool(parse_object(file.read())["promoted"])
    except (ValueError, KeyError):
        raise BadData("expected what publish_round writes; run it again", path=published) from None


def deploy(
    cluster: Cluster,
    champion: Champion,
    store_url: str,
    config: DeploymentConfig,
    *,
    say: Callable[[str], None] = print,
    ask: Ask | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Lets all of the champion's InferenceServices serve it, or none of them.

    Raises:
        DeploymentFailed: as `run`.
    """
    step = _Deployment(cluster, config, say, ask or asker(cluster), poll_seconds)
    wanted = services_of(champion, store_url, config)
    new = [service for service in wanted if rollout.create(cluster, service)]
    for service in new:
        say(f"{service.name}: created for champion {champion.number}")
    moving = [one for one in wanted if one not in new and not rollout.is_settled(cluster, one)]
    try:
        step.take_over(moving)
        unmoved = [service for service in wanted if service not in moving]
        step.wait(unmoved, canary=False)
        step.smoke(unmoved, canary=False)
    except (MathloopError, OSError) as error:
        if isinstance(error, ClusterRefused) and not isinstance(error, Unreachable) and not moving:
            raise
        step.roll_back(moving)
        back = f"{_names(moving)} rolled back" if moving else f"{_names(new)} stays for inspection"
        raise DeploymentFailed(f"champion {champion.number} is not served: {error}; {back}") from None
    for service in wanted:
        rollout.settle(cluster, service)
    # Only now has the solver a champion that does not use these services any more.
    for name in retire(cluster, wanted, config.namespace):
        say(f"{name}: deleted; champion {champion.number} does not use it")
    say(f"champion {champion.number} is served by {_names(wanted)}")


def retire(cluster: Cluster, wanted: Sequence[Service], namespace: str) -> list[str]:
    """Deletes mathloop's services that this champion does not use; returns their names."""
    deleted = []
    for name in {*RUNTIMES} - {service.name for service in wanted}:
        found = cluster.get(INFERENCE_SERVICE, name, namespace)
        if found is not None and (found["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER:
            cluster.delete(INFERENCE_SERVICE, name, namespace, found["metadata"]["uid"])
            deleted.append(name)
    return sorted(deleted)


class _Deployment:
    def __init__(
        self, cluster: Cluster, config: DeploymentConfig, say: Callable[[str], None], ask: Ask, poll: float
    ) -> None:
        self.cluster, self.config, self.say, self.ask, self.poll = cluster, config, say, ask, poll

    def take_over(self, moving: Sequence[Service]) -> None:
        """Begin, shift, promote: each step for all services before the next."""
        for service in moving:
            rollout.begin(self.cluster, service)
        self.wait(moving, canary=True)
        self.smoke(moving, canary=True)
        for service in moving:
            rollout.shift(self.cluster, service, self.config.canary_percent)
            self.say(f"{service.name}: {self.config.canary_percent} % of the traffic to the new champion")
        self.wait(moving, canary=True)
        self.smoke(moving, canary=True)
        # The solver first: the former solver uses the former vLLM services, which end with their promotion.
        for service in reversed(moving):
            rollout.promote(self.cluster, service)
            self.say(f"{service.name}: all traffic to the new champion")
            self.wait([service], canary=False)
        self.smoke(moving, canary=False)

    def roll_back(self, moving: Sequence[Service]) -> None:
        """Rolls back: first the traffic, then the objects that would block the next deployment."""
        to_restore = []
        for service in reversed(moving):
            with suppress(ClusterRefused):
                if rollout.pin(self.cluster, service):
                    to_restore.append(service)
                self.say(f"{service.name}: back to the former champion")
        if self.config.mode == "Knative":
            for service in to_restore:
                rollout.restore(self.cluster, service, dark=True)
            with suppress(DeploymentFailed):
                self.wait(to_restore, canary=False)
        for service in to_restore:
            rollout.restore(self.cluster, service, dark=False)

    def wait(self, waited: Sequence[Service], *, canary: bool) -> None:
        """Returns when all are ready."""
        deadline = time.monotonic() + self.config.ready_seconds
        last: dict[str, str] = {}
        for service in waited:
            while True:
                state = state_of(self._read(service), service, canary=canary)
                if state.ready:
                    break
                if state.failed:
                    raise DeploymentFailed(f"{service.name} cannot start ({state.failed})")
                if last.get(service.name) != state.pending:
                    self.say(f"{service.name}: waiting; {state.pending}")
                    last[service.name] = state.pending
                if time.monotonic() > deadline:
                    raise DeploymentFailed(
                        f"{service.name} is not ready after {self.config.ready_seconds} s ({state.pending})"
                    )
                time.sleep(self.poll)
            self.say(f"{service.name}: ready")

    def smoke(self, asked: Sequence[Service], *, canary: bool) -> None:
        """Asks policy and solver a question; any text is a good answer."""
        for service in asked:
            if service.name not in (POLICY, SOLVER):
                continue
            url = address(self._read(service), service, canary=canary)
            answer = self._answer(service, url)
            self.say(f"{service.name}: answers {answer[:60]!r}")

    def _answer(self, service: Service, url: str) -> str:
        # vLLM names its model after the service.
        body: dict[str, Any] = {"model": service.name, "max_tokens": 32, "temperature": 0}
        path = "/v1/completions"
        if service.name == SOLVER:
            body["model"] = MODEL
            path, body["messages"] = "/v1/chat/completions", [{"role": "user", "content": QUESTION}]
        else:
            body["prompt"] = QUESTION
        deadline = time.monotonic() + self.config.smoke_seconds
        while True:
            try:
                choice = self.ask(url, path, body, max(1.0, deadline - time.monotonic()))["choices"][0]
                text = str(choice.get("text") or choice["message"]["content"])
                if text.strip():
                    return text
                mistake = "an empty answer"
            except (OSError, ValueError, LookupError, TypeError) as error:
                mistake = str(error)[:200] or type(error).__name__
            # A route may take some seconds to reach the gateway.
            if time.monotonic() + self.poll > deadline:
                raise DeploymentFailed(f"{service.name} at {url or 'no URL'} gives no answer ({mistake})")
            time.sleep(self.poll)

    def _read(self, service: Service) -> dict[str, Any]:
        found = self.cluster.get(INFERENCE_SERVICE, service.name, self.config.namespace)
        if found is None:
            raise DeploymentFailed(f"InferenceService {service.name} was deleted by somebody else")
        return found


def asker(cluster: Cluster) -> Ask:
    """An `Ask` that connects directly inside the cluster, and elsewhere through the API server's proxy."""

    def ask(url: str, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        host = urlsplit(url).hostname or ""
        service, _, rest = host.partition(".")
        namespace, _, domain = rest.partition(".")
        if (SERVICE_ACCOUNT / "token").is_file() or domain != "svc.cluster.local":
            return ask_http(url, path, body, seconds)
        try:
            return cluster.ask_service(service, namespace, path, body, seconds)
        except ClusterRefused as error:
            raise OSError(str(error)) from None

    return ask


def ask_http(url: str, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Asks over HTTP; raises OSError or ValueError."""
    import urllib3

    try:
        answer = urllib3.PoolManager(retries=False).request(
            "POST",
            url.rstrip("/") + path,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            timeout=urllib3.Timeout(connect=5.0, read=seconds),
        )
    except urllib3.exceptions.HTTPError as error:
        raise OSError(f"no answer: {type(error).__name__}") from None
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status}")
    return dict(json.loads(answer.data))


def _names(named: Sequence[Service]) -> str:
    return ", ".join(service.name for service in named) or "nothing"
