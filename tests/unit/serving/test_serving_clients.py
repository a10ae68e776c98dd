"""Clients that others wrote, unchanged: OpenAI's, and KServe's for its own protocols."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from mathloop.serving.config import SolverConfig
from tests.unit.serving.standins import ScriptedEngine
from tests.unit.serving.test_serving_routes import Served

MESSAGES: Any = [{"role": "user", "content": "What is 3 + 4?"}]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    one = Served(ScriptedEngine(["7", "8", "7"], [1.0, 3.0, 2.0]), SolverConfig())
    yield one
    one.close()


@pytest.fixture
def base_url(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}/v1"


def test_openais_client_sync_and_streaming(base_url: str) -> None:
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
    raw = client.chat.completions.with_raw_response.create(model="mathloop", messages=MESSAGES)
    reply = raw.parse()
    assert reply.choices[0].message.content == "so \\boxed{7}"
    assert raw.headers["x-request-id"] == reply._request_id
    options: Any = {"include_usage": True, "include_progress": True}
    chunks = list(
        client.chat.completions.create(
            model="mathloop", messages=MESSAGES, stream=True, stream_options=options
        )
    )
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == "so \\boxed{7}"
    told = [(one.model_extra or {}).get("mathloop", {}).get("progress", {}) for one in chunks]
    assert sum(one.get("stage") == "response" for one in told) == 8
    assert chunks[-1].usage is not None
    with client.chat.completions.stream(model="mathloop", messages=MESSAGES) as stream:
        assert stream.get_final_completion().choices[0].message.content == "so \\boxed{7}"
    with pytest.raises(openai.UnprocessableEntityError, match="temperature"):
        client.chat.completions.create(model="mathloop", messages=MESSAGES, stream=True, temperature=9)


def test_openais_client_async(base_url: str) -> None:
    async def ask() -> tuple[str | None, list[str | None]]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            reply = await client.chat.completions.create(model="mathloop", messages=MESSAGES)
            stream = await client.chat.completions.create(model="mathloop", messages=MESSAGES, stream=True)
            return reply.choices[0].message.content, [one.choices[0].finish_reason async for one in stream]

    content, reasons = asyncio.run(ask())
    assert content == "so \\boxed{7}"
    assert reasons[-1] == "stop"


@pytest.mark.slow  # importing kserve takes seconds
def test_kserves_client_v1_and_v2(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    kserve = pytest.importorskip("kserve")
    url = f"http://127.0.0.1:{served.port}"

    async def ask() -> tuple[Any, Any]:
        first = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1", retries=0))
        second = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", retries=0))
        predicted = await first.infer(url, {"instances": ["What is 3 + 4?"]}, model_name="mathloop")
        tensor = kserve.InferInput("problem", [1], "BYTES", ["What is 3 + 4?"])
        request = kserve.InferRequest("mathloop", [tensor], parameters={"strategy": "rm", "samples": 3})
        return predicted, await second.infer(url, request, model_name="mathloop")

    predicted, inferred = asyncio.run(ask())
    assert predicted["predictions"][0]["answer"] == "7"
    outputs = {one.name: one.data for one in inferred.outputs}
    assert outputs["answer"] == ["8"]
    assert outputs["votes"] == [1]
