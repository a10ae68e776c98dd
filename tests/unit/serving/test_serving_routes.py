"""Routes and guard on a real HTTP server, with a scripted engine behind them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import jsonschema
import pytest
import uvicorn
from fastapi import FastAPI

from mathloop.errors import SandboxError
from mathloop.serving import routes, solver
from mathloop.serving.config import SolverConfig
from mathloop.serving.guard import Guard
from mathloop.serving.keys import Keys
from mathloop.serving.page import add_page
from mathloop.serving.queueing import Queue
from mathloop.serving.refusals import Refused
from mathloop.serving.request_ids import RequestIds
from mathloop.serving.routes import add_routes
from mathloop.serving.solver import Solver
from mathloop.serving.token_logprobs import TokenLogprob
from tests.unit.serving.standins import ScriptedEngine

KEY = "a-key-that-no-reply-may-hold"
ASKED = {"model": "mathloop", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
CHAT = "/v1/chat/completions"


class Served:
    """A solver behind uvicorn, in a thread of its own."""

    def __init__(self, engine: ScriptedEngine, config: SolverConfig, keys: Keys | None = None) -> None:
        self.engine, self.solver = engine, Solver(engine, config)
        self.solver.prepared = True
        app = FastAPI()
        add_routes(app, self.solver)
        add_page(app)
        app.add_middleware(Guard, keys=keys, body_bytes=config.body_bytes)
        app.add_middleware(RequestIds)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            try:
                await self._server.serve(sockets=[self._socket])
            finally:
                await self.solver.close()  # its processes' pipes must not outlive the loop

        asyncio.run(serve())

    def ask(self, **fields: Any) -> httpx.Response:
        return self.client.post(CHAT, json={**ASKED, **fields})

    def hold(self) -> None:
        """From now on, questions stay at the engine."""
        self.engine.may_go.clear()

    def let_go(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.engine.may_go.set)

    def close(self) -> None:
        self.let_go()
        self._server.should_exit = True
        self._thread.join()
        self.client.close()


Start = Callable[..., Served]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Served] = []

    def begin(engine: ScriptedEngine, key: str | None = None, **settings: Any) -> Served:
        running.append(Served(engine, SolverConfig(**settings), Keys.of(key) if key else None))
        return running[-1]

    yield begin
    for served in running:
        served.close()


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def events(text: str) -> list[Any]:
    """The data of a stream's events; the last one is [DONE]."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert blocks[-1] == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-1]]


def test_a_reply_is_openais_with_the_candidates_beside_it(start: Start) -> None:
    served = start(ScriptedEngine(["7", "8", "7", None], [1.0, 3.0, 2.0, 9.0]))
    reply = served.ask(samples=4, seed=5, strategy="rm").json()
    assert reply["object"] == "chat.completion"
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": "so \\boxed{8}", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert reply["usage"] == {"prompt_tokens": 11, "completion_tokens": 12, "total_tokens": 23}
    told = reply["mathloop"]
    assert (told["answer"], told["strategy"], told["seed"], told["samples"]) == ("8", "rm", 5, 4)
    rows = [(one["answer"], one["votes"], one["reward"], one["samples"]) for one in told["candidates"]]
    assert rows == [("8", 1, 3.0, 1), (None, 0, 9.0, 1), ("7", 2, 2.0, 2)]
    assert told["candidates"][2]["weighted_votes"] == pytest.approx(0.7311 + 0.8808, abs=1e-3)
    assert set(told["seconds"]) == {"queue", "draw", "reward", "total"}
    assert all(value >= 0 for value in told["seconds"].values())


def test_drawing_stops_once_the_vote_is_settled(start: Start) -> None:
    served = start(ScriptedEngine(["7", "7", "7", "8", "7", "7"], [2.0, 3.0]))
    reply = served.ask(samples=8, adaptive=True).json()["mathloop"]
    assert (reply["answer"], reply["samples"], reply["drawn"]) == ("7", 8, 2)
    assert reply["candidates"][0]["samples"] == 2
    split = start(ScriptedEngine(["7", "8"], [2.0, 3.0]))
    assert split.ask(samples=7, adaptive=True).json()["mathloop"]["drawn"] == 7  # never more
    assert split.engine.counts == [2, 1, 1, 1, 1, 1]
    assert split.ask(samples=9, adaptive=False).json()["mathloop"]["drawn"] == 9
    assert served.ask(samples=8, adaptive=True, n=5).json()["mathloop"]["drawn"] == 5
    assert served.engine.counts[-1] == 5  # choices to return come first
    assert served.ask(samples=8, adaptive=True, strategy="greedy", n=1, temperature=0).status_code == 422
    assert served.ask(strategy="greedy").json()["mathloop"]["drawn"] == 1


def test_fewer_are_drawn_while_others_wait_and_never_with_a_seed(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    assert served.ask().json()["mathloop"]["drawn"] == 8  # nobody else is there
    served.hold()
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(served.ask, seed=1)]
        wait_until(lambda: served.engine.at_once == 1)
        waiting += [threads.submit(served.ask) for _ in range(2)]
        wait_until(lambda: served.solver._queue.inside == 3)
        served.let_go()
        drawn = [each.result().json()["mathloop"]["drawn"] for each in waiting]
    assert drawn[0] == 8
    assert min(drawn) == 2
    assert start(ScriptedEngine(["7"]), adaptive="never").ask(seed=1).json()["mathloop"]["drawn"] == 8
    assert start(ScriptedEngine(["7"]), adaptive="always").ask(seed=1).json()["mathloop"]["drawn"] == 2


def test_without_a_reward_model_the_majority_answers(start: Start) -> None:
    told = start(ScriptedEngine(["7", "8", "7"])).ask(samples=3).json()["mathloop"]
    assert (told["answer"], told["strategy"]) == ("7", "maj")
    assert [one["reward"] for one in told["candidates"]] == [None, None]


def test_a_stream_has_role_content_finish_and_done(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    streamed = served.ask(stream=True, strategy="greedy", stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    chunks = events(streamed.text)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "so \\boxed{7}"
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert finishes == [None] * (len(finishes) - 1) + ["stop"]
    assert chunks[-2]["mathloop"]["answer"] == "7"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 14)


def test_a_stream_shows_that_it_lives(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PING_SECONDS", 0.02)
    served = start(ScriptedEngine(["7"]))
    served.hold()
    with served.client.stream("POST", CHAT, json={**ASKED, "stream": True}) as streamed:
        lines = streamed.iter_lines()
        assert "assistant" in next(lines)
        assert [next(lines) for _ in range(3)][1] == ": working"
        served.let_go()
        assert list(lines)[-2] == "data: [DONE]"


@pytest.mark.parametrize("status", [400, 503])
def test_a_failure_before_the_first_byte_is_a_status_also_in_a_stream(start: Start, status: int) -> None:
    engine = ScriptedEngine(["7"])
    engine.failure = Refused(status, "the policy is away", code="model_unavailable")
    failed = start(engine).ask(stream=True)
    assert (failed.status_code, failed.json()["error"]["message"]) == (status, "the policy is away")


def test_a_later_failure_in_a_stream_is_an_error_event(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PING_SECONDS", 0.02)
    engine = ScriptedEngine(["7"])
    engine.failure = Refused(503, "the policy is away", code="model_unavailable")
    served = start(engine)
    served.hold()
    with served.client.stream("POST", CHAT, json={**ASKED, "stream": True}) as streamed:
        lines = streamed.iter_lines()
        assert "assistant" in next(lines)
        served.let_go()
        rest = [line for line in lines if line.startswith("data")]
    assert json.loads(rest[-2].removeprefix("data: "))["error"]["message"] == "the policy is away"


def test_n_is_the_number_of_best_candidates(start: Start) -> None:
    served = start(ScriptedEngine(["7", "8", "7", "9"], [1.0, 3.0, 2.0, 0.0]))
    asked = {"samples": 4, "strategy": "rm"}
    for n, expected in ((1, ["8"]), (3, ["8", "7", "9"]), (4, ["8", "7", "9", "7"])):
        choices = served.ask(n=n, **asked).json()["choices"]
        assert [choice["message"]["content"] for choice in choices] == [
            f"so \\boxed{{{x}}}" for x in expected
        ]
        assert [choice["index"] for choice in choices] == list(range(n))
    chunks = events(served.ask(n=2, stream=True, **asked).text)
    for index, answer in enumerate("87"):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(one["delta"].get("content", "") for one in own) == f"so \\boxed{{{answer}}}"
        assert own[-1]["finish_reason"] == "stop"


def test_ignored_fields_are_listed(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    assert served.ask(user="me", verbosity="low").json()["mathloop"]["ignored"] == ["user", "verbosity"]
    assert served.ask().json()["mathloop"]["ignored"] == []


def test_kserves_path_of_openais_api_is_the_same_api(start: Start) -> None:
    served = start(ScriptedEngine(["7"]), key=KEY)
    assert served.client.post(f"/openai{CHAT}", json=ASKED).status_code == 401
    right = {"Authorization": f"Bearer {KEY}"}
    assert served.client.post(f"/openai{CHAT}", json=ASKED, headers=right).json()["mathloop"]["answer"] == "7"
    assert served.client.post(f"/openai{CHAT}", content="{}", headers=right).status_code == 415
    for path in ("/v1/models", "/v1/models/mathloop"):
        replies = [served.client.get(f"{root}{path}", headers=right) for root in ("", "/openai")]
        assert replies[0].json() == replies[1].json()


def test_the_openapi_document_is_true(start: Start) -> None:
    served = start(ScriptedEngine(["7", None], [1.0]))
    document = served.client.get("/openapi.json").json()
    bodies: dict[str, Any] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = ASKED if method == "post" else None
            reply = served.client.request(method, path.replace("{name}", "mathloop"), json=body)
            schema = operation["responses"][str(reply.status_code)]["content"]["application/json"]["schema"]
            jsonschema.validate(reply.json(), schema, jsonschema.Draft202012Validator)
            bodies[path] = operation.get("requestBody")
    assert {CHAT, f"/openai{CHAT}", "/v1/models", "/v2/health/ready"} <= set(bodies)
    request = jsonschema.Draft202012Validator(bodies[CHAT]["content"]["application/json"]["schema"])
    for fields in (
        {}, {"n": 3}, {"n": 65}, {"stop": "x"}, {"stop": 7}, {"stop": list("abcdefghijklmnopq")},
        {"seed": None}, {"samples": 0}, {"strategy": "best"}, {"mode": "tir"}, {"temperature": 3},
        {"logprobs": 1}, {"logprobs": False}, {"tools": []}, {"tools": [{}]}, {"user": 7},
        {"stratgy": "maj"}, {"model": "gpt-4"}, {"messages": []},
        {"stream_options": {"include_usage": "yes"}}, {"messages": [{"role": "tool", "content": "x"}]},
    ):  # fmt: skip
        reply = served.ask(**fields)
        assert request.is_valid({**ASKED, **fields}) == (reply.status_code == 200), fields
        if reply.status_code != 200:
            responses = document["paths"][CHAT]["post"]["responses"]
            schema = responses[str(reply.status_code)]["content"]["application/json"]["schema"]
            jsonschema.validate(reply.json(), schema)


def test_log_probabilities_are_those_of_the_choice(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    served = start(ScriptedEngine(["7", "8", "8"]))
    draw = served.engine.draw

    async def with_logprobs(question: Any, begin: int, count: int) -> Any:
        made = await draw(question, begin, count)
        rows = [[TokenLogprob(one.answer or "", -0.5)] for one in made.responses]
        return replace(made, logprobs=rows if question.logprobs else None)

    monkeypatch.setattr(served.engine, "draw", with_logprobs)
    (choice,) = served.ask(samples=3, logprobs=True).json()["choices"]
    row = {"token": "8", "logprob": -0.5, "bytes": [56], "top_logprobs": []}
    assert choice["logprobs"] == {"content": [row], "refusal": None}
    assert served.ask(samples=3).json()["choices"][0]["logprobs"] is None
    told = events(served.ask(samples=3, logprobs=True, stream=True).text)
    assert [one["choices"][0]["logprobs"] for one in told][-1]["content"] == [row]


def test_one_question_is_at_the_engine_and_the_queue_is_bounded(start: Start) -> None:
    served = start(ScriptedEngine(["7"]), queue=2)
    served.hold()
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(served.ask) for _ in range(3)]
        wait_until(lambda: served.solver._queue.inside == 3)
        for stream in (False, True):
            refused = served.ask(stream=stream)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "queue_full"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        served.let_go()
        assert [each.result().status_code for each in waiting] == [200] * 3
    assert served.engine.most_at_once == 1
    assert served.ask().status_code == 200


def test_an_engine_that_can_is_asked_side_by_side(start: Start) -> None:
    served = start(ScriptedEngine(["7"], parallel=4))
    served.hold()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(served.ask) for _ in range(4)]
        wait_until(lambda: served.engine.at_once == 4)
        served.let_go()
        assert [each.result().status_code for each in waiting] == [200] * 4


def test_the_deadline_covers_the_wait_and_stops_the_work(start: Start) -> None:
    served = start(ScriptedEngine(["7"]), deadline=0.1)
    served.hold()
    late = served.ask()
    assert late.status_code == 504
    assert late.headers["x-should-retry"] == "false"
    assert "0.1 seconds" in late.json()["error"]["message"]
    assert served.engine.stopped == 1
    wait_until(lambda: served.solver._queue.inside == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_hangs_up_stops_the_work(start: Start, stream: bool) -> None:
    served = start(ScriptedEngine(["7"]))
    served.hold()
    body = json.dumps({**ASKED, "stream": stream})
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_until(lambda: served.engine.at_once == 1)
    wait_until(lambda: served.engine.stopped == 1)
    served.let_go()
    assert served.ask().status_code == 200


def test_whoever_hangs_up_in_the_queue_leaves_it(start: Start) -> None:
    served = start(ScriptedEngine(["7"]), queue=1)
    served.hold()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(served.ask)
        wait_until(lambda: served.engine.at_once == 1)
        with pytest.raises(httpx.ReadTimeout):
            served.client.post(CHAT, json=ASKED, timeout=httpx.Timeout(30, read=0.1))
        wait_until(lambda: served.solver._queue.inside == 1)
        served.let_go()
        assert first.result().status_code == 200
    assert served.engine.drawn == 1


@pytest.mark.parametrize("failure", [RuntimeError(f"secret {KEY}"), SandboxError(f"secret {KEY}")])
def test_what_fails_inside_is_told_to_the_log_alone(start: Start, failure: Exception) -> None:
    engine = ScriptedEngine(["7"])
    engine.failure = failure
    broken = start(engine).ask()
    assert broken.status_code == 500
    assert broken.json()["error"]["type"] == "server_error"
    assert KEY not in broken.text


def test_before_the_models_are_there_questions_are_503(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    assert served.client.get("/v2/health/ready").status_code == 200
    served.solver.prepared = False
    assert served.ask().status_code == 503
    assert served.client.get("/v2/health/ready").status_code == 503


def test_it_is_ready_only_while_its_parts_answer_and_recovers(start: Start) -> None:
    served = start(ScriptedEngine(["7"]), check_seconds=0.01)
    assert served._loop is not None
    watch = asyncio.run_coroutine_threadsafe(served.solver.watch(), served._loop)

    def ready() -> tuple[int, Any]:
        reply = served.client.get("/v2/health/ready")
        return reply.status_code, reply.json()

    for fault in (Refused(503, "the sandbox is unavailable"), RuntimeError("secret")):
        served.engine.fault = fault
        wait_until(lambda: ready()[0] == 503)
        assert ready()[1]["fault"] in ("the sandbox is unavailable", "a part fails")
        assert served.ask().status_code == 200  # whoever asks may still be lucky
        served.engine.fault = None
        wait_until(lambda: ready() == (200, {"ready": True}))
    watch.cancel()


@pytest.mark.parametrize(
    "failure",
    [Refused(503, "away", code="model_unavailable"), Refused(500, "not finite"), SandboxError("secret")],
)
def test_without_rewards_the_majority_answers_and_the_reply_says_so(start: Start, failure: Exception) -> None:
    engine = ScriptedEngine(["7", "8", "7"], [1.0, 3.0, 2.0])
    served = start(engine)
    assert served.ask(samples=3, strategy="rm").json()["mathloop"]["degraded"] == []
    engine.scoring = failure
    for _ in range(3):
        told = served.ask(samples=3, strategy="rm").json()["mathloop"]
        assert (told["answer"], told["strategy"]) == ("7", "maj")
        assert told["degraded"] == ["the reward model is unavailable: maj instead of rm"]
        assert [one["reward"] for one in told["candidates"]] == [None, None]
    assert (engine.drawn, engine.scored) == (4, 2)


def test_a_stalled_reward_model_costs_its_time_and_blocks_no_majority(start: Start) -> None:
    engine = ScriptedEngine(["7", "8", "7"], [1.0, 3.0, 2.0])
    engine.scores_apart = True
    served = start(engine, queue=0, reward_seconds=0.5, deadline=30)
    engine.scoring_may_go.clear()
    with ThreadPoolExecutor(1) as threads:
        ranked = threads.submit(served.ask, samples=3, strategy="rm")
        wait_until(lambda: engine.scored == 1)
        assert served.ask(samples=3, strategy="maj").json()["mathloop"]["degraded"] == []
        assert ranked.result().json()["mathloop"]["strategy"] == "maj"


def test_models(start: Start) -> None:
    served = start(ScriptedEngine(["7"], [1.0]))
    (model,) = served.client.get("/v1/models").json()["data"]
    assert (model["id"], model["object"]) == ("mathloop", "model")
    assert model["mathloop"]["strategies"] == ["greedy", "maj", "rm", "weighted"]
    assert served.client.get("/v1/models/mathloop").json() == model
    assert served.client.get("/v1/models/gpt-4").status_code == 404


def test_a_key_is_asked_for_where_one_is_set(start: Start) -> None:
    served = start(ScriptedEngine(["7"]), key=KEY)
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        refused = served.client.post(CHAT, json=ASKED, headers=given)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert served.client.get("/v1/models", headers=given).status_code == 401
        assert KEY not in refused.text
    right = {"Authorization": f"Bearer {KEY}"}
    assert served.client.post(CHAT, json=ASKED, headers=right).status_code == 200
    assert served.client.get("/v2/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/repository/models/mathloop/unload", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v2/models/mathloop/versions/1/infer", 404),
        ("GET", "/v2/models/mathloop/infer", 405),
        ("GET", "/docs", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", CHAT, 405),
        ("OPTIONS", CHAT, 405),
        ("DELETE", "/v1/models/mathloop", 405),
    ],
)
def test_there_are_no_other_doors(start: Start, method: str, path: str, status: int) -> None:
    refused = start(ScriptedEngine(["7"])).client.request(method, path)
    assert refused.status_code == status
    message = refused.json()["error"]["message"]
    if status == 405:
        allowed = "GET, HEAD" if path == "/v1/models/mathloop" else "POST"
        assert refused.headers["allow"] == allowed
        assert message == f"{method} is not allowed for this path; use {allowed.partition(',')[0]}"
    else:
        assert message == "unknown path; use POST /v1/chat/completions (GET /openapi.json has all)"


def test_a_page_of_another_site_cannot_ask(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    body = json.dumps(ASKED)
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        refused = served.client.post(CHAT, content=body, headers={"Content-Type": kind})
        assert refused.status_code == 415
        assert "curl: -H 'Content-Type: application/json'" in refused.json()["error"]["message"]
    kind = "application/json; charset=utf-8"
    assert served.client.post(CHAT, content=body, headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_bounded_announced_or_not(start: Start, chunked: bool) -> None:
    served = start(ScriptedEngine(["7"]), body_bytes=5000)
    body = json.dumps({**ASKED, "user": "x" * 6000}).encode()
    content: Any = iter([body[:100], body[100:]]) if chunked else body
    headers = {"Content-Type": "application/json"}
    refused = served.client.post(CHAT, content=content, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
    assert served.engine.questions == []
    fits = json.dumps({**ASKED, "user": "x" * 4000}).encode()
    assert served.client.post(CHAT, content=iter([fits]), headers=headers).status_code == 200


def test_mistakes_are_openais_error_objects(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    error = served.ask(strategy="best")
    assert error.status_code == 422
    assert error.json()["error"] == {
        "message": "strategy: expected greedy, maj, rm or weighted, found text 'best'",
        "type": "invalid_request_error",
        "param": "strategy",
        "code": None,
    }
    assert (
        served.client.post(CHAT, content=b"{", headers={"Content-Type": "application/json"}).status_code
        == 400
    )


def test_a_body_that_does_not_come_is_not_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.1)
    served = start(ScriptedEngine(["7"]))
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    )
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(head.encode())
    assert served.ask().status_code == 200
    assert served.engine.drawn == 1


def test_a_stream_tells_its_progress_only_where_it_is_asked_to(start: Start) -> None:
    served = start(ScriptedEngine(["7", "8", "7"], [1.0, 3.0, 2.0]))
    told = events(served.ask(samples=3, stream=True, stream_options={"include_progress": True}).text)
    progress = [one["mathloop"]["progress"] for one in told if "progress" in one.get("mathloop", {})]
    assert [one["stage"] for one in progress] == ["queue", "draw", *["response"] * 3, "rewards"]
    assert progress[0]["ahead"] == 0
    assert [(one["number"], one["answer"]) for one in progress[2:5]] == [(0, "7"), (1, "8"), (2, "7")]
    assert progress[5]["rewards"] == [1.0, 3.0, 2.0]
    assert all(one["choices"][0]["delta"] in ({}, {"role": "assistant", "content": ""}) for one in told[:7])
    assert told[-1]["mathloop"]["answer"] == "7"
    usual = events(served.ask(samples=3, stream=True).text)
    assert not any("progress" in one.get("mathloop", {}) for one in usual)


def test_responses_are_told_before_the_answer_and_the_place_in_the_queue(start: Start) -> None:
    served = start(ScriptedEngine(["7"]))
    served.hold()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask)
        wait_until(lambda: served.engine.at_once == 1)
        fields = {**ASKED, "stream": True, "stream_options": {"include_progress": True}}
        with served.client.stream("POST", CHAT, json=fields) as reply:
            lines = (line for line in reply.iter_lines() if line.startswith("data: {"))
            told = [json.loads(next(lines)[6:]) for _ in range(2)]
            assert told[1]["mathloop"]["progress"] == {"stage": "queue", "ahead": 1}
            served.let_go()
            rest = [json.loads(line[6:]) for line in lines]
        assert first.result().status_code == 200
    assert rest[-1]["mathloop"]["answer"] == "7"


def test_the_reply_says_why_its_answer_was_chosen(start: Start) -> None:
    served = start(ScriptedEngine(["7", "8", "7", None], [1.0, 3.0, 2.0, 9.0]))
    reasons = {
        strategy: served.ask(samples=4, strategy=strategy).json()["mathloop"]["reason"]
        for strategy in ("maj", "rm", "weighted")
    }
    assert reasons["maj"].endswith("most responses give: 2 votes; the next, 8, has 1 vote")
    assert reasons["rm"].endswith("highest reward: 3.00 (1 vote); the next, 7, has 2.00 (2 votes)")
    assert reasons["weighted"].endswith("σ(reward): 1.61 (2 votes); the next, 8, has 0.95 (1 vote)")
    assert "temperature 0" in served.ask(strategy="greedy").json()["mathloop"]["reason"]
    one = start(ScriptedEngine(["7"])).ask(samples=3).json()["mathloop"]["reason"]
    assert one == "maj: 3 of 3 responses give this answer, and none gives another"
    none = start(ScriptedEngine([None])).ask(samples=3).json()["mathloop"]["reason"]
    assert none == "no response gave a final answer"


def test_every_reply_names_its_request_and_the_log_does_too(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    served = start(ScriptedEngine(["7"]), key=KEY)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = {"X-Request-Id": "gateway-17", "traceparent": trace, "Authorization": f"Bearer {KEY}"}
    with caplog.at_level("INFO", "mathloop.serving"):
        reply = served.client.post(CHAT, json=ASKED, headers=own)
    assert reply.headers["x-request-id"] == "gateway-17"
    assert reply.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert reply.headers["traceparent"].endswith("-01")
    assert "b7ad6b7169203331" not in reply.headers["traceparent"]
    line = json.loads(caplog.messages[-1])
    assert (line["request_id"], line["trace_id"]) == ("gateway-17", "0af7651916cd43dd8448eb211c80319c")
    forged = {"X-Request-Id": "a\tb" * 90, "traceparent": "00-0-0-0"}
    refused = served.client.post(CHAT, json=ASKED, headers=forged)
    assert refused.status_code == 401
    assert len(refused.headers["x-request-id"]) == 32
    assert len(refused.headers["traceparent"]) == 55


def test_the_place_in_the_queue_is_told_again_when_it_changes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "QUEUE_SECONDS", 0.02)
    served = start(ScriptedEngine(["7"]))
    served.hold()
    fields = {**ASKED, "stream": True, "stream_options": {"include_progress": True}}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask)
        wait_until(lambda: served.solver._queue.inside == 1)
        other = httpx.Client(base_url=served.client.base_url, timeout=30)
        with (
            other.stream("POST", CHAT, json=fields),
            served.client.stream("POST", CHAT, json=fields) as reply,
        ):
            lines = (line for line in reply.iter_lines() if "progress" in line)
            assert '"ahead":2' in next(lines)
            other.close()  # the one before hangs up
            assert '"ahead":1' in next(lines)
            served.let_go()
            assert '"stage":"draw"' in next(lines)
        assert first.result().status_code == 200


def test_places_ahead_are_those_that_have_their_turn_before() -> None:
    async def check() -> None:
        queue = Queue(1, 20)
        places = [queue.enter(client) for client in "aabacbca"]
        ahead = {place: queue.ahead_of(place) for place in places}
        order = sorted(places, key=lambda place: ahead[place])
        assert [ahead[place] for place in order] == [0, *range(1, 8)]
        for place in order:
            assert place.began is not None
            place.leave()

    asyncio.run(check())
