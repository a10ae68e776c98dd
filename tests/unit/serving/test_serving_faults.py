"""Every fault of a remote policy or reward model ends in an answer or a refusal, and within the deadline."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mathloop.serving import endpoint
from mathloop.serving.answer import Answer
from mathloop.serving.config import SolverConfig
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused
from mathloop.serving.remote import RemoteEngine
from mathloop.serving.solver import Solver
from tests.unit.serving.standins import VLLMStandIn

POLICY, REWARD_MODEL = "/v1/chat/completions", "/pooling"
HANGS = 30.0
"""Seconds after which a question hangs: every deadline here is far below."""


@pytest.fixture(scope="module")
def vllm() -> Iterator[VLLMStandIn]:
    server = VLLMStandIn()
    yield server
    server.close()


def head(length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


def reset(handler: Any) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.wfile = handler.rfile = open("/dev/null", "r+b")  # noqa: SIM115  # closed by the handler


def stalled_before(handler: Any) -> None:
    handler.server.owner.closing.wait(HANGS)


def stalled_within(handler: Any) -> None:
    handler.wfile.write(head(1000) + b'{"choices": [')
    handler.wfile.flush()
    handler.server.owner.closing.wait(HANGS)


def half(handler: Any) -> None:
    handler.wfile.write(head(1000) + b'{"choices": [')


def trickle(handler: Any) -> None:
    handler.wfile.write(head(10_000))
    while not handler.server.owner.closing.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def status(code: int, message: str = "no") -> Any:
    return code, json.dumps({"error": {"message": message}}).encode(), {}


SLOW = {"stalled before": stalled_before, "stalled within": stalled_within, "a slow trickle": trickle}
FAULTS: dict[str, Any] = {
    **SLOW,
    "reset": reset,
    "half a body": half,
    "wrong JSON": (200, b'{"choices": [}', {}),
    "a list": (200, b"[]", {}),
    "empty": (200, b"", {}),
    "empty choices": (200, b'{"choices": [], "data": []}', {}),
    "wrong lengths": (200, b'{"choices": [{}], "data": [{"data": [1.0, 2.0, 3.0]}]}', {}),
    "wrong model": status(404, "The model `other` does not exist."),
    **{str(code): status(code) for code in (401, 403, 404, 429, 500, 502, 503, 504)},
}


def ask(vllm: VLLMStandIn, config: SolverConfig, change: Callable[[RemoteEngine], None]) -> Answer | Refused:
    async def run() -> Answer | Refused:
        engine = RemoteEngine(vllm.url, vllm.url, config)
        solver = Solver(engine, config)
        settings: dict[str, Any] = {"mode": "cot", "temperature": 0.5, "top_p": 0.9, "seed": 7}
        try:
            vllm.broken.clear()
            await solver.prepare()
            change(engine)
            async with asyncio.timeout(HANGS / 2):
                return await solver.ask(Question("3+4?", "rm", 3, max_tokens=64, **settings))
        except Refused as refused:
            return refused
        finally:
            vllm.broken.clear()
            await solver.close()

    return asyncio.run(run())


def breaks(vllm: VLLMStandIn, path: str, fault: str) -> Callable[[RemoteEngine], None]:
    def change(engine: RemoteEngine) -> None:
        if fault == "refused":  # nobody listens any more
            part = engine._policy if path == POLICY else engine._reward_model
            assert part is not None
            part.root = "http://127.0.0.1:1"
        else:
            vllm.broken[path] = lambda body: FAULTS[fault]

    return change


@pytest.mark.parametrize("fault", ["refused", *FAULTS])
def test_a_broken_policy_is_refused(vllm: VLLMStandIn, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.001)
    config = SolverConfig(deadline=0.3 if fault in SLOW else 20)
    found = ask(vllm, config, breaks(vllm, POLICY, fault))
    assert isinstance(found, Refused)
    assert found.status == (504 if fault in SLOW else 503)
    assert found.headers()["x-should-retry"] == "false"
    assert vllm.url not in found.message


@pytest.mark.parametrize("fault", ["refused", *FAULTS])
def test_without_its_reward_model_the_majority_answers(
    vllm: VLLMStandIn, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.001)
    config = SolverConfig(deadline=20, reward_seconds=0.2 if fault in SLOW else 10)
    found = ask(vllm, config, breaks(vllm, REWARD_MODEL, fault))
    assert isinstance(found, Answer)
    assert (found.chosen.answer, found.strategy) == ("7", "maj")
    assert found.degraded


def test_another_model_at_the_same_address_is_asked_by_its_own_name(vllm: VLLMStandIn) -> None:
    config = SolverConfig()

    async def run() -> list[str]:
        solver = Solver(RemoteEngine(vllm.url, None, config), config)
        asked = Question("3+4?", "maj", 3, "cot", 0.5, 0.9, 7, 64)
        outcomes = []
        try:
            await solver.prepare()
            vllm.broken["/v1/models"] = lambda body: (200, b'{"data": [{"id": "newer"}]}', {})
            vllm.broken[POLICY] = lambda body: None if body["model"] == "newer" else FAULTS["wrong model"]
            for _ in range(2):
                try:
                    outcomes.append(str((await solver.ask(asked)).chosen.answer))
                except Refused as refused:
                    outcomes.append(str(refused.status))
        finally:
            vllm.broken.clear()
            await solver.close()
        return outcomes

    assert asyncio.run(run()) == ["503", "7"]
