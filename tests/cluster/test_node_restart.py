"""A node's kubelet, proxy and container runtime go and come back while a champion is served."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from mathloop.cluster.deployment import deploy
from mathloop.settings.pools import DeploymentConfig
from tests.cluster.conftest import Promote
from tests.cluster.real_cluster import NAMESPACE, RealCluster, until

RESTART = "LAB_SH"
"""Environment variable: a command that takes `restart-node`, such as a lab's script."""
ASKED = {"model": "mathloop", "messages": [{"role": "user", "content": "What is 3 plus 4?"}], "max_tokens": 8}


@pytest.mark.timeout(1200)
def test_a_served_champion_survives_its_nodes_restart(
    cluster: RealCluster, promote: Promote, store_url: str
) -> None:
    """The same pods answer afterwards, through the same Service, without a restarted container.

    Run: lab.
    """
    command = shlex.split(os.environ.get(RESTART, ""))
    if not command:
        pytest.skip(f"{RESTART} names no command that restarts the node")
    config = DeploymentConfig(runtimes="cpu", vllm=False, ready_seconds=300)
    deploy(cluster.api, promote(seed=1), store_url, config)
    before = _containers(cluster)
    done = subprocess.run(
        [*command, "restart-node"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    until("the solver answers again", 300, lambda: _answers(cluster))
    assert _containers(cluster) == before


def _answers(cluster: RealCluster) -> bool:
    from mathloop.errors import MathloopError

    try:
        status, _ = cluster.api.ask_service("mathloop", NAMESPACE, "/v1/chat/completions", ASKED, 60)
    except MathloopError:
        return False
    return status == 200


def _containers(cluster: RealCluster) -> dict[str, tuple[str, int]]:
    """Pod and container → its id and how often it was restarted."""
    return {
        f"{pod['metadata']['name']}/{status['name']}": (status["containerID"], status["restartCount"])
        for pod in cluster.items("pods", NAMESPACE, "serving.kserve.io/inferenceservice")
        for status in pod["status"]["containerStatuses"]
    }
