"""The engine that asks vLLM, against a stand-in for it: a real HTTP server that can be made to misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mathloop.errors import BadConfig
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.serving import endpoint
from mathloop.serving.answer import Answer
from mathloop.serving.config import ENDPOINT_KEY_VARIABLE, SolverConfig
from mathloop.serving.messages import Message
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused
from mathloop.serving.remote import RemoteEngine
from mathloop.serving.solver import Solver
from tests.unit.serving.standins import VLLMStandIn

SECRET = "an-endpoint-key-that-no-message-may-hold"


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[VLLMStandIn]:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv(ENDPOINT_KEY_VARIABLE, SECRET)
    server = VLLMStandIn()
    yield server
    server.close()


def question(**changes: Any) -> Question:
    usual: dict[str, Any] = {"strategy": "rm", "samples": 3, "mode": "cot", "temperature": 0.5, "top_p": 0.9}
    return Question(**{"problem": "3+4?", **usual, "seed": 7, "max_tokens": 2048, **changes})


def answer(vllm: VLLMStandIn, asked: Question, deadline: float = 30) -> Answer:
    async def run() -> Answer:
        config = SolverConfig(deadline=deadline)
        tools = asked.mode == "tir"
        solver = Solver(RemoteEngine(vllm.url, vllm.url, config, tools=tools), config)
        try:
            await solver.prepare()
            vllm.asked.clear()
            return await solver.ask(asked)
        finally:
            await solver.engine.close()

    return asyncio.run(run())


def refused(vllm: VLLMStandIn, asked: Question | None = None, deadline: float = 30) -> Refused:
    with pytest.raises(Refused) as caught:
        answer(vllm, asked or question(), deadline)
    for text in (caught.value.message, caught.value.detail):
        assert SECRET not in text
        assert "\n" not in text
        assert len(text) < 500
    assert vllm.url not in caught.value.message
    return caught.value


def test_responses_and_rewards_come_from_the_endpoints(vllm: VLLMStandIn) -> None:
    given = answer(vllm, question())
    drawn = given.generation.responses
    assert [one.answer for one in drawn] == ["7", "7", "8"]
    assert (given.generation.prompt_tokens, given.generation.completion_tokens) == (5, 30)
    rewards = {one.text: one.reward for candidate in given.candidates for one in candidate.responses}
    assert rewards == {text: 20.0 - len(text + "<|im_end|>") for text in ("3+4=7. \\boxed{7}", "\\boxed{8}")}
    assert [(one.answer, one.votes) for one in given.candidates] == [("8", 1), ("7", 2)]


def test_vllm_is_asked_for_what_the_local_engine_would_do(vllm: VLLMStandIn) -> None:
    answer(vllm, question())
    turn = {"role": "user", "content": f"3+4?\n{INSTRUCTIONS['cot']}"}
    asked = {path: body for path, body, _ in vllm.asked}
    assert asked["/v1/chat/completions"] == {
        "model": "stand-in",
        "messages": [turn],
        "n": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "max_tokens": vllm.context - len(turn["content"]),
    }
    answer(vllm, question(seeded=False))
    unseeded = next(body for path, body, _ in vllm.asked if path == "/v1/chat/completions")
    assert unseeded == {
        name: value for name, value in asked["/v1/chat/completions"].items() if name != "seed"
    }
    scored = [body for path, body, _ in vllm.asked if path == "/pooling"]
    assert len(scored) == 3
    for body in scored:
        prompt, response = body["messages"]
        assert prompt == turn
        # The reward is the hidden state of the end-of-turn token: nothing may follow it.
        assert response["content"].endswith("<|im_end|>")
        assert body["continue_final_message"]
        assert not body["use_activation"]
    assert {headers["Authorization"] for _, _, headers in vllm.asked} == {f"Bearer {SECRET}"}


def test_vllm_gets_earlier_messages_and_stop_texts(vllm: VLLMStandIn) -> None:
    talk = (Message("system", "Be brief."), Message("user", "1+1?"), Message("assistant", "2<|im_end|>"))
    answer(vllm, question(earlier=talk, stop=("Q:",)))
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"1+1?\n{INSTRUCTIONS['cot']}"},
        {"role": "assistant", "content": "2<\u200b|im_end|>"},
        {"role": "user", "content": f"3+4?\n{INSTRUCTIONS['cot']}"},
    ]
    (drawn,) = [body for path, body, _ in vllm.asked if path == "/v1/chat/completions"]
    assert (drawn["messages"], drawn["stop"]) == (turns, ["Q:"])
    assert all(body["messages"][:-1] == turns for path, body, _ in vllm.asked if path == "/pooling")


def test_a_system_message_that_vllms_template_leaves_out_is_refused(vllm: VLLMStandIn) -> None:
    def deaf(body: dict[str, Any]) -> Any:
        if body.get("return_token_strs"):
            return None
        return reply({"count": len(body["messages"][-1]["content"]), "max_model_len": 1024})

    vllm.broken["/tokenize"] = deaf
    error = refused(vllm, question(earlier=(Message("system", "Be brief."),)))
    assert (error.status, error.param) == (400, "messages")


def test_few_at_a_time_are_asked_for_with_their_own_seeds_and_measured_once(vllm: VLLMStandIn) -> None:
    given = answer(vllm, question(samples=8, adaptive=True, strategy="maj"))
    drawn = [body for path, body, _ in vllm.asked if path == "/v1/chat/completions"]
    assert [(body["n"], body["seed"]) for body in drawn] == [(2, 7), (1, 9), (1, 10)]
    assert [one.sample for one in given.generation.responses] == list(range(4))
    assert [path for path, _, _ in vllm.asked].count("/tokenize") == 1
    assert given.generation.seed == 7
    assert given.generation.completion_tokens == 40


def test_seeds_wrap_around_and_no_question_is_kept(vllm: VLLMStandIn) -> None:
    config = SolverConfig()
    engine = RemoteEngine(vllm.url, None, config)

    async def run() -> None:
        asked = question(samples=8, seed=2**63 - 1)
        await engine.draw(asked, 0, 3)
        await engine.draw(asked, 3, 2)
        await engine.close()

    asyncio.run(run())
    drawn = [body["seed"] for path, body, _ in vllm.asked if path == "/v1/chat/completions"]
    assert drawn == [2**63 - 1, 2]
    assert [(type(key), len(key)) for key in engine._limits] == [(bytes, 32)]
    assert [path for path, _, _ in vllm.asked].count("/tokenize") == 1


def test_log_probabilities_are_vllms_and_checked(vllm: VLLMStandIn) -> None:
    def reply(tokens: Any) -> Any:
        def made(body: dict[str, Any]) -> Any:
            usual = vllm.usual("/v1/chat/completions", body)
            for choice in usual["choices"]:
                choice["logprobs"] = {"content": tokens} if body.get("logprobs") else None
            return 200, json.dumps(usual).encode(), {}

        return made

    vllm.broken["/v1/chat/completions"] = reply([{"token": "7", "logprob": -0.25, "bytes": [55]}])
    given = answer(vllm, question(logprobs=True))
    assert given.generation.logprobs == [[("7", -0.25, ())]] * 3
    assert answer(vllm, question()).generation.logprobs is None
    for wrong in (None, [{"token": "7"}], [{"token": "7", "logprob": float("nan")}], ["7"], {"a": 1}):
        vllm.broken["/v1/chat/completions"] = reply(wrong)
        assert refused(vllm, question(logprobs=True)).status == 503


def test_majority_does_not_ask_the_reward_model(vllm: VLLMStandIn) -> None:
    given = answer(vllm, question(strategy="maj"))
    assert given.chosen.answer == "7"
    assert "/pooling" not in {path for path, _, _ in vllm.asked}


def test_a_sequence_classifier_of_one_label_is_a_reward_model_too(vllm: VLLMStandIn) -> None:
    vllm.broken["/pooling"] = lambda body: reply({"data": [{"data": [1.5]}]})
    assert answer(vllm, question()).chosen.best.reward == 1.5


def test_what_does_not_fit_the_context_is_the_callers_mistake(vllm: VLLMStandIn) -> None:
    long = refused(vllm, question(problem="x" * 2000))
    assert (long.status, long.code) == (400, "context_length_exceeded")
    greedy = refused(vllm, question(max_tokens=1024, may_cut=False))
    assert (greedy.status, greedy.code) == (400, "context_length_exceeded")
    assert "/v1/chat/completions" not in {path for path, _, _ in vllm.asked}


def test_a_busy_endpoint_is_asked_again(vllm: VLLMStandIn) -> None:
    statuses = iter([503, 429, 503])

    def busy(body: dict[str, Any]) -> Any:
        status = next(statuses, None) if body.get("n") else None
        return None if status is None else reply({}, status)

    vllm.broken["/v1/chat/completions"] = busy
    assert answer(vllm, question()).chosen.answer == "8"
    assert next(statuses, None) is None


def test_one_that_stays_away_is_given_up(vllm: VLLMStandIn) -> None:
    path = "/v1/chat/completions"
    vllm.broken[path] = lambda body: only_later(body, reply({"error": {"message": "full"}}, 503))
    away = refused(vllm)
    assert (away.status, away.code, away.retry_after) == (503, "model_unavailable", 5)
    assert away.headers()["x-should-retry"] == "false"  # the client's retries would multiply with ours
    assert [asked for asked, _, _ in vllm.asked].count(path) == endpoint.TRIES
    assert "the policy" in away.message
    assert vllm.url in away.detail
    assert "full" in away.detail


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateways_error_costs_one_retry(vllm: VLLMStandIn, status: int) -> None:
    path = "/v1/chat/completions"
    vllm.broken[path] = lambda body: only_later(body, reply({}, status))
    refused(vllm)
    assert [asked for asked, _, _ in vllm.asked].count(path) == 2


def test_half_a_body_costs_one_retry(vllm: VLLMStandIn) -> None:
    path = "/v1/chat/completions"
    half = reply({}, **{"Content-Length": "1000", "Connection": "close"})
    vllm.broken[path] = lambda body: only_later(body, half)
    assert refused(vllm).code == "model_unavailable"
    assert [asked for asked, _, _ in vllm.asked].count(path) == 2


def test_without_its_reward_model_the_majority_of_what_was_drawn_answers(vllm: VLLMStandIn) -> None:
    vllm.broken["/pooling"] = lambda body: only_later(body, reply({}, 503))
    given = answer(vllm, question())
    assert (given.chosen.answer, given.strategy) == ("7", "maj")
    assert given.degraded == ("the reward model is unavailable: maj instead of rm",)
    assert [path for path, _, _ in vllm.asked].count("/v1/chat/completions") == 1


def test_readiness_follows_both_endpoints(vllm: VLLMStandIn) -> None:
    scorer = VLLMStandIn()

    async def run() -> list[str | None]:
        solver = Solver(RemoteEngine(vllm.url, scorer.url, SolverConfig()), SolverConfig())
        await solver.prepare()
        faults = []
        for part in (None, scorer, None, vllm, None):
            if part is not None:
                part.broken["/v1/models"] = lambda body: reply({}, 500)
            await solver.check()
            faults.append(solver.fault)
            scorer.broken.clear()
            vllm.broken.clear()
        await solver.engine.close()
        return faults

    away = "is unavailable; try again later"
    assert asyncio.run(run()) == [None, f"the reward model {away}", None, f"the policy {away}", None]
    scorer.close()


def test_nobody_listens() -> None:
    async def prepare() -> None:
        await RemoteEngine("http://127.0.0.1:1", None, SolverConfig()).prepare()

    with pytest.raises(Refused) as caught:
        asyncio.run(prepare())
    assert caught.value.detail == "the policy at http://127.0.0.1:1 cannot be reached"


def test_a_slow_endpoint_meets_the_deadline(vllm: VLLMStandIn) -> None:
    def slow(body: dict[str, Any]) -> Any:
        if body.get("n"):
            time.sleep(1.0)

    vllm.broken["/v1/chat/completions"] = slow
    assert refused(vllm, deadline=0.3).status == 504


def reply(value: Any, status: int = 200, **headers: str) -> Any:
    return status, value if isinstance(value, bytes) else json.dumps(value).encode(), headers


def only_later(body: dict[str, Any], given: Any) -> Any:
    """A reply to the question; not to what `prepare` asks."""
    prepared = body.get("max_tokens") == 1 or "1\n" in body["messages"][0]["content"][:2]
    return None if prepared else given


CHOICE = {"message": {"content": "7"}, "finish_reason": "stop"}
NONSENSE: dict[str, tuple[str, Any]] = {
    "not JSON": ("/v1/chat/completions", reply(b"<html>")),
    "no choices": ("/v1/chat/completions", reply({})),
    "too few choices": ("/v1/chat/completions", reply({"choices": [CHOICE]})),
    "too many choices": ("/v1/chat/completions", reply({"choices": [CHOICE] * 99})),
    "choices that are none": ("/v1/chat/completions", reply({"choices": [7, None, []]})),
    "content that is no text": (
        "/v1/chat/completions",
        reply({"choices": [{"message": {"content": 7}}] * 3}),
    ),
    "half a surrogate": ("/v1/chat/completions", reply(b'{"choices": ["\\ud800"]}')),
    "nested too deep": ("/v1/chat/completions", reply(b"[" * 100_000)),
    "a redirect": ("/v1/chat/completions", reply({}, 302, Location="http://127.0.0.1:1/")),
    "compressed": ("/v1/chat/completions", reply({}, **{"Content-Encoding": "gzip"})),
    "no key": ("/v1/chat/completions", reply({"error": "who are you?"}, 401)),
    "gone": ("/v1/chat/completions", reply({"error": {"message": "no such model"}}, 404)),
    "an inner error": (
        "/v1/chat/completions",
        reply({"error": {"message": "a\nb\x1b[31m" + "c" * 999}}, 500),
    ),
    "no counts": ("/tokenize", reply({"count": "many", "max_model_len": True})),
    "no context": ("/tokenize", reply({"count": 7})),
    "no data": ("/pooling", reply({"data": []})),
    "a reward that is NaN": ("/pooling", reply(b'{"data": [{"data": [[NaN]]}]}')),
    "a reward without end": ("/pooling", reply(b'{"data": [{"data": [[1e999]]}]}')),
    "a reward that is text": ("/pooling", reply({"data": [{"data": [["1"]]}]})),
    "a reward that is true": ("/pooling", reply({"data": [{"data": [[True]]}]})),
    "two labels": ("/pooling", reply({"data": [{"data": [0.1, 0.9]}]})),
    "two labels a token": ("/pooling", reply({"data": [{"data": [[0.1, 0.9]]}]})),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_503_and_never_an_answer(vllm: VLLMStandIn, name: str) -> None:
    path, given = NONSENSE[name]
    vllm.broken[path] = lambda body: only_later(body, given)
    if path == "/pooling":
        without = answer(vllm, question())
        assert (without.strategy, without.chosen.answer) == ("maj", "7")
        assert without.degraded == ("the reward model is unavailable: maj instead of rm",)
        return
    error = refused(vllm)
    assert (error.status, error.code) == (503, "model_unavailable")
    assert all(letter.isprintable() for letter in error.detail)


def test_an_endless_reply_is_cut_off(vllm: VLLMStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "LARGEST", 10_000)
    vllm.broken["/v1/chat/completions"] = lambda body: only_later(body, reply(b" " * 20_000))
    assert "more than 10000 bytes" in refused(vllm).detail


def test_a_request_that_vllm_refuses_is_told_in_its_words(vllm: VLLMStandIn) -> None:
    told = reply({"error": {"message": "too many\nimages"}}, 400)
    vllm.broken["/v1/chat/completions"] = lambda body: only_later(body, told)
    error = refused(vllm)
    assert (error.status, error.message) == (400, "the policy refuses the request: too many images")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"/v1/models": reply({"data": []})}, "the policy at {url} answers with no list of models"),
        ({"/v1/models": reply({"data": [{"id": "a\x1b[1m"}]})}, "a model without a name"),
        ({"/v1/chat/completions": reply({}, 404)}, "answers 404 to /v1/chat/completions"),
        (
            {"/tokenize": reply({"count": 1, "max_model_len": 9, "token_strs": ["a"]})},
            "a chat template that does not end its turns",
        ),
        ({"/tokenize": reply({}, 404)}, "the policy at {url} answers 404 to /tokenize"),
        ({"/pooling": reply({}, 404)}, "answers 404 to /pooling"),
    ],
)
def test_what_is_not_vllm_is_known_before_the_first_question(
    vllm: VLLMStandIn, broken: dict[str, Any], said: str
) -> None:
    def always(given: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda body: given

    vllm.broken.update({path: always(given) for path, given in broken.items()})
    assert said.format(url=vllm.url) in refused(vllm).detail


@pytest.mark.parametrize(
    "url", ["", "vllm", "ftp://vllm", "http://", "http://vllm:port", "http://vllm?x=1", "http://u:pw@vllm"]
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(BadConfig, match="--policy-url") as caught:
        RemoteEngine(url, None, SolverConfig())
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_a_url_may_end_in_v1(vllm: VLLMStandIn, ending: str) -> None:
    async def prepare() -> str:
        engine = RemoteEngine(vllm.url + ending, vllm.url + ending, SolverConfig())
        await engine.prepare()
        await engine.close()
        return engine.name

    assert asyncio.run(prepare()) == "stand-in on vLLM"


def test_the_command_waits_for_vllm_and_answers_with_it(tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    own, later = (f"http://127.0.0.1:{port}" for port in ports)
    command = [sys.executable, "-m", "pipelines.cli"]
    urls = ["--policy-url", later, "--reward-model-url", later]
    with subprocess.Popen(
        [*command, "serve", "--port", str(ports[0]), *urls, "--wait", "300"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while status(f"{own}/v2/health/live") != 200:
                assert process.poll() is None
                time.sleep(0.05)
            assert status(f"{own}/v2/health/ready") == 503
            asked = [*command, "ask", "3+4?", "--url", own, "--samples", "3"]
            early = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
            assert (early.returncode, early.stderr.count("\n")) == (2, 1)
            assert "the models are still loading" in early.stderr
            vllm = VLLMStandIn(ports[1])
            assert process.stdout is not None
            assert process.stdout.readline() == f"serving stand-in on vLLM at {own}; stop with Ctrl-C\n"
            assert status(f"{own}/v2/health/ready") == 200
            shown = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
            vllm.close()
            assert shown.stdout.splitlines()[0] == "answer: 8"
            assert "weighted, 30 tokens" in shown.stdout
        finally:
            process.terminate()
        assert process.wait(120) == 0


def status(url: str) -> int:
    try:
        return httpx.get(url, timeout=60).status_code
    except httpx.ConnectError:
        return 0


def test_blocks_of_python_run_one_after_the_other_and_the_response_goes_on(vllm: VLLMStandIn) -> None:
    found = answer(vllm, question(mode="tir", samples=2, max_tokens=800, stop=("\nQ:",)))
    block = "```python\n{}\n```\n```output\n{}\n```\n"
    text = block.format("x = 3 + 4\nprint(x)", "7") + block.format("print(2 * x)", "14") + "so \\boxed{14}"
    assert [one.text for one in found.generation.responses] == [text] * 2
    assert found.chosen.answer == "14"
    assert [one.tool_calls for one in found.generation.responses] == [2, 2]
    assert found.generation.completion_tokens == 9 * 6
    sent = [body for path, body, _ in vllm.asked if path == "/v1/completions"]
    prompt = sent[0]["prompt"]
    assert (sent[0]["n"], sent[0]["stop"], sent[0]["max_tokens"]) == (2, ["\nQ:", "```output"], 800)
    for body in sent[1:]:
        written = bytes(body["prompt"][len(prompt) :]).decode()
        assert body["prompt"][: len(prompt)] == prompt
        assert text.startswith(written)
        assert written.endswith("```\n")
        assert body["max_tokens"] == 800 - len(written)
    assert len({body["seed"] for body in sent}) == 5


@pytest.mark.parametrize(
    ("blocks", "ending", "most", "finish"),
    [(["print(1)"] * 9, "", 2000, "tool_limit"), (["print(1)"] * 9, "", 60, "length"), ([], "7", 60, "stop")],
)
def test_a_response_in_tir_ends_at_its_bounds(
    vllm: VLLMStandIn, blocks: list[str], ending: str, most: int, finish: str
) -> None:
    vllm.context, vllm.blocks, vllm.ending = 4096, blocks, ending
    found = answer(vllm, question(mode="tir", samples=1, strategy="maj", max_tokens=most))
    assert [one.finish_reason for one in found.generation.responses] == [finish]
    assert found.generation.responses[0].tool_calls <= 4


def test_a_program_of_a_response_from_vllm_ends_with_its_question(vllm: VLLMStandIn) -> None:
    vllm.blocks = ["while True: pass"]
    started = time.monotonic()
    late = refused(vllm, question(mode="tir", samples=1, strategy="maj", max_tokens=900), deadline=2)
    assert (late.status, late.code) == (504, "deadline_exceeded")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"count": 5, "max_model_len": 1024, "tokens": ["x"]}),
        ("/v1/completions", {"choices": []}),
        ("/v1/completions", {"choices": [{"text": 7}] * 2}),
    ],
)
def test_what_vllm_says_wrongly_in_tir_is_refused(vllm: VLLMStandIn, path: str, body: dict[str, Any]) -> None:
    vllm.broken[path] = lambda asked: (
        None if "return_token_strs" in asked else (200, json.dumps(body).encode(), {})
    )
    found = refused(vllm, question(mode="tir", samples=2, strategy="maj", max_tokens=60))
    assert (found.status, found.code) == (503, "model_unavailable")
    asked = question(mode="tir", samples=2, strategy="maj", max_tokens=60, logprobs=True)
    del vllm.broken[path]
    assert refused(vllm, asked).param == "logprobs"


def test_it_needs_neither_torch_nor_kfp(tmp_path: Path) -> None:
    """As in the solver's image, which holds none of them."""
    script = (
        "import sys\n"
        "sys.modules.update(torch=None, transformers=None, kfp=None)\n"
        "sys.argv[1:] = ['serve', '--port', '0', '--policy-url', 'http://127.0.0.1:1']\n"
        "from pipelines.cli import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert "the policy at http://127.0.0.1:1 cannot be reached" in result.stderr
