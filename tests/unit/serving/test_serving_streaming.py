"""A greedy response is streamed while it is written, and tokens come with their likeliest rivals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.serving.config import SolverConfig
from mathloop.serving.local import LocalEngine
from mathloop.serving.token_stream import TokenStream
from tests.unit.serving.test_serving_routes import ASKED, CHAT, Served, events


class Bytes:
    """A tokenizer with a token per byte."""

    def decode(self, tokens: list[int]) -> str:
        return bytes(tokens).decode("utf-8", "replace")


def pieces(text: str, stop: tuple[str, ...] = (), ends: tuple[int, ...] = ()) -> list[str]:
    sent: list[str] = []
    stream = TokenStream(Bytes(), ends, stop, sent.append)
    for place, token in enumerate(text.encode()):
        stream.hear(place, token)
    return sent


def test_a_piece_is_sent_once_its_characters_are_whole() -> None:
    assert pieces("3+4=七, é") == ["3", "+", "4", "=", "七", ",", " ", "é"]
    assert pieces("7\0", ends=(0,)) == ["7"]


@pytest.mark.parametrize(
    ("text", "stop", "sent"),
    [
        ("7\nQ: 8", ("\nQ:",), "7"),
        ("7\nQED", ("\nQ:",), "7\nQED"),
        ("aab", ("ab",), "a"),
        ("x\n\nQ", ("\nQ", "\n\n\n"), "x\n"),
    ],
)
def test_no_part_of_a_stop_text_is_sent(text: str, stop: tuple[str, ...], sent: str) -> None:
    assert "".join(pieces(text, stop)) == sent


def test_a_response_that_begins_again_is_sent_once() -> None:
    sent: list[str] = []
    stream = TokenStream(Bytes(), (), (), sent.append)
    for text in ("12", "1234"):
        for place, token in enumerate(text.encode()):
            stream.hear(place, token)
    assert sent == ["1", "2", "3", "4"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], tokenizer: Any) -> Any:
    folder: Path = tmp_path_factory.mktemp("streaming") / "policy"
    model = tiny_model(len(tokenizer))
    model.config.max_position_embeddings = 256
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    engine = LocalEngine.load(folder, None, SolverConfig(), "tiny")
    engine.may_go = asyncio.Event()  # type: ignore[attr-defined]
    running = Served(engine, SolverConfig(max_tokens=40))  # type: ignore[arg-type]
    yield running
    assert running._loop is not None
    asyncio.run_coroutine_threadsafe(running.solver.close(), running._loop).result(60)
    running.close()


def contents(told: list[Any]) -> list[str]:
    return [one["choices"][0]["delta"].get("content", "") for one in told if one["choices"]]


def test_a_greedy_response_arrives_token_by_token(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = served.ask(strategy="greedy").json()["choices"][0]["message"]["content"]
    may_go_on = threading.Event()
    add = served.engine._scheduler.add  # type: ignore[attr-defined]

    def pausing(work: Any) -> None:
        """After ten tokens, the next ones wait for the client to have the first."""
        heard = work.heard

        def hear(place: int, token: int) -> None:
            heard(place, token)
            assert place != 10 or may_go_on.wait(20), "nothing arrived while the response was written"

        work.heard = hear
        add(work)

    monkeypatch.setattr(served.engine._scheduler, "add", pausing)  # type: ignore[attr-defined]
    with served.client.stream("POST", CHAT, json={**ASKED, "strategy": "greedy", "stream": True}) as reply:
        assert reply.status_code == 200
        text = ""
        for part in reply.iter_text():
            text += part
            if text.count('"content"') > 3:
                may_go_on.set()
    told = events(text)
    assert "".join(contents(told)) == whole
    assert len(list(filter(None, contents(told)))) > 5
    assert told[-1]["mathloop"]["strategy"] == "greedy"
    assert not any("progress" in one.get("mathloop", {}) for one in told)


def test_the_stream_ends_before_the_stop_text_and_votes_are_not_streamed(served: Served) -> None:
    whole = served.ask(strategy="greedy").json()["choices"][0]["message"]["content"]
    stop = whole[8:10]
    stopped = served.ask(strategy="greedy", stop=stop).json()["choices"][0]["message"]["content"]
    told = events(served.ask(strategy="greedy", stop=stop, stream=True).text)
    assert "".join(contents(told)) == stopped == whole[: whole.index(stop)]
    voted = events(served.ask(strategy="maj", samples=2, seed=1, stream=True).text)
    again = served.ask(strategy="maj", samples=2, seed=1).json()["choices"][0]["message"]["content"]
    assert "".join(contents(voted)) == again


def test_an_error_before_the_first_token_has_its_status(served: Served) -> None:
    long = {"messages": [{"role": "user", "content": "1 + " * 400}]}
    refused = served.ask(strategy="greedy", stream=True, **long)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_the_likeliest_tokens_come_with_each_token(served: Served) -> None:
    found = served.ask(strategy="greedy", logprobs=True, top_logprobs=3, max_tokens=6).json()
    rows = found["choices"][0]["logprobs"]["content"]
    assert rows
    for row in rows:
        values = [one["logprob"] for one in row["top_logprobs"]]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert row["top_logprobs"][0]["token"] == row["token"], "greedy takes the likeliest"
        assert row["logprob"] == pytest.approx(values[0], abs=1e-5)
    sampled = served.ask(samples=2, strategy="maj", logprobs=True, top_logprobs=20, max_tokens=3, seed=1)
    (choice,) = sampled.json()["choices"]
    assert all(len(row["top_logprobs"]) == 20 for row in choice["logprobs"]["content"])
    assert served.ask(top_logprobs=3).status_code == 422
    assert served.ask(logprobs=True, top_logprobs=21).status_code == 422
