"""Errors of a cluster: every refusal is one line that says what to do.

Messages are built from codes, kinds and names. A library's message about a failed request can hold a token
and is never repeated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mathloop.cluster.kinds import Kind
from mathloop.errors import MathloopError, UserError

CONNECT_SECONDS = 5.0
MANIFESTS = "kubectl apply -k manifests/overlays/<overlay>"


class ClusterRefused(UserError):
    """The cluster refuses the request or lacks something; the message says what to apply."""


class NotFound(ClusterRefused):
    """There is no object of this name."""


class Unreachable(ClusterRefused):
    """No answer, or an error of the server; the same request may work later."""


class Forbidden(ClusterRefused):
    """These credentials may not do this."""


class Denied(ClusterRefused):
    """A webhook refuses the object; the message is its own."""


class WebhookDown(Unreachable):
    """A webhook that has to see every object of this kind does not answer."""


class Exists(MathloopError):
    """An object of this name already exists."""


class Changed(MathloopError):
    """Somebody else changed the object since it was read."""


@contextmanager
def as_refusals(
    host: str,
    verb: str,
    kind: Kind,
    name: str | None = None,
    namespace: str | None = None,
    subresource: str = "",
) -> Iterator[None]:
    """Turns errors of the client and the network into one line that says what to do.

    Raises:
        NotFound: there is no object of this name.
        Exists, Changed: HTTP 409, as the API server gives the reason.
        Forbidden: no permission.
        Denied, WebhookDown: a webhook refused the object, or did not answer.
        ClusterRefused: the request cannot work before somebody changes the cluster or the credentials.
        Unreachable: no answer, or an error of the server.
    """
    import urllib3
    from kubernetes.client.exceptions import ApiException

    where = f" in namespace {namespace}" if namespace else ""
    task = f"{verb} {kind.crd}{f'/{subresource}' if subresource else ''}{where}"
    try:
        yield
    except ApiException as error:
        answer = _Answer(error)
        if answer.code == 404 and answer.names_object:
            if verb != "create" or subresource:
                raise NotFound(f"there is no {kind.name} {name}{where}") from None
            remedy = f"create it (kubectl create namespace {namespace}), or {MANIFESTS}"
            raise ClusterRefused(f"there is no namespace {namespace}: {remedy}") from None
        if answer.code == 409:
            conflict = Exists if answer.reason == "AlreadyExists" else Changed
            raise conflict(f"{kind.name} {name}{where}: {answer.reason}") from None
        raise _refusal(answer, host, kind, task) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        remedy = "is the cluster running, and is the kubeconfig its own?"
        raise Unreachable(f"no Kubernetes API server at {host} ({_reason(error)}); {remedy}") from None


def is_status(body: Any) -> bool:
    """Whether an answer is a Status object of the API server, rather than of a Service behind its proxy."""
    try:
        status = json.loads(body or "{}")
    except ValueError:
        return False
    return isinstance(status, dict) and status.get("kind") == "Status"


class _Answer:
    """An API server's answer to a refused request."""

    def __init__(self, error: Any) -> None:
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


def _refusal(answer: _Answer, host: str, kind: Kind, task: str) -> ClusterRefused:
    # A webhook's refusal has the code that the webhook chose, 403 if none.
    if answer.message.startswith("admission webhook "):
        return Denied(f"the cluster refuses this {kind.name}: {answer.message}")
    if webhook := re.search(r'failed calling webhook "([^"]+)"', answer.message):
        return WebhookDown(
            f"the webhook {webhook[1]} does not answer, so nobody can {task}: "
            "is its controller running? (mathloop doctor --cluster)"
        )
    if answer.code == 404:
        remedy = kind.remedy or "is it Kubernetes 1.25 or newer?"
        return ClusterRefused(f"the cluster has no {kind.name} ({kind.crd}): {remedy}")
    if answer.code == 401:
        remedy = "log in again, so that `kubectl get pods` works"
        return ClusterRefused(f"{host} does not know these credentials: {remedy}")
    if answer.code == 403:
        return Forbidden(f"no permission to {task}: apply the Roles, {MANIFESTS}")
    if answer.code in (400, 422):
        return ClusterRefused(
            f"the cluster refuses this {kind.name}: {answer.message}; "
            "its version differs from what mathloop writes (docs/cluster.md)"
        )
    return Unreachable(f"{host} failed (HTTP {answer.code}) to {task}; its log says more")


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
