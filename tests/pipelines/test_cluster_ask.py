"""`mathloop ask --cluster` as a user calls it: through the API server to the served champion."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_cluster import FakeCluster
from tests.pipelines.cluster_calls import Run, done, refused

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


def test_the_served_champion_answers(fake: FakeCluster, call: Run) -> None:
    asked: list[tuple[str, str]] = []
    fake.answers = lambda service, path: (asked.append((service, path)), (200, REPLY))[1]
    shown = done(call("ask", "3+4?", "--cluster", "--samples", "8")).splitlines()
    assert shown[0] == "answer: 7"
    assert shown[-1] == "maj, 12 tokens, 0.5 s, the model in policy"
    assert asked == [("mathloop", "/v1/chat/completions")]
    done(call("ask", "3+4?", "--cluster", "--namespace", "team-a"))
    assert fake.requests[-1][1].startswith("/api/v1/namespaces/team-a/services/mathloop:80/proxy/")


def test_every_mistake_is_one_line(fake: FakeCluster, call: Run) -> None:
    fake.answers = lambda service, path: (404, {})
    assert "no champion is served in namespace mathloop; deploy a champion" in refused(
        call("ask", "3+4?", "--cluster")
    )
    fake.answers = lambda service, path: (503, {})
    assert "is its pod ready?" in refused(call("ask", "3+4?", "--cluster"))
    said = {"error": {"message": "strategy rm needs a reward model"}}
    fake.answers = lambda service, path: (422, said)
    assert "Service mathloop/mathloop refuses: strategy rm needs" in refused(call("ask", "3+4?", "--cluster"))
    fake.answers = lambda service, path: (200, {"choices": []})
    assert "Service mathloop/mathloop is not a mathloop solver" in refused(call("ask", "3+4?", "--cluster"))
    assert "use only one of them" in refused(call("ask", "3+4?", "--cluster", "--url", "http://127.0.0.1:1"))
