"""A fake of a cluster's HTTP APIs, which stands for a cluster that cannot exist where tests run.

It is a real HTTP server, so that the real `kubernetes` and `kfp` clients talk to it, and it knows what our
code uses: objects with resourceVersion, generation, conflicts and merge patches; label selectors; logs that
are followed; SelfSubjectAccessReview; discovery; nodes; Services through the API server's proxy, the API of
KFP among them. Custom resources pass their CRD's schema or are refused with 422, as by a real API server,
where the CRDs are beside the checkout. What controllers would do, a test does: by `status`, or by a function
in `controllers`.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests import crd_schemas

TOKEN = "token-that-no-message-may-hold"
CRD_VERSIONS = {
    "inferenceservices.serving.kserve.io": "v1beta1",
    "servingruntimes.serving.kserve.io": "v1alpha1",
    "trainjobs.trainer.kubeflow.org": "v1alpha1",
    "clustertrainingruntimes.trainer.kubeflow.org": "v1alpha1",
    "clusterstoragecontainers.serving.kserve.io": "v1alpha1",
    "localqueues.kueue.x-k8s.io": "v1beta2",
    "workloads.kueue.x-k8s.io": "v1beta2",
    "jobsets.jobset.x-k8s.io": "v1alpha2",
    "deployments.apps": "v1",
    "jobs.batch": "v1",
    "httproutes.gateway.networking.k8s.io": "v1",
}
CORE = {"pods", "secrets", "configmaps", "nodes", "namespaces", "services", "events"}
VALIDATED = {"InferenceService", "TrainJob"}

Object = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        details = {"name": name} if name else {}
        self.body = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message, "details": details,
        }  # fmt: skip


class OwnAnswer(Exception):
    """An error that a Service behind the API server's proxy answers, with its own body."""

    def __init__(self, code: int, body: Any) -> None:
        super().__init__(code)
        self.code, self.body = code, body


class PlainRefusal(Exception):
    """What an API server says of a path that it does not know: no Status, plain text."""


@dataclass
class PodLog:
    """Lines that a follower gets as they are written."""

    lines: list[str] = field(default_factory=list)
    closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def write(self, *texts: str, close: bool = False) -> None:
        with self.changed:
            for text in texts:
                stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
                self.lines.append(f"{stamp} {text}\n")
            self.closed = self.closed or close
            self.changed.notify_all()


class FakeCluster:
    """Objects of a cluster, its KFP, and what it was asked."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.crds = dict(CRD_VERSIONS)
        self.namespaces = {"mathloop", "kubeflow"}
        self.denied: set[tuple[str, str]] = set()
        """(verb, plural) that these credentials may not do."""
        self.logs: dict[str, PodLog] = {}
        self.controllers: list[Callable[[str, Object], None]] = []
        """Called with plural and object after every write by a client."""
        self.watchers: list[Callable[[str], None]] = []
        """Called with method and path after every request."""
        self.answers: Callable[[str, str], tuple[int, Any]] = lambda service, path: (503, {})
        """What Services answer through the proxy: (service, path) → status and JSON."""
        self.admission: dict[str, Callable[[Object], Object]] = {}
        """What webhooks make of an object that is created in a dry run, or the Refusal, by plural."""
        self.conflicts = 0
        """So many of the next PUTs lose against somebody else."""
        self.down = False
        self.lingering = 2
        """So many reads of a deleted object with a finalizer still find it."""
        self.requests: list[tuple[str, str]] = []
        self.kfp: Any = None
        self._versions = 0
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def write_kubeconfig(self, path: Path) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def put(self, plural: str, body: Object) -> Object:
        """Adds an object as it is, without any check."""
        with self.lock:
            named = body.setdefault("metadata", {})
            named.setdefault("creationTimestamp", now())
            named.setdefault("uid", str(uuid.uuid4()))
            named["resourceVersion"] = self.next_version()
            self.objects[(plural, named.get("namespace", ""), named["name"])] = body
            return body

    def find(self, plural: str, name: str = "") -> Object | None:
        with self.lock:
            return next(
                (copy.deepcopy(one) for key, one in self.objects.items()
                 if key[0] == plural and (not name or key[2] == name)), None
            )  # fmt: skip

    def count(self, plural: str) -> int:
        with self.lock:
            return sum(key[0] == plural for key in self.objects)

    def status(self, plural: str, name: str, status: Object) -> None:
        """Writes a status, as a controller does; the generation stays."""
        with self.lock:
            body = next(one for key, one in self.objects.items() if key[0] == plural and key[2] == name)
            body.setdefault("status", {}).update(status)
            body["metadata"]["resourceVersion"] = self.next_version()

    def next_version(self) -> str:
        self._versions += 1
        return str(self._versions)

    # What clients ask.

    def handle(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        if path == "/version":
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.1"}
        if "selfsubjectaccessreviews" in path:
            wanted = body["spec"]["resourceAttributes"]
            denied = (wanted["verb"], wanted["resource"]) in self.denied
            return {**body, "status": {"allowed": not denied}}
        if discovered := re.fullmatch(r"/apis/([^/]+)/(v[0-9a-z]+)", path):
            return self._resources(discovered[1], discovered[2])
        found = re.fullmatch(
            r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[0-9a-z]+)(?:/namespaces/(?P<namespace>[^/]+))?"
            r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?",
            path,
        )
        if found is None:
            raise PlainRefusal
        group, plural = found["group"] or "", found["plural"]
        namespace, name = found["namespace"] or "", unquote(found["name"] or "")
        known = plural in CORE if not group else self.crds.get(f"{plural}.{group}") == found["version"]
        if not known:
            raise PlainRefusal
        verbs = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch"}
        verb = verbs.get(method, "delete")
        if (verb, plural) in self.denied:
            raise Refusal(403, "Forbidden", f'User "me" cannot {verb} resource "{plural}": {TOKEN}', name)
        with self.lock:
            return self._act(verb, plural, namespace, name, query, body)

    def _act(
        self, verb: str, plural: str, namespace: str, name: str, query: dict[str, str], body: Any
    ) -> Object:
        if verb == "list":
            found = self._listed(plural, namespace, query.get("labelSelector", ""))
            fields = dict(pair.split("=", 1) for pair in query.get("fieldSelector", "").split(",") if pair)
            return {"kind": "List", "items": [one for one in found if fields.items() <= one.items()]}
        if verb == "create" and "dryRun" in query:
            _validate(body)
            return self.admission.get(plural, lambda tried: tried)(body)
        if verb == "create":
            return self._create(plural, namespace, body)
        found = self.objects.get((plural, namespace, name))
        if found is None or self._has_ended(plural, found):
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found', name)
        if verb == "get":
            return copy.deepcopy(found)
        if verb == "delete":
            wanted = ((body or {}).get("preconditions") or {}).get("uid")
            if wanted and wanted != found["metadata"]["uid"]:
                raise Refusal(409, "Conflict", "the UID in the precondition differs", name)
            if found["metadata"].get("finalizers"):
                found["metadata"].setdefault("deletionTimestamp", now())
                return copy.deepcopy(found)
            return self.remove(plural, found)
        if verb == "patch":
            return self._write(plural, found, _merged(found, body))
        if self.conflicts or body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
            self.conflicts = max(0, self.conflicts - 1)
            found["metadata"]["resourceVersion"] = self.next_version()
            raise Refusal(409, "Conflict", "the object has been modified", name)
        return self._write(plural, found, {**body, "status": found.get("status", {})})

    def _has_ended(self, plural: str, found: Object) -> bool:
        """A deleted object is there until its controller has taken its finalizer away."""
        if "deletionTimestamp" not in found["metadata"]:
            return False
        found["reads"] = found.get("reads", 0) + 1
        if found["reads"] > self.lingering:
            self.remove(plural, found)
        return found["reads"] > self.lingering

    def remove(self, plural: str, found: Object) -> Object:
        """Takes an object away, and the pods that belong to it."""
        named = found["metadata"]
        removed = self.objects.pop((plural, named.get("namespace", ""), named["name"]))
        for key, one in list(self.objects.items()):
            if named["uid"] in [owner["uid"] for owner in one["metadata"].get("ownerReferences", ())]:
                del self.objects[key]
        return removed

    def _listed(self, plural: str, namespace: str, selector: str) -> list[Object]:
        terms = [pair for pair in selector.split(",") if pair]
        wanted = dict(pair.split("=", 1) for pair in terms if "=" in pair)
        exist = {term for term in terms if "=" not in term}
        return [
            copy.deepcopy(one)
            for key, one in self.objects.items()
            if key[0] == plural
            and key[1] in (namespace, "" if plural == "nodes" else namespace)
            and wanted.items() <= one["metadata"].get("labels", {}).items()
            and exist <= one["metadata"].get("labels", {}).keys()
        ]

    def _create(self, plural: str, namespace: str, body: Object) -> Object:
        name = body["metadata"]["name"]
        if namespace not in self.namespaces:
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found', namespace)
        if (plural, namespace, name) in self.objects:
            raise Refusal(409, "AlreadyExists", f'{plural} "{name}" already exists', name)
        _validate(body)
        made = self.put(plural, copy.deepcopy(body))
        made["metadata"]["generation"] = 1
        answer = copy.deepcopy(made)
        for control in self.controllers:
            control(plural, made)
        return answer

    def _write(self, plural: str, old: Object, new: Object) -> Object:
        _validate(new)
        new = copy.deepcopy(new)
        new["metadata"]["generation"] = old["metadata"].get("generation", 1) + (new["spec"] != old["spec"])
        new["metadata"]["resourceVersion"] = self.next_version()
        self.objects[(plural, new["metadata"].get("namespace", ""), new["metadata"]["name"])] = new
        answer = copy.deepcopy(new)
        for control in self.controllers:
            control(plural, new)
        return answer

    def _resources(self, group: str, version: str) -> Object:
        names = [
            crd.partition(".")[0]
            for crd, served in self.crds.items()
            if crd.partition(".")[2] == group and served == version
        ]
        if not names:
            raise PlainRefusal
        return {"kind": "APIResourceList", "resources": [{"name": name} for name in names]}


def _validate(body: Object) -> None:
    if body.get("kind") in VALIDATED and crd_schemas.has_schemas():
        told = crd_schemas.problems({key: value for key, value in body.items() if key != "status"})
        if told:
            raise Refusal(422, "Invalid", "; ".join(told), body["metadata"]["name"])


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    merged = copy.deepcopy(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


class _Handler(BaseHTTPRequestHandler):
    cluster: ClassVar[FakeCluster]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgment of its headers

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = re.sub("/+", "/", parts.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cluster.requests.append((self.command, path))
        try:
            if re.search(r"/pods/[^/]+/log$", path):
                self._log(path.split("/")[-2], query.get("follow") == "true")
                return
            status, answer = 200, self._routed(path, query, raw)
        except (Refusal, OwnAnswer) as refusal:
            status, answer = refusal.code, refusal.body
        except PlainRefusal:
            self._send(404, b"404 page not found\n", "text/plain")
            return
        for watch in self.cluster.watchers:
            watch(f"{self.command} {path}")
        if isinstance(answer, bytes):  # KFP's logs
            self._send(status, answer, "text/plain")
        else:
            self._send(status, json.dumps(answer).encode(), "application/json")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _routed(self, path: str, query: dict[str, str], raw: bytes) -> Any:
        if self.cluster.down:
            raise Refusal(503, "ServiceUnavailable", "the API server is down")
        proxied = re.fullmatch(r"/api/v1/namespaces/([^/]+)/services/([^/]+?)(?::[^/]*)?/proxy(/.*)", path)
        if proxied:
            service, inner = proxied[2], proxied[3]
            if service != "ml-pipeline":
                status, answer = self.cluster.answers(service, inner)
                if status == 503 and not answer:
                    said = f'no endpoints available for service "{service}"'
                    raise Refusal(status, "ServiceUnavailable", said, service)
                if status == 404 and not answer:
                    raise Refusal(status, "NotFound", f'services "{service}" not found', service)
                if status != 200:
                    raise OwnAnswer(status, answer)
                return answer
            if self.cluster.kfp is None:
                raise Refusal(404, "NotFound", 'services "ml-pipeline" not found', "ml-pipeline")
            path = inner
        if re.match(r"/apis/v[0-9]|/k8s/", path) and self.cluster.kfp is not None:
            return self.cluster.kfp.handle(self.command, path, query, raw, self.headers)
        answer = self.cluster.handle(self.command, path, query, json.loads(raw) if raw else None)
        if "as=PartialObjectMetadataList" in self.headers.get("Accept", ""):
            # As seen on Kubernetes 1.34: no items are null where the objects are custom resources.
            items = [{"metadata": one["metadata"]} for one in answer["items"]]
            return {"kind": "PartialObjectMetadataList", "items": items or None}
        return answer

    def _log(self, pod: str, follow: bool) -> None:
        """The log, a chunk a line; followed until it is closed."""
        log = self.cluster.logs.setdefault(pod, PodLog())
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        try:
            while True:
                with log.changed:
                    while sent == len(log.lines) and not log.closed and follow:
                        log.changed.wait(0.2)
                    new, closed = log.lines[sent:], log.closed or not follow
                for line in new:
                    data = line.encode()
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                sent += len(new)
                if closed and sent == len(log.lines):
                    self.wfile.write(b"0\r\n\r\n")
                    return
        except OSError:
            self.close_connection = True

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *parts: Any) -> None:
        """Keeps quiet."""
