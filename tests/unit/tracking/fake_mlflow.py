"""A tracking server that does what MLflow 3.17.2 was seen to do for the calls of our sink."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAME = re.compile(r"[/\w.\- :]*")


class Refused(Exception):
    """An error's HTTP status and code."""


class FakeMlflow:
    """Experiments and runs in memory; `url` is where it listens."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: list[dict[str, Any]] = []
        self.logins: set[str | None] = set()
        self.url = ""

    def answer(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> dict[str, Any]:
        if path == "experiments/get-by-name":
            name = query["experiment_name"][0]
            if name not in self.experiments:
                raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{name}'")
            return {"experiment": {"experiment_id": self.experiments[name], "name": name}}
        if path == "experiments/create":
            return {"experiment_id": self.experiments.setdefault(body["name"], str(len(self.experiments)))}
        if path == "runs/create":
            info = {"run_id": f"run{len(self.runs)}", "status": "RUNNING"}
            self.runs.append({"info": info, **body, "metrics": [], "params": {}, "deleted": False})
            return {"run": {"info": info}}
        if path == "runs/search":
            (wanted,) = re.findall(r"^tags\.`mathloop\.round` = '(.*)'$", body["filter"])
            found = [run for run in self.runs if not run["deleted"] and run["tags"][0]["value"] == wanted]
            return {"runs": found} if found else {}
        run = next(one for one in self.runs if one["info"]["run_id"] == body["run_id"])
        if path == "runs/delete":
            run["deleted"] = True
        elif path == "runs/update":
            run["info"]["status"] = body["status"]
        elif path == "runs/log-batch":
            metrics, params = body.get("metrics", []), body.get("params", [])
            if len(metrics) > 1000 or len(params) > 100:
                raise Refused(400, "INVALID_PARAMETER_VALUE", "A batch logging request can contain at most …")
            for one in [*metrics, *params]:
                if not NAME.fullmatch(one["key"]):
                    raise Refused(400, "INVALID_PARAMETER_VALUE", f'Invalid value "{one["key"]}"')
            run["metrics"] += metrics
            run["params"] |= {one["key"]: one["value"] for one in params}
        return {}


@contextmanager
def serving() -> Iterator[FakeMlflow]:
    """The server, on a free port of this machine."""
    fake = FakeMlflow()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.logins.add(self.headers["Authorization"])
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            try:
                path = parts.path.removeprefix("/api/2.0/mlflow/")
                status, value = 200, fake.answer(path, parse_qs(parts.query), json.loads(body or b"{}"))
            except Refused as refused:
                status, code, message = refused.args
                value = {"error_code": code, "message": message}
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    yield fake
    server.shutdown()
    server.server_close()
