"""A fake cluster, and our own layer connected to it through a kubeconfig."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mathloop.cluster.kubernetes import Cluster
from tests.fake_cluster import FakeCluster


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "kubeconfig")))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(fake: FakeCluster) -> Cluster:
    return Cluster.connect()
