"""A thin layer over the official `kubernetes` client: objects as plain dicts, every refusal as one line.

The client is imported when a cluster is asked for, not before. Errors are built from codes, kinds and names;
what a library says of a failed request, which can hold a token, is never repeated.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathloop.errors import MathloopError, UserError

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
TRIES = 5
"""Times that a change is made again on the newest version of an object that somebody else changed."""
_HEADER = re.compile(r"[\x20-\x7e]*")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MANIFESTS = "kubectl apply -k manifests/overlays/<overlay>"


class ClusterRefused(UserError):
    """The cluster does not take or give what was asked; the message says what to apply."""


class Unreachable(ClusterRefused):
    """No answer, or none that counts; the same request may work later."""


class Exists(MathloopError):
    """An object of this name is already there."""


class Changed(MathloopError):
    """Somebody else changed the object since it was read."""


@contextmanager
def _errors_heard() -> Iterator[list[logging.LogRecord]]:
    """The errors that a library only logs meanwhile; what they say may hold a token, and is not shown."""
    heard: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            heard.append(record)
        return record.levelno < logging.ERROR

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield heard
    finally:
        root.removeFilter(keep)


@dataclass(frozen=True)
class Kind:
    """A kind of object, and what brings it to a cluster."""

    name: str
    plural: str
    group: str
    """Empty for Kubernetes' own."""
    version: str
    remedy: str = ""
    """What to do where the cluster does not know it."""

    @property
    def api_version(self) -> str:
        """As objects name it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def crd(self) -> str:
        """Name of its CustomResourceDefinition, or of the plain resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


TRAINER_REMEDY = "install Kubeflow Trainer v2 (docs/cluster.md)"
KSERVE_REMEDY = "install KServe 0.20 or newer (docs/cluster.md)"
TRAIN_JOB = Kind("TrainJob", "trainjobs", "trainer.kubeflow.org", "v1alpha1", TRAINER_REMEDY)
TRAINING_RUNTIME = Kind(
    "ClusterTrainingRuntime", "clustertrainingruntimes", "trainer.kubeflow.org", "v1alpha1", TRAINER_REMEDY
)
INFERENCE_SERVICE = Kind(
    "InferenceService", "inferenceservices", "serving.kserve.io", "v1beta1", KSERVE_REMEDY
)
SERVING_RUNTIME = Kind("ServingRuntime", "servingruntimes", "serving.kserve.io", "v1alpha1", KSERVE_REMEDY)
LOCAL_QUEUE = Kind("LocalQueue", "localqueues", "kueue.x-k8s.io", "v1beta2", "install Kueue 0.14 or newer")
POD = Kind("Pod", "pods", "", "v1")
SECRET = Kind("Secret", "secrets", "", "v1")
CONFIG_MAP = Kind("ConfigMap", "configmaps", "", "v1")


class Cluster:
    """One cluster, through one `kubernetes.client.ApiClient`."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.host = str(api.configuration.host)

    @classmethod
    def connect(cls, context: str | None = None) -> Cluster:
        """The cluster that this pod runs in, or that the user's kubeconfig names. Nothing is sent yet.

        Raises:
            ClusterRefused: neither is there, or the kubeconfig cannot be used.
        """
        import urllib3
        from kubernetes import client, config
        from yaml import YAMLError

        configuration = client.Configuration()
        try:
            if (SERVICE_ACCOUNT / "token").is_file() and context is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                # The library reads the variable when it is imported.
                path = os.environ.get("KUBECONFIG") or None
                with _errors_heard() as failed:
                    config.load_kube_config(path, context=context, client_configuration=configuration)
                if failed:
                    raise ClusterRefused(
                        "the login command of the kubeconfig failed or is not installed: see what "
                        "`kubectl get pods` says, and mend that"
                    )
        except (config.ConfigException, YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
            missing = "no configuration found" in str(error).lower() or "no such" in str(error).lower()
            said = "no kubeconfig" if missing else "the kubeconfig cannot be used"
            raise ClusterRefused(
                f"{said} ($KUBECONFIG or ~/.kube/config): get one for your cluster, "
                "so that `kubectl get pods` works"
            ) from None
        if not all(_HEADER.fullmatch(value) for value in configuration.api_key.values()):
            raise ClusterRefused("the kubeconfig's token holds a line break or the like; get a new one")
        configuration.retries = urllib3.Retry(total=2, backoff_factor=0.2, read=0, status=0)
        return cls(client.ApiClient(configuration))

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The object; None where there is none of this name."""
        try:
            return self._send("GET", kind, namespace, name)
        except _NotThere:
            return None

    def listed(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects with these labels (`key=value,…`)."""
        answer = self._send("GET", kind, namespace, query={"labelSelector": labels} if labels else {})
        return list(answer["items"])

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates the object; raises Exists."""
        return self._send("POST", kind, body["metadata"].get("namespace"), body=body)

    def replace(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the object over the version that its resourceVersion names; raises Changed."""
        named = body["metadata"]
        return self._send("PUT", kind, named.get("namespace"), named["name"], body=body)

    def annotate(self, kind: Kind, name: str, namespace: str, values: Mapping[str, str | None]) -> None:
        """Sets annotations, takes away those that are None, whatever else has changed."""
        patch = {"metadata": {"annotations": dict(values)}}
        self._send("PATCH", kind, namespace, name, body=patch)

    def delete(self, kind: Kind, name: str, namespace: str, uid: str | None = None) -> None:
        """Removes the object, and what it owns; does nothing where it is gone, or is another by now."""
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self._send("DELETE", kind, namespace, name, body=body)
        except (_NotThere, Changed, Exists):
            return

    def log_lines(self, pod: str, namespace: str, container: str, since: str | None = None) -> Iterator[str]:
        """Yields the lines of a pod's log, each after its time stamp and a space, until the stream ends."""
        from kubernetes import client

        with self._answered("get", POD, pod, namespace, subresource="log"):
            answer = client.CoreV1Api(self.api).read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                follow=True,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, None),
                **({"since_seconds": _age(since)} if since else {}),
            )
            try:
                left = b""
                for chunk in answer.stream(4096, decode_content=False):
                    *lines, left = (left + chunk).split(b"\n")
                    yield from (line.decode("utf-8", "replace") for line in lines)
                if left:
                    yield left.decode("utf-8", "replace")
            finally:
                answer.close()

    def allowed(self, verb: str, kind: Kind, namespace: str | None, subresource: str = "") -> bool:
        """Whether these credentials may do `verb` (SelfSubjectAccessReview)."""
        from kubernetes import client

        attributes = client.V1ResourceAttributes(
            verb=verb,
            group=kind.group,
            resource=kind.plural,
            subresource=subresource or None,
            namespace=namespace,
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        with self._answered("create", Kind("SelfSubjectAccessReview", "selfsubjectaccessreviews", "", "v1")):
            answer = client.AuthorizationV1Api(self.api).create_self_subject_access_review(
                review, _request_timeout=(CONNECT_SECONDS, READ_SECONDS)
            )
        return bool(answer.status.allowed)

    def ask_service(
        self, service: str, namespace: str, path: str, body: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        """POSTs JSON to a Service's port 80 through the API server; returns the JSON that it answers."""
        kind = Kind("Service", "services", "", "v1", "deploy again")
        with self._answered("create", kind, service, namespace, subresource="proxy"):
            place = f"/api/v1/namespaces/{namespace}/services/{service}:80/proxy{path}"
            return self._call("POST", place, {}, dict(body), seconds)

    def request(self, path: str) -> dict[str, Any]:
        """What the API server answers to a plain GET of `path`."""
        with self._answered("get", Kind(path, path, "", "v1")):
            return self._call("GET", path, {}, None)

    def _send(
        self,
        method: str,
        kind: Kind,
        namespace: str | None,
        name: str | None = None,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        place = f"/namespaces/{namespace}" if namespace else ""
        path = f"{root}{place}/{kind.plural}" + (f"/{name}" if name else "")
        verbs = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch"}
        with self._answered(verbs.get(method, "delete"), kind, name, namespace):
            # Kubernetes then refuses fields that a kind does not have, in place of dropping them.
            strict = {"fieldValidation": "Strict"} if method in ("POST", "PUT", "PATCH") else {}
            return self._call(method, path, {**strict, **(query or {})}, body)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        seconds: float = READ_SECONDS,
    ) -> dict[str, Any]:
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer, _, _ = self.api.call_api(
            path,
            method,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _request_timeout=(CONNECT_SECONDS, seconds),
        )
        return dict(answer)

    @contextmanager
    def _answered(
        self,
        verb: str,
        kind: Kind,
        name: str | None = None,
        namespace: str | None = None,
        subresource: str = "",
    ) -> Iterator[None]:
        """Turns what the client and the network raise into one line that says what to do."""
        import urllib3
        from kubernetes.client.exceptions import ApiException

        where = f" in namespace {namespace}" if namespace else ""
        what = f"{kind.crd}{f'/{subresource}' if subresource else ''}"
        try:
            yield
        except ApiException as error:
            status = _Status(error)
            if status.code == 404:
                if verb != "create" and status.names_object:
                    raise _NotThere(f"there is no {kind.name} {name}{where}") from None
                if status.names_object:
                    remedy = f"create it (kubectl create namespace {namespace}), or {MANIFESTS}"
                    raise ClusterRefused(f"there is no namespace {namespace}: {remedy}") from None
                said = f"the cluster has no {kind.name} ({kind.crd})"
                raise ClusterRefused(f"{said}: {kind.remedy or 'is it Kubernetes 1.25 or newer?'}") from None
            if status.code == 409:
                kind_of = Exists if status.reason == "AlreadyExists" else Changed
                raise kind_of(f"{kind.name} {name}{where}: {status.reason}") from None
            if status.code == 401:
                raise ClusterRefused(
                    f"{self.host} does not know these credentials: log in again, "
                    "so that `kubectl get pods` works"
                ) from None
            if status.code == 403:
                said = f"no permission to {verb} {what}{where}"
                raise ClusterRefused(f"{said}: apply the Roles, {MANIFESTS}") from None
            if status.code in (400, 422):
                raise ClusterRefused(
                    f"the cluster refuses this {kind.name}: {status.message}; "
                    "its version differs from what mathloop writes (docs/cluster.md)"
                ) from None
            raise Unreachable(
                f"{self.host} failed (HTTP {status.code}) to {verb} {what}{where}; its log says more"
            ) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = _reason(error)
            remedy = "is the cluster running, and is the kubeconfig its own?"
            raise Unreachable(f"no Kubernetes API server at {self.host} ({reason}); {remedy}") from None


class _NotThere(ClusterRefused):
    """There is no object of this name."""


class _Status:
    """What an API server says of a refused request."""

    def __init__(self, error: Any) -> None:
        import json

        try:
            body = json.loads(error.body or "{}")
        except ValueError:
            body = {}
        body = body if isinstance(body, dict) else {}
        self.code = int(error.status or 0)
        self.reason = str(body.get("reason") or "")
        self.message = " ".join(str(body.get("message") or error.reason or "no reason given").split())[:300]
        details = body.get("details")
        self.names_object = isinstance(details, dict) and bool(details.get("name"))


def _reason(error: Exception) -> str:
    import urllib3

    inner = getattr(error, "reason", None) or error
    reasons = {
        urllib3.exceptions.NameResolutionError: "its name is unknown",
        urllib3.exceptions.NewConnectionError: "connection refused",
        urllib3.exceptions.ConnectTimeoutError: f"no connection within {CONNECT_SECONDS:g} s",
        urllib3.exceptions.ReadTimeoutError: "it did not answer in time",
        urllib3.exceptions.SSLError: "its certificate is not trusted",
    }
    return next((words for kind, words in reasons.items() if isinstance(inner, kind)), "the connection broke")


def _age(stamp: str) -> int:
    """Seconds since a time stamp of Kubernetes, rounded up; a second more, since clocks differ."""
    return max(1, int(time.time() - seconds_of(stamp)) + 2)


def seconds_of(stamp: str) -> float:
    """Seconds since the epoch of a time such as 2026-11-25T21:32:12.123456789Z."""
    from datetime import UTC, datetime

    whole = stamp.rstrip("Z").partition(".")[0]
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
