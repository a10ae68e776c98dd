"""Champions behind KServe: the first, the next ones under traffic, one that fails, back, a killed deployment.

One case each, and all with real pods: a solver that holds its models, without vLLM.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from mathloop.cluster.deployment import DeploymentFailed, deploy
from mathloop.registry import Champion
from mathloop.settings.pools import DeploymentConfig
from tests.cluster.conftest import Promote
from tests.cluster.real_cluster import CPU, NAMESPACE, RealCluster
from tests.paths import ROOT

pytestmark = pytest.mark.timeout(1800)

SERVICES = "inferenceservices.serving.kserve.io"
ASKED = {
    "model": "mathloop",
    "messages": [{"role": "user", "content": "What is 3 plus 4?"}],
    "max_tokens": 8,
    "temperature": 0,
}
CLIENTS = 4

Deploy = Callable[..., list[str]]


@pytest.fixture
def deploying(cluster: RealCluster, store_url: str) -> Deploy:
    """Deploys a champion from this process, and returns what it said."""

    def go(champion: Champion, **settings: Any) -> list[str]:
        config = DeploymentConfig.model_validate(
            {"runtimes": "cpu", "vllm": False, "ready_seconds": 600, **settings}
        )
        said: list[str] = []

        def say(text: str) -> None:
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
            said.append(text)

        deploy(cluster.api, champion, store_url, config, say=say, poll_seconds=1)
        return said

    return go


class Traffic:
    """Clients who ask through the stable Service all the time, each request on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.failed = url, 0, list[str]()
        self._ending, self._lock = threading.Event(), threading.Lock()
        self._clients = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        for client in self._clients:
            client.join(120)
        print(f"{self.answers} answers, {len(self.failed)} failed", flush=True)

    def _ask(self) -> None:
        while not self._ending.is_set():
            try:
                pool = urllib3.PoolManager(retries=False, timeout=60)
                answer = pool.request("POST", f"{self.url}/v1/chat/completions", json=ASKED)
                failure = "" if answer.status == 200 else f"HTTP {answer.status}: {answer.data[:200]!r}"
            except urllib3.exceptions.HTTPError as error:
                failure = repr(error)
            with self._lock:
                self.answers += not failure
                if failure:
                    self.failed.append(f"{time.strftime('%H:%M:%S')} {failure}")


@pytest.fixture
def address(cluster: RealCluster) -> Callable[[], str]:
    """The Service's own IP address where this machine reaches it, as a node does; else skips."""

    def look() -> str:
        service = json.loads(cluster.kubectl("get", "service", "mathloop", "-n", NAMESPACE, "-o", "json"))
        url = f"http://{service['spec']['clusterIP']}"
        try:
            urllib3.PoolManager(retries=False, timeout=10).request("GET", f"{url}/v2/health/ready")
        except urllib3.exceptions.HTTPError:
            pytest.skip("this machine does not reach the cluster's Services: run the case on a node")
        return url

    return look


def served(cluster: RealCluster) -> tuple[str, str]:
    """Number of the champion that the Service names, and the InferenceService that it selects."""
    found = json.loads(cluster.kubectl("get", "service", "mathloop", "-n", NAMESPACE, "-o", "json"))
    selector = found["spec"]["selector"]
    return (
        found["metadata"]["annotations"]["mathloop.dev/champion"],
        selector["serving.kserve.io/inferenceservice"].removeprefix("mathloop-solver-"),
    )


def releases(cluster: RealCluster) -> set[str]:
    return {one["metadata"]["name"].removeprefix("mathloop-solver-") for one in cluster.items(SERVICES)}


def pods(cluster: RealCluster, release: str) -> dict[str, int]:
    """Solver's pods of a release → their restarts."""
    found = cluster.items("pods", NAMESPACE, f"serving.kserve.io/inferenceservice=mathloop-solver-{release}")
    return {
        one["metadata"]["uid"]: sum(c["restartCount"] for c in one["status"]["containerStatuses"])
        for one in found
    }


def test_the_next_champions_take_over_under_traffic(
    cluster: RealCluster, promote: Promote, deploying: Deploy, address: Callable[[], str]
) -> None:
    """Four clients ask while a second and a third champion take over: each of them gets each of its answers.

    Run: lab.
    """
    deploying(promote(seed=1))
    assert (served(cluster), releases(cluster)) == (("0", "c0"), {"c0"})
    first = pods(cluster, "c0")
    with Traffic(address()) as traffic:
        said = deploying(promote(seed=2))
        assert (served(cluster), releases(cluster)) == (("1", "c1"), {"c0", "c1"})
        assert pods(cluster, "c0") == first  # nobody restarted it
        own, through = (text.partition(": answers ")[2] for text in said if ": answers " in text)
        assert through == own  # it was the new one who answered, not the former
        before = traffic.answers
        deploying(promote(seed=3))
        assert (served(cluster), releases(cluster)) == (("2", "c2"), {"c1", "c2"})
        time.sleep(5)
    assert traffic.failed == []
    assert traffic.answers > before > 0


def test_a_former_champion_that_is_not_kept_finishes_its_requests(
    cluster: RealCluster, promote: Promote, deploying: Deploy, address: Callable[[], str]
) -> None:
    """With `keep_former=false` the former champion's pods end after the switch, and no request with them.

    Run: lab.
    """
    deploying(promote(seed=1))
    with Traffic(address()) as traffic:
        deploying(promote(seed=2), keep_former=False)
    assert (served(cluster), releases(cluster)) == (("1", "c1"), {"c1"})
    assert traffic.failed == []


def test_a_new_champion_that_cannot_load_leaves_the_served_one(
    cluster: RealCluster, promote: Promote, deploying: Deploy
) -> None:
    """Its weights are broken: its pod crashes, its log's end is shown, and its service is deleted.

    Run: lab.
    """
    deploying(promote(seed=1))
    before = pods(cluster, "c0")
    with pytest.raises(DeploymentFailed, match=r"cannot start .*; champion 0 .* is served") as caught:
        deploying(promote(seed=2, whole=False))
    print(caught.value)
    assert (served(cluster), pods(cluster, "c0")) == (("0", "c0"), before)
    deploying(promote(seed=3))
    assert (served(cluster), releases(cluster)) == (("2", "c2"), {"c0", "c2"})


def test_rollback_serve_is_a_switch(
    cluster: RealCluster, promote: Promote, deploying: Deploy, store_url: str
) -> None:
    """`rollback --serve` goes back to the former champion, whose pods still run; `ask --cluster` asks it.

    Run: lab.
    """
    deploying(promote(seed=1))
    deploying(promote(seed=2))
    before = pods(cluster, "c0")
    begun = time.monotonic()
    done = cluster.mathloop("rollback", f"--store={store_url}", "--serve", "--profile=tiny", *CPU)
    print(f"{time.monotonic() - begun:.0f} s: {done.stdout}", flush=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ": created for" not in done.stdout
    assert (served(cluster), releases(cluster)) == (("2", "c0"), {"c0", "c1"})
    assert pods(cluster, "c0") == before
    asked = cluster.mathloop("ask", "--cluster", "What is 3 plus 4?", "--samples=2")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert ", the model in policy" in asked.stdout


@pytest.fixture
def deployer(store_url: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that deploy the store's champion, to be killed."""
    script = (
        "import sys\n"
        "from mathloop.cluster.deployment import deploy\n"
        "from mathloop.cluster.kubernetes import Cluster\n"
        "from mathloop.registry import Registry\n"
        "from mathloop.settings.pools import DeploymentConfig\n"
        "from mathloop.storage import open_store\n"
        "champion = Registry(open_store(sys.argv[1])).current()\n"
        "config = DeploymentConfig(runtimes='cpu', vllm=False, ready_seconds=600)\n"
        "say = lambda text: print(text, flush=True)\n"
        "deploy(Cluster.connect(), champion, sys.argv[1], config, say=say, poll_seconds=1)\n"
    )
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", script, store_url],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", [": created for", ": ready", "selects champion"])
def test_a_killed_deployment_is_resumed(
    cluster: RealCluster,
    promote: Promote,
    deploying: Deploy,
    deployer: Callable[[], subprocess.Popen[str]],
    moment: str,
) -> None:
    """SIGKILL after the services were created, became ready, were switched to: run again, it ends as usual.

    Run: lab.
    """
    deploying(promote(seed=1))
    second = promote(seed=2)
    _end_when(deployer(), moment, signal.SIGKILL)
    said = deploying(second)
    assert (served(cluster), releases(cluster)) == (("1", "c1"), {"c0", "c1"})
    assert not any(": created for" in text for text in said)


def test_what_a_killed_deployment_left_is_deleted_by_the_next_and_a_canceled_one_leaves_nothing(
    cluster: RealCluster, promote: Promote, deploying: Deploy, deployer: Callable[[], subprocess.Popen[str]]
) -> None:
    """A crash-looping champion of a killed deployment is cleared; on SIGTERM a deployment cleans up itself.

    Run: lab.
    """
    deploying(promote(seed=1))
    promote(seed=2, whole=False)
    _end_when(deployer(), ": created for", signal.SIGKILL)
    assert releases(cluster) == {"c0", "c1"}
    third = promote(seed=3)
    _end_when(deployer(), ": created for", signal.SIGTERM)
    assert releases(cluster) <= {"c0", "c2"}
    assert served(cluster) == ("0", "c0")
    deploying(third)
    assert (served(cluster), releases(cluster)) == (("2", "c2"), {"c0", "c2"})


def _end_when(process: subprocess.Popen[str], moment: str, number: signal.Signals) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if moment in line:
            process.send_signal(number)
            break
    else:
        pytest.fail(f"the deployment ended before {moment!r}")
    rest, _ = process.communicate(timeout=120)
    print(rest, flush=True)
    assert process.returncode != 0
