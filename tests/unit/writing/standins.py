"""Stand-ins: a writer that follows a script, and an HTTP server that plays OpenAI's API, with faults."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from mathloop.records import Mode
from mathloop.writing.writers import Text, Writer
from tests.quiet_server import QuietServer

Script = Callable[[str], str]
"""Prompt → text."""


class ScriptedWriter(Writer):
    """Writes what the script says; `dies_at` ends it, like a kill, when that many texts are written."""

    digest = "a script"

    def __init__(self, script: Script, dies_at: int | None = None) -> None:
        self._script, self._dies_at = script, dies_at
        self.asked: list[str] = []

    def close(self) -> None:
        """Holds nothing."""

    def write(
        self, prompts: Sequence[str], temperature: float, seed: int, mode: Mode = "cot"
    ) -> Iterator[list[tuple[int, Text]]]:
        for number, prompt in enumerate(prompts):
            if self._dies_at is not None and len(self.asked) == self._dies_at:
                raise KeyboardInterrupt
            self.asked.append(prompt)
            yield [(number, Text(self._script(prompt), tokens=3))]


Fault = tuple[int, dict[str, str], bytes] | None
"""Status, headers and body in place of an answer; a body of b"…" breaks the connection in its middle."""


class StandInEndpoint:
    """No model: answers a prompt by a script, unless `faults(number of the request, prompt)` is a fault."""

    def __init__(self, script: Script, faults: Callable[[int, str], Fault]) -> None:
        self.requests: Counter[str] = Counter()
        """Prompt → requests."""
        self.answered: Counter[str] = Counter()
        """Prompt → whole answers."""
        self.models: list[Any] = []
        endpoint, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200, {}, json.dumps({"data": [{"id": "stand-in"}]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][-1]["content"]
                with lock:
                    number = endpoint.requests[prompt]
                    endpoint.requests[prompt] += 1
                    endpoint.models.append(body["model"])
                fault = faults(number, prompt)
                if fault is not None:
                    self._send(*fault)
                    return
                choice = {"message": {"content": script(prompt)}, "finish_reason": "stop"}
                answer = {"choices": [choice], "usage": {"completion_tokens": 5}}
                with lock:
                    endpoint.answered[prompt] += 1
                self._send(200, {}, json.dumps(answer).encode())

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                missing = 50 if body.endswith("…".encode()) else 0
                self.send_header("Content-Length", str(len(body) + missing))
                self.end_headers()
                self.wfile.write(body)
                if missing:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self) -> StandInEndpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
