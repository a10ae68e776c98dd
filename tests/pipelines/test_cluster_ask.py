"""`mathloop ask --cluster` as a user calls it: through the API server to the served champion."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_cluster import TOKEN, FakeCluster
from tests.paths import ROOT
from tests.pipelines.command import MATHLOOP

pytestmark = pytest.mark.slow

REPLY: dict[str, Any] = {
    "choices": [{"message": {"content": "3+4=7.\nThe answer is \\boxed{7}."}}],
    "usage": {"completion_tokens": 12},
    "mathloop": {
        "answer": "7",
        "strategy": "maj",
        "answers_with": "the model in policy",
        "candidates": [{"answer": "7", "votes": 8, "weighted_votes": None, "reward": None}],
        "seconds": {"total": 0.5},
    },
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def ask(fake: FakeCluster, tmp_path: Path) -> Run:
    kubeconfig = fake.write_kubeconfig(tmp_path / "kubeconfig")

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MATHLOOP, "ask", "3+4?", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)},
            timeout=120,
        )

    return ask


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert TOKEN not in done.stderr
    return done.stderr


def test_the_served_champion_answers(fake: FakeCluster, ask: Run) -> None:
    asked: list[tuple[str, str]] = []
    fake.answers = lambda service, path: (asked.append((service, path)), (200, REPLY))[1]
    done = ask("--cluster", "--samples", "8")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "answer: 7"
    assert done.stdout.splitlines()[-1] == "maj, 12 tokens, 0.5 s, the model in policy"
    assert asked == [("mathloop", "/v1/chat/completions")]
    done = ask("--cluster", "--namespace", "team-a")
    assert done.returncode == 0
    assert fake.requests[-1][1].startswith("/api/v1/namespaces/team-a/services/mathloop:80/proxy/")


def test_every_mistake_is_one_line(fake: FakeCluster, ask: Run) -> None:
    fake.answers = lambda service, path: (404, {})
    assert "no champion is served in namespace mathloop; deploy a champion" in refused(ask("--cluster"))
    fake.answers = lambda service, path: (503, {})
    assert "is its pod ready?" in refused(ask("--cluster"))
    said = {"error": {"message": "strategy rm needs a reward model"}}
    fake.answers = lambda service, path: (422, said)
    assert "Service mathloop/mathloop refuses: strategy rm needs" in refused(ask("--cluster"))
    fake.answers = lambda service, path: (200, {"choices": []})
    assert "Service mathloop/mathloop is not a mathloop solver" in refused(ask("--cluster"))
    assert "use only one of them" in refused(ask("--cluster", "--url", "http://127.0.0.1:1"))
