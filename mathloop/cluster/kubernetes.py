"""A thin layer over the official `kubernetes` client: objects are plain dicts, every refusal is one line.

Where MATHLOOP_PATIENCE is set, as in the pods of runs, an API server that is away is waited for. A write
whose answer was lost is sent again: what it created then exists, what it replaced has changed.

The client is imported when a cluster is used, not before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mathloop.cluster.kinds import POD, SERVICE, Kind
from mathloop.cluster.kubeconfig import api_client
from mathloop.cluster.refusals import (
    CONNECT_SECONDS,
    Changed,
    Exists,
    NotFound,
    Unreachable,
    as_refusals,
    is_status,
)
from mathloop.retrying import patience_seconds, retrying

READ_SECONDS = 30.0


class Cluster:
    """One cluster, through one `kubernetes.client.ApiClient`."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.host = str(api.configuration.host)

    @classmethod
    def connect(cls, context: str | None = None) -> Cluster:
        """The cluster of this pod, or of a context of the user's kubeconfig; raises ClusterRefused."""
        return cls(api_client(context))

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The object; None where there is none of this name."""
        try:
            return self._send("GET", kind, namespace, name)
        except NotFound:
            return None

    def listed(
        self, kind: Kind, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """Lists the objects with these labels and fields (`key=value,…`)."""
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {name: value for name, value in selectors.items() if value}
        return list(self._send("GET", kind, namespace, query=query)["items"])

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates the object; raises Exists."""
        return self._send("POST", kind, body["metadata"].get("namespace"), body=body)

    def try_create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as it would be created, after schemas and webhooks; stores nothing.

        Raises:
            Denied: a webhook refuses it.
            WebhookDown: a webhook that has to see it does not answer.
        """
        place = body["metadata"].get("namespace")
        return self._send("POST", kind, place, body=body, query={"dryRun": "All"})

    def replace(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the object over the version that its resourceVersion names; raises Changed."""
        named = body["metadata"]
        return self._send("PUT", kind, named.get("namespace"), named["name"], body=body)

    def annotate(self, kind: Kind, name: str, namespace: str, values: Mapping[str, str | None]) -> None:
        """Sets annotations and removes those that are None, whatever else has changed."""
        patch = {"metadata": {"annotations": dict(values)}}
        self._send("PATCH", kind, namespace, name, body=patch)

    def delete(self, kind: Kind, name: str, namespace: str, uid: str | None = None) -> None:
        """Removes the object and what it owns; does nothing where it is gone or has another `uid` by now."""
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self._send("DELETE", kind, namespace, name, body=body)
        except (NotFound, Changed, Exists):
            return

    def log_lines(self, pod: str, namespace: str, container: str, since: str | None = None) -> Iterator[str]:
        """Yields the lines of a pod's log, each after its time stamp and a space, until the stream ends."""
        from kubernetes import client

        with as_refusals(self.host, "get", POD, pod, namespace, subresource="log"):
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
        """Whether these credentials permit `verb` (SelfSubjectAccessReview)."""
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
        with as_refusals(
            self.host, "create", Kind("SelfSubjectAccessReview", "selfsubjectaccessreviews", "", "v1")
        ):
            answer = client.AuthorizationV1Api(self.api).create_self_subject_access_review(
                review, _request_timeout=(CONNECT_SECONDS, READ_SECONDS)
            )
        return bool(answer.status.allowed)

    def last_lines(self, pod: str, namespace: str, container: str, lines: int = 20) -> list[str]:
        """The end of the log of a container that was restarted: of its last run that ended."""
        from kubernetes import client

        with as_refusals(self.host, "get", POD, pod, namespace, subresource="log"):
            answer = client.CoreV1Api(self.api).read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                previous=True,
                tail_lines=lines,
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
            return bytes(answer.data).decode("utf-8", "replace").splitlines()

    def ask_service(
        self, service: str, namespace: str, path: str, body: Mapping[str, Any], seconds: float
    ) -> tuple[int, bytes]:
        """POSTs JSON to a Service's port 80 through the API server; returns the status and the answer.

        Raises:
            NotFound: there is no such Service.
            ClusterRefused: the API server does not allow it, or cannot reach a pod of the Service.
        """
        from kubernetes.client.exceptions import ApiException

        with as_refusals(self.host, "create", SERVICE, service, namespace, subresource="proxy"):
            place = f"/api/v1/namespaces/{namespace}/services/{service}:80/proxy{path}"
            headers = {"Accept": "application/json", "Content-Type": "application/json"}
            self.api.update_params_for_auth(headers, [], ["BearerToken"])
            try:
                answer = self.api.request(
                    "POST",
                    self.host + place,
                    headers=headers,
                    body=dict(body),
                    _preload_content=False,
                    _request_timeout=(CONNECT_SECONDS, seconds),
                )
            except ApiException as error:
                if is_status(error.body):
                    raise
                return int(error.status), bytes(error.body or b"")
            return int(answer.status), bytes(answer.data)

    def request(self, path: str) -> dict[str, Any]:
        """The API server's JSON answer to a plain GET of `path`."""
        with as_refusals(self.host, "get", Kind(path, path, "", "v1")):
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
        # Kubernetes then refuses fields that a kind does not have instead of dropping them.
        strict = {"fieldValidation": "Strict"} if method in ("POST", "PUT", "PATCH") else {}

        def attempt() -> dict[str, Any]:
            with as_refusals(self.host, verbs.get(method, "delete"), kind, name, namespace):
                return self._call(method, path, {**strict, **(query or {})}, body)

        return retrying(attempt, away=Unreachable, seconds=patience_seconds())

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


def _age(stamp: str) -> int:
    """Seconds since a time stamp of Kubernetes, rounded up, plus one, since clocks differ."""
    return max(1, int(time.time() - seconds_of(stamp)) + 2)


def seconds_of(stamp: str) -> float:
    """Seconds since the epoch of a time such as 2026-11-25T21:32:12.123456789Z."""
    whole = stamp.rstrip("Z").partition(".")[0]
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
