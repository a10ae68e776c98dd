"""A stand-in for the Hugging Face Hub: the documented endpoints that data sets are read through.

It is no Hub: one server of this machine with a few small data sets, which answers as the Hub's API pages say
(dataset info, tree of a revision, and `resolve` with the headers that clients look at).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Commits of a data set, each with its files; branches."""

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    gated: bool = False


@dataclass
class StandIn:
    """The data sets of the stand-in, and the requests that it answered."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    large: int = 500
    """Bytes from which a file is stored outside of Git, as the Hub does with large ones."""


def git_digest(content: bytes) -> str:
    """The name of a file's content in Git."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@contextmanager
def running(hub: StandIn) -> Iterator[StandIn]:
    """Serves until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            resolve = parts[:1] == ["datasets"]
            found = hub.repositories.get("/".join(parts[1:3] if resolve else parts[2:4]))
            if found is None:
                self._refuse(404, "RepoNotFound")
            elif found.gated and resolve:
                self._refuse(403, "GatedRepo")
            elif resolve:
                self._file(found, parts[4], "/".join(parts[5:]))
            else:
                self._api(found, parts[4], "/".join(parts[5:]))

        def _api(self, found: Repository, what: str, revision: str) -> None:
            commit = found.branches.get(revision, revision)
            if commit not in found.commits:
                self._refuse(404, "RevisionNotFound")
            elif what == "revision":
                self._send(json.dumps({"id": "x/y", "sha": commit}).encode(), {})
            else:
                listed = []
                for name, content in found.commits[commit].items():
                    row = {"type": "file", "path": name, "size": len(content), "oid": git_digest(content)}
                    if len(content) >= hub.large:
                        digest = hashlib.sha256(content).hexdigest()
                        row["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
                    listed.append(row)
                self._send(json.dumps(listed).encode(), {})

        def _file(self, found: Repository, commit: str, name: str) -> None:
            content = found.commits.get(commit, {}).get(name)
            if content is None:
                self._refuse(404, "EntryNotFound")
                return
            large = len(content) >= hub.large
            etag = hashlib.sha256(content).hexdigest() if large else git_digest(content)
            self._send(content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

        def _refuse(self, status: int, code: str) -> None:
            self._send(b"{}", {"X-Error-Code": code, "X-Error-Message": code}, status)

        def _send(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
