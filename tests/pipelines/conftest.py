"""Fixtures of the tests that call commands against fakes of KFP and Kubernetes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mathloop.stages import Progress
from pipelines import cli
from tests.fake_cluster import FakeCluster
from tests.fake_kfp import FakeKfp
from tests.pipelines.cluster_calls import Run
from tests.pipelines.forked_commands import CLUSTER, Commands


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    cluster.kfp = FakeKfp(cluster)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    with Commands(CLUSTER) as commands:
        yield commands


@pytest.fixture
def call(fake: FakeCluster, commands: Commands, tmp_path: Path) -> Run:
    """Calls `mathloop …` with a kubeconfig of the fake, in a home of its own."""
    kubeconfig = fake.write_kubeconfig(tmp_path / "kubeconfig")

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig)}
        return commands.run(*arguments, folder=tmp_path, environment={**os.environ, **home, **environment})

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


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Calls `mathloop …` in this process and the test's folder, without a cluster.

    Returns standard output, or the exit code and what standard error says.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    monkeypatch.setattr(Progress, "readable", False)  # the command sets it

    def call(*arguments: str, stdin: bytes = b"") -> str:
        monkeypatch.setattr(sys, "argv", ["mathloop", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return out if not end.value.code else f"{end.value.code} {err}"

    return call
