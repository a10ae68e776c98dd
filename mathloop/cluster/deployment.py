"""Deploys a champion beside the served one: created, waited for, asked, and then switched to.

Each champion has InferenceServices of its own, its release. Users reach the Service `mathloop`, which selects
the served champion's solver. The former champion's release keeps running for the way back, until the next
deployment. Every step can be repeated: a killed deployment resumes, a finished one is a no-op.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mathloop.cluster import stable_address
from mathloop.cluster.inference_services import POLICY, SOLVER, Service
from mathloop.cluster.kubeconfig import SERVICE_ACCOUNT
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Unreachable
from mathloop.cluster.rollout import DeploymentFailed, Releases, wanted_services
from mathloop.cluster.stable_address import Served, Serving, StableAddress
from mathloop.cluster.termination import terminable
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


@timed
def run(*, store_url: str, published: Path, config: DeploymentConfig, serve: bool = True) -> StageReport:
    """Deploys the store's champion if `published` says that a round promoted one.

    Args:
        published: JSON file of the publication stage, with the field `promoted`.
        serve: false leaves the endpoints as they are.

    Raises:
        DeploymentFailed: it did not become ready or did not answer; the former champion is served.
        ClusterRefused: the cluster lacks KServe, permission or an answer.
    """
    report = StageReport("deployment")
    champion = Registry(open_store(store_url)).current()
    if not _promoted(published) or champion is None:
        report.notes.append("nothing to serve: the challenger was refused")
    elif not serve:
        report.notes.append(
            f"Champion {champion.number} is not served, as the run was asked; "
            "mathloop rollback --serve deploys the current champion."
        )
    else:
        deploy(Cluster.connect(), champion, open_store(store_url).url, config)
        report.values["champion"] = champion.number
        url = stable_address.url(config.namespace)
        report.notes.append(f"champion {champion.number} (round {champion.round_id}) is served at {url}")
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
    """Lets the Service `mathloop` select this champion, once its services are ready and answer.

    If that fails, or on SIGTERM and Ctrl-C, the champion's services are deleted and the served one stays.

    Raises:
        DeploymentFailed: as `run`.
        ClusterRefused: as `run`.
    """
    with terminable():
        _Deployment(cluster, config, say, ask or asker(cluster), poll_seconds).run(champion, store_url)


class _Deployment:
    def __init__(
        self, cluster: Cluster, config: DeploymentConfig, say: Callable[[str], None], ask: Ask, poll: float
    ) -> None:
        self.config, self.say, self.ask, self.poll = config, say, ask, poll
        self.address = StableAddress(cluster, config)
        self.releases = Releases(cluster, config, say, poll)

    def run(self, champion: Champion, store_url: str) -> None:
        before = self.address.read()
        found = self.releases.found()
        served = before.served.release if before.served else ""
        services = wanted_services(champion, store_url, self.config, found, served)
        new = Served(str(champion.number), services[0].release)
        if before.served:
            self.address.share(new.release, 0)
        self._clear(before, new, {service.name for service in services})
        created = False
        try:
            created = self.releases.create(services)
            self.releases.wait(services)
            self._smoke(services)
            self._canary(before, new, services)
            self._switch(before, new)
        except (KeyboardInterrupt, SystemExit):
            self._withdraw(new, created)
            raise
        except (MathloopError, OSError) as error:
            self._withdraw(new, created)
            if isinstance(error, ClusterRefused) and not isinstance(error, Unreachable):
                raise
            raise DeploymentFailed(
                f"champion {champion.number} is not served: {error}; {self._served()}"
            ) from None
        self._retire_former(new)
        self.say(f"champion {champion.number} is served at {stable_address.url(self.config.namespace)}")

    def _clear(self, before: Serving, new: Served, wanted: set[str]) -> None:
        """Removes what earlier deployments left, before the new pods need its GPUs.

        The release that was kept for the way back goes too, unless it is the new one: two run at most.
        """
        kept = {one.release for one in (before.served, before.former) if one}
        if before.served and before.served.release != new.release:
            kept = {before.served.release}
        for release, objects in self.releases.found().items():
            if release == new.release and release not in kept:
                objects = [one for one in objects if one["metadata"]["name"] not in wanted]
            elif release in kept:
                continue
            self.releases.remove(objects)

    def _smoke(self, services: Sequence[Service]) -> None:
        """Asks policy and solver a question; any text is a good answer."""
        for service in services:
            if service.role in (POLICY, SOLVER):
                answer = self._answer(service.role, service.name, self.releases.address(service))
                self.say(f"{service.name}: answers {answer[:60]!r}")

    def _canary(self, before: Serving, new: Served, services: Sequence[Service]) -> None:
        """Behind a gateway, gives the new champion a share of the traffic for a while."""
        if not self.config.gateway.name or before.served is None or before.served.release == new.release:
            return
        percent, seconds = self.config.canary_percent, self.config.canary_seconds
        self.address.share(new.release, percent)
        self.say(f"{percent} % of the gateway's traffic to champion {new.champion} for {seconds} s")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for service in services:
                if pending := self.releases.pending(service):
                    raise DeploymentFailed(f"{service.name} failed with its share of the traffic: {pending}")
            time.sleep(self.poll)
        self._smoke(services)

    def _switch(self, before: Serving, new: Served) -> None:
        """Switches the Service and asks through it; switches back if there is no answer."""
        changes = before.served is not None and before.served.release != new.release
        after = self.address.switch(before, new, before.served if changes else before.former)
        self.say(f"Service {stable_address.NAME}: selects champion {new.champion}")
        self.address.share(new.release, 0)
        # The API server's proxy and the nodes ask the former pods for a moment (seen: 2 s).
        time.sleep(3 * self.poll)
        try:
            url = stable_address.url(self.config.namespace)
            answer = self._answer(SOLVER, f"Service {stable_address.NAME}", url)
        except DeploymentFailed:
            if changes and before.served is not None:
                self.address.switch(after, before.served, before.former)
            raise
        self.say(f"Service {stable_address.NAME}: answers {answer[:60]!r}")

    def _withdraw(self, new: Served, created: bool) -> None:
        """Deletes the new champion's services, unless they are served or kept for the way back."""
        with suppress(MathloopError):
            now = self.address.read()
            if now.served:
                self.address.share(new.release, 0)
            kept = {one.release for one in (now.served, None if created else now.former) if one}
            if new.release not in kept:
                self.releases.remove(self.releases.found().get(new.release, []), wait=False)

    def _served(self) -> str:
        try:
            served = self.address.read().served
        except MathloopError:
            return "which champion is served could not be read"
        return f"{served} is served" if served else "no champion is served"

    def _retire_former(self, new: Served) -> None:
        former = self.address.read().former
        if self.config.keep_former:
            if former:
                self.say(f"{former} keeps running until the next deployment, for the way back")
            return
        doomed = [
            one
            for release, objects in self.releases.found().items()
            if release != new.release
            for one in objects
        ]
        self.releases.remove(doomed)

    def _answer(self, role: str, name: str, url: str) -> str:
        # vLLM names its model after the InferenceService.
        body: dict[str, Any] = {"model": name, "max_tokens": 32, "temperature": 0}
        path = "/v1/completions"
        if role == SOLVER:
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
            # Nodes and a gateway learn of new pods some seconds later.
            if time.monotonic() + self.poll > deadline:
                raise DeploymentFailed(f"{name} at {url or 'no URL'} gives no answer ({mistake})")
            time.sleep(self.poll)


def asker(cluster: Cluster) -> Ask:
    """An `Ask` that connects directly inside the cluster, and elsewhere through the API server's proxy."""

    def ask(url: str, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        host = urlsplit(url).hostname or ""
        service, _, rest = host.partition(".")
        namespace, _, domain = rest.partition(".")
        if (SERVICE_ACCOUNT / "token").is_file() or domain != "svc.cluster.local":
            return ask_http(url, path, body, seconds)
        try:
            status, data = cluster.ask_service(service, namespace, path, body, seconds)
        except ClusterRefused as error:
            raise OSError(str(error)) from None
        return _answer_of(status, data)

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
    return _answer_of(answer.status, answer.data)


def _answer_of(status: int, data: bytes) -> dict[str, Any]:
    if status != 200:
        raise ValueError(f"HTTP {status}")
    return dict(json.loads(data))
