"""Stand-ins: an engine that says what it is told, and a real HTTP server that plays vLLM's API."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from mathloop.records import Response
from mathloop.serving.engines import Generation
from mathloop.serving.questions import MODES, Question
from tests.quiet_server import QuietServer


def response(answer: str | None, reward: float | None = None, text: str | None = None) -> Response:
    written = text or ("no idea" if answer is None else f"so \\boxed{{{answer}}}")
    return Response("question", 0, "cot", written, answer=answer, reward=reward, tokens=3)


class ScriptedEngine:
    """Gives the answers of a list, one after another; waits where it is told to."""

    name = "a script"
    scores_apart = False
    modes = MODES

    def __init__(
        self, answers: Sequence[str | None], rewards: Sequence[float] | None = None, parallel: int = 1
    ) -> None:
        self.answers, self.scores, self.parallel = answers, rewards, parallel
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.failure: Exception | None = None
        self.fault: Exception | None = None
        self.scoring: Exception | None = None
        self.scoring_may_go = asyncio.Event()
        self.scoring_may_go.set()
        self.scored = 0
        self.drawn = self.stopped = self.most_at_once = self.at_once = 0
        self.questions: list[Question] = []
        self.counts: list[int] = []
        """Responses of each draw."""

    @property
    def has_reward_model(self) -> bool:
        return self.scores is not None

    async def prepare(self) -> None:
        pass

    async def check(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def draw(self, question: Question, begin: int, count: int) -> Generation:
        self.questions.append(question)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_go.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        finally:
            self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        self.drawn += 1
        given = [self.answers[at % len(self.answers)] for at in range(begin, begin + count)]
        self.counts.append(count)
        return Generation([response(answer) for answer in given], 11, 3 * count, question.seed)

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        assert self.scores is not None
        self.scored += 1
        await self.scoring_may_go.wait()
        if self.scoring is not None:
            raise self.scoring
        return [self.scores[at % len(self.scores)] for at in range(len(responses))]

    async def close(self) -> None:
        pass


TEMPLATE = ("<|im_start|>", "user", "Ċ", "1", "<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ", "2")
Reply = tuple[int, bytes, dict[str, str]]


class VLLMStandIn:
    """Answers as vLLM 0.32 was seen to, with a policy that says 7 and a reward model that likes short texts.

    `broken[path]` takes a path over: it maps a request to (status, body, headers), to a function that writes
    to the connection itself, or to None for "as usual".
    """

    def __init__(self, port: int = 0) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.broken: dict[str, Callable[[dict[str, Any]], Reply | Callable[[Any], None] | None]] = {}
        self.closing = threading.Event()
        self.context = 1024
        self.blocks = ["x = 3 + 4\nprint(x)", "print(2 * x)"]
        """Programs of a response in tir, one after the output of the other."""
        self.ending = "so \\boxed{14}"
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body: dict[str, Any]) -> None:
                owner.asked.append((self.path, body, dict(self.headers.items())))
                broken = owner.broken.get(self.path)
                given = broken(body) if broken is not None else None
                if callable(given):
                    given(self)
                    self.close_connection = True
                    return
                status, data, headers = given or (200, json.dumps(owner.usual(self.path, body)).encode(), {})
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = QuietServer(("127.0.0.1", port), Handler)
        self._server.owner = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def usual(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/v1/models":
            return {"object": "list", "data": [{"id": "stand-in", "max_model_len": self.context}]}
        if path == "/tokenize" and "prompt" in body:
            return {"count": len(body["prompt"].encode()), "tokens": list(body["prompt"].encode())}
        if path == "/tokenize":
            after = [] if body.get("continue_final_message") else ["<|im_end|>", "Ċ"]
            count = sum(len(message["content"]) for message in body["messages"])
            tokens = {"tokens": [0] * count, "token_strs": [*TEMPLATE, *after]}
            return {"count": count, "max_model_len": self.context, **tokens}
        if path == "/v1/completions":  # a token is a byte; it computes, looks at the output, and goes on
            text = bytes(filter(None, body["prompt"])).decode()
            outputs = text.count("```output\n")
            block = self.blocks[outputs] if outputs < len(self.blocks) else None
            choice = {
                "text": self.ending if block is None else f"```python\n{block}\n```\n",
                "finish_reason": "stop",
                "stop_reason": None if block is None else "```output",
            }
            choices = [choice] * body["n"]
            return {"choices": choices, "usage": {"completion_tokens": 9 * body["n"]}}
        if path == "/v1/chat/completions":
            texts = ["3+4=7. \\boxed{7}"] * (body.get("n", 1) - 1) + ["\\boxed{8}"]
            choices = [
                {"index": at, "message": {"content": text}, "finish_reason": "stop"}
                for at, text in enumerate(texts)
            ]
            usage = {"prompt_tokens": 5, "completion_tokens": 10 * len(texts)}
            return {"choices": choices, "usage": usage}
        assert path == "/pooling"
        length = len(body["messages"][-1]["content"])
        return {"data": [{"index": 0, "data": [[100.0], [9.0], [20.0 - length]]}]}

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
