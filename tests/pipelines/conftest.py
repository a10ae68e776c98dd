"""Fixtures of the tests that call commands against fakes of KFP and Kubernetes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fake_cluster import FakeCluster
from tests.fake_kfp import FakeKfp
from tests.paths import ROOT
from tests.pipelines.cluster_calls import Run
from tests.pipelines.command import MATHLOOP


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    cluster.kfp = FakeKfp(cluster)
    yield cluster
    cluster.close()


@pytest.fixture
def call(fake: FakeCluster, tmp_path: Path) -> Run:
    """Calls `mathloop …` with a kubeconfig of the fake, in a home of its own."""
    kubeconfig = fake.write_kubeconfig(tmp_path / "kubeconfig")

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*MATHLOOP, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, **home, **environment},
            timeout=120,
        )

    return call


@pytest.fixture
def use_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeCluster], None]:
    """Makes a fake the cluster of this process' kubeconfig."""

    def use(cluster: FakeCluster) -> None:
        path = str(cluster.write_kubeconfig(tmp_path / "used"))
        monkeypatch.setenv("KUBECONFIG", path)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path)

    return use
