"""`mathloop serve` and `mathloop ask` as processes, on a model that has learned one sum, more or less."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from mathloop.records import write_rows
from mathloop.registry import Registry
from mathloop.storage import open_store

COMMAND = [sys.executable, "-m", "pipelines.cli"]
PROBLEM = "What is 3 plus 4?"
ASKED = {"model": "mathloop", "messages": [{"role": "user", "content": PROBLEM}]}
KEY = "a-key-that-nothing-may-print"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store at runs/store: a champion that knows one sum, and a reward model of chance."""
    import torch

    from mathloop.models.loading import new_reward_model
    from mathloop.training import pretrain
    from mathloop.training.config import PretrainConfig

    folder = tmp_path_factory.mktemp("serving")
    rng = random.Random(3)
    said = [7 if rng.random() < 0.75 else 8 for _ in range(3000)]
    rows = [
        {"problem": PROBLEM, "solution": f"3+4={n}.\nThe answer is \\boxed{{{n}}}.", "mode": "cot"}
        for n in said
    ]
    corpus, policy = folder / "corpus.parquet", folder / "policy"
    write_rows(corpus, rows)
    config = PretrainConfig(vocabulary=400, hidden=64, layers=2, heads=2, steps=200, batch_size=16)
    pretrain.run(corpus=corpus, model=policy, work=folder / "work", config=config, seed=1)
    torch.manual_seed(2)
    scorer, tokenizer = new_reward_model(policy)
    scorer.save(folder / "reward_model", tokenizer)
    store = open_store(str(folder / "runs" / "store"))
    for name in ("policy", "reward_model"):
        store.publish(folder / name, f"rounds/r0/{name}")
    names = "rounds/r0/policy", "rounds/r0/reward_model"
    Registry(store).promote(*names, round_id="r0", expected=None, base="rounds/r0/policy", metrics={})
    return folder


class Server:
    """`mathloop serve` on a free port, up when it has said so."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=(folder / "serve.log").open("w"),
            text=True,
            env={**os.environ, **environment},
        )
        self.log = folder / "serve.log"
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        assert self.said, self.log.read_text()
        self.url = self.said.split(" at ")[1].split(";")[0]
        self.port = int(self.url.rpartition(":")[2])

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """As curl does it: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        try:
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def metric(self, name: str) -> float:
        text = self.request("GET", "/metrics")[2].decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    running = Server(place)
    yield running
    assert running.end() == 0
    log = running.log.read_text()
    assert "Traceback" not in log, log
    assert PROBLEM not in log


def ask(
    *arguments: str, folder: Path, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "ask", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_it_says_who_serves_where(server: Server) -> None:
    assert server.said == f"serving champion 0 (round r0) at {server.url}; stop with Ctrl-C\n"


def test_kserves_health_routes_are_there(server: Server) -> None:
    for path, said in (
        ("/", {"status": "alive"}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/mathloop/ready", {"name": "mathloop", "ready": True}),
    ):
        status, _, body = server.request("GET", path)
        assert (status, json.loads(body)) == (200, said)
    status, headers, body = server.request("GET", "/", Accept="text/html")
    assert (status, body[:15]) == (200, b"<!doctype html>")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert server.request("POST", "/v2/repository/models/mathloop/unload")[0] == 404
    assert server.request("GET", "/v2/health/ready")[0] == 200


def test_curl_gets_the_answer_and_its_rivals(server: Server) -> None:
    asked = {"samples": 16, "seed": 1, "strategy": "rm"}
    status, _, body = server.request("POST", "/v1/chat/completions", {**ASKED, **asked})
    assert status == 200
    told = json.loads(body)["mathloop"]
    assert told["strategy"] == "rm"
    assert sum(one["samples"] for one in told["candidates"]) == 16
    rewards = [one["reward"] for one in told["candidates"] if one["answer"] is not None]
    assert told["candidates"][0]["reward"] == max(rewards)
    again = server.request("POST", "/v1/chat/completions", {**ASKED, **asked})
    assert json.loads(again[2])["mathloop"]["candidates"] == told["candidates"]


def test_openais_client_asks_and_streams(server: Server) -> None:
    client = server.client()
    assert [model.id for model in client.models.list()] == ["mathloop"]
    extra = {"strategy": "maj", "samples": 24, "mode": "cot"}
    messages: Any = ASKED["messages"]
    whole = client.chat.completions.create(model="mathloop", messages=messages, seed=1, extra_body=extra)
    content = whole.choices[0].message.content
    assert content is not None
    assert "\\boxed{7}" in content
    assert whole.model_extra is not None
    assert whole.model_extra["mathloop"]["answer"] == "7"
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 24
    stream = client.chat.completions.create(
        model="mathloop",
        messages=messages,
        seed=1,
        extra_body=extra,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage


def test_openais_client_understands_refusals(server: Server) -> None:
    messages: Any = ASKED["messages"]
    create = server.client().chat.completions.create
    with pytest.raises(openai.NotFoundError):
        create(model="gpt-4", messages=messages)
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="mathloop", messages=messages, logprobs=True, frequency_penalty=1.0)
    assert caught.value.param == "frequency_penalty"
    with pytest.raises(openai.UnprocessableEntityError):
        create(model="mathloop", messages=messages, extra_body={"strategy": "best"})
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="mathloop", messages=[{"role": "user", "content": "1 + " * 2000 + "1"}])
    assert caught.value.code == "context_length_exceeded"


def test_ask_shows_candidates_with_votes_and_rewards(server: Server, place: Path) -> None:
    shown = ask(
        PROBLEM, "--url", server.url, "--samples", "24", "--seed", "1", "--strategy", "maj", folder=place
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == "answer: 7"
    assert any(line.endswith("answer is \\boxed{7}.") for line in lines)
    head = next(at for at, line in enumerate(lines) if "votes" in line)
    rows = [line.split() for line in lines[head + 1 : lines.index("", head)]]
    assert rows[0][:2] == ["▸", "7"]
    assert sum(int(row[-3]) for row in rows) <= 24
    assert lines[-1].startswith("maj, ")
    assert lines[-1].endswith("champion 0 (round r0)")
    ranked = ask("-", "--url", server.url, "--seed", "1", "--json", folder=place, stdin=PROBLEM)
    reply = json.loads(ranked.stdout)
    assert reply["mathloop"]["strategy"] == "weighted"
    assert all(isinstance(one["reward"], float) for one in reply["mathloop"]["candidates"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([" "], "the problem is empty"),
        (["-"], "the problem is empty"),
        (["x", "--strategy", "best"], "strategy: expected greedy, maj, rm or weighted"),
        (["x", "--mode", "prose"], "mode: expected cot or tir"),
        (["x", "--samples", "65"], "samples: expected a whole number from 1 to 64"),
        (["x", "--samples", "0"], "samples"),
        (["x", "--url", "http://127.0.0.1:1"], "no server at http://127.0.0.1:1"),
        (["x", "--url", "127.0.0.1:8080"], "expected http://host:port"),
        (["x" * 20_000], "context has 1024"),
    ],
)
def test_ask_refuses_in_one_line(server: Server, place: Path, arguments: list[str], said: str) -> None:
    where = [] if "--url" in arguments else ["--url", server.url]
    shown = ask(*arguments, *where, folder=place)
    assert (shown.returncode, shown.stdout) == (2, "")
    (line,) = shown.stderr.splitlines()
    assert line.startswith("mathloop: error: ")
    assert said in line


def test_eight_at_once_are_all_answered_and_counted(server: Server) -> None:
    before = server.metric("mathloop_candidates_total")
    answers = server.metric("mathloop_request_seconds_count")

    def one(seed: int) -> int:
        return server.request("POST", "/v1/chat/completions", {**ASKED, "samples": 4, "seed": seed})[0]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(8))) == [200] * 8
    assert server.metric("mathloop_candidates_total") - before == 32
    assert server.metric("mathloop_request_seconds_count") - answers == 8
    assert server.metric("mathloop_queue_length") == 0
    assert server.metric("mathloop_generated_tokens_total") > 0


LONG = {**ASKED, "samples": 64, "mode": "cot", "temperature": 2.0, "max_tokens": 900}
"""A hot model writes on to the end: seconds of work."""


def begin(server: Server, body: Any) -> socket.socket:
    """Sends a question and does not wait for its answer."""
    data = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        "Host: x",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
    ]
    client.sendall("\r\n".join([*head, "", ""]).encode() + data)
    return client


def test_whoever_hangs_up_does_not_hold_the_next_one_up(server: Server) -> None:
    begun = server.metric("mathloop_candidates_total")
    client = begin(server, LONG)
    time.sleep(0.1)
    client.close()
    assert server.request("POST", "/v1/chat/completions", {**ASKED, "strategy": "greedy"})[0] == 200
    assert server.metric("mathloop_candidates_total") - begun == 1


def test_sigterm_ends_what_was_begun_and_then_the_server(place: Path) -> None:
    running = Server(place)
    client = begin(running, {**LONG, "samples": 16, "stream": True})
    received = bytearray(client.recv(4096))
    assert b"200 OK" in received
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port), timeout=5)
    while part := client.recv(65536):
        received += part
    assert b"data: [DONE]" in received
    assert b'"mathloop"' in received
    assert running.process.wait(60) == 0  # of the first signal; a second one could come too late


def test_a_kill_ends_it_at_once_and_leaves_the_port(place: Path) -> None:
    running = Server(place)
    client = begin(running, LONG)
    time.sleep(0.2)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    with suppress(ConnectionResetError):  # where it had not read all of the request
        assert client.recv(1) == b""
    again = Server(place, "--port", str(running.port))
    assert again.request("GET", "/v2/health/ready")[0] == 200
    assert again.end(signal.SIGINT) == 0


def test_a_deadline_is_a_504(place: Path) -> None:
    running = Server(place, "--deadline", "1")
    with ThreadPoolExecutor(12) as threads:
        asked = [threads.submit(running.request, "POST", "/v1/chat/completions", LONG) for _ in range(12)]
    late = [body for status, _, body in (each.result() for each in asked) if status == 504]
    assert late
    assert json.loads(late[-1])["error"]["code"] == "deadline_exceeded"
    assert running.end() == 0


def test_folders_and_a_key(place: Path) -> None:
    running = Server(place, "--model", "policy", MATHLOOP_API_KEY=KEY)
    assert running.request("GET", "/v2/health/ready")[0] == 200
    assert running.request("POST", "/v1/chat/completions", ASKED)[0] == 401
    with pytest.raises(openai.AuthenticationError):
        running.client("wrong").models.list()
    (model,) = running.client(KEY).models.list()
    assert model.model_extra is not None
    assert model.model_extra["mathloop"]["strategies"] == ["greedy", "maj"]
    assert ask(PROBLEM, "--url", running.url, folder=place).returncode == 2
    shown = ask(PROBLEM, "--url", running.url, folder=place, MATHLOOP_API_KEY=KEY)
    assert shown.returncode == 0
    assert "maj, " in shown.stdout
    assert running.end() == 0
    assert KEY not in running.log.read_text() + shown.stdout


def test_a_server_that_is_not_vllm_is_no_policy(server: Server, place: Path) -> None:
    refused = subprocess.run(
        [*COMMAND, "serve", "--port", "0", "--policy-url", server.url],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"the policy at {server.url} answers 404 to /tokenize" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--store", "nothing"], "nothing has no champion yet; make one with `mathloop run`"),
        (["--store", "s3://bucket/x"], "MATHLOOP_S3_ENDPOINT"),
        (["--model", "nothing"], "nothing: there is no such folder"),
        (["--model", "policy", "--reward-model", "policy"], "no reward head"),
        (["--model", "policy", "--store", "runs/store"], "--store and --model each select a policy"),
        (["--reward-model", "reward_model"], "--reward-model needs --model"),
        (["--policy-url", "http://127.0.0.1:1"], "the policy at http://127.0.0.1:1 cannot be reached"),
        (["--policy-url", "nowhere"], "--policy-url nowhere: not a server's URL"),
        (["--host", "host.invalid"], "--host host.invalid is not an address of this machine"),
        (["--port", "70000"], "'--port': "),
        (["--deadline", "0"], "--deadline"),
    ],
)
def test_serve_refuses_in_one_line_and_leaves_nothing(place: Path, arguments: list[str], said: str) -> None:
    before = sorted(place.rglob("*"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATHLOOP_")}
    port = [] if "--port" in arguments else ["--port", "0"]
    refused = subprocess.run(
        [*COMMAND, "serve", *arguments, *port],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith("mathloop: error: ")
    assert said in line
    assert sorted(place.rglob("*")) == before


def test_a_taken_port_is_refused_before_anything_is_loaded(server: Server, place: Path) -> None:
    arguments = ["--port", str(server.port), "--store", "nothing"]
    refused = subprocess.run(
        [*COMMAND, "serve", *arguments], cwd=place, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 2
    said = f"port {server.port} of 127.0.0.1: address already in use; choose another --port or --host"
    assert refused.stderr == f"mathloop: error: {said}\n"


def test_an_empty_key_is_no_key(place: Path) -> None:
    refused = subprocess.run(
        [*COMMAND, "serve", "--port", "0"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MATHLOOP_API_KEY": " "},
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "MATHLOOP_API_KEY: not a key" in refused.stderr
