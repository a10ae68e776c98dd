"""MLflow, by version 2.0 of its REST API: no package is needed, and a pod's image has none.

    https://mlflow.org/docs/latest/api_reference/rest-api.html

Logins are those that MLflow's own client takes from the environment.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from mathloop.tracking.tracked import Tracked

METRICS, PARAMS = 1000, 100
"""Most of each in one request."""
_VALUE = 500
"""Characters of a parameter that old servers take too."""
_KEY = 250
_ANSWER = 8 << 20
_SECONDS = 30.0
_TAG = "mathloop.round"


def send(config: Mapping[str, Any], tracked: Tracked) -> str:
    """Logs a round as one MLflow run, once: a run of this round that is finished stays as it is.

    Returns where it is. Raises OSError or ValueError, whose first line says what the server refuses.
    """
    server = _Server(config["mlflow"])
    experiment = _experiment(server, config["project"])
    found = server.call(
        "runs/search",
        experiment_ids=[experiment],
        filter=f"tags.`{_TAG}` = '{tracked.run.replace(chr(39), '')}'",
        max_results=100,
    )
    for info in (one["info"] for one in found.get("runs", [])):
        if info["status"] == "FINISHED":
            return f"run {info['run_id']}, sent before"
        server.call("runs/delete", run_id=info["run_id"])  # half sent, before a kill
    now = round(1000 * time.time())
    tags = [{"key": _TAG, "value": tracked.run}, {"key": "mlflow.source.name", "value": "mathloop"}]
    created = server.call(
        "runs/create", experiment_id=experiment, run_name=tracked.run, start_time=now, tags=tags
    )
    run = created["run"]["info"]["run_id"]
    params = [{"key": _key(key), "value": value[:_VALUE]} for key, value in tracked.settings.items()]
    for batch in _batches(params, PARAMS):
        server.call("runs/log-batch", run_id=run, params=batch)
    points = [(name, 0, value) for name, value in tracked.scores.items()]
    points += [(name, int(step), value) for name, curve in tracked.curves.items() for step, value in curve]
    metrics = [
        {"key": _key(name), "value": value, "timestamp": now, "step": step} for name, step, value in points
    ]
    for batch in _batches(metrics, METRICS):
        server.call("runs/log-batch", run_id=run, metrics=batch)
    server.call("runs/update", run_id=run, status="FINISHED", end_time=round(1000 * time.time()))
    return f"run {run}"


def _experiment(server: _Server, name: str) -> str:
    """The experiment's id; it is created if it is missing."""
    for _ in range(2):  # another round may create it just now
        try:
            found = server.call(f"experiments/get-by-name?experiment_name={quote(name, safe='')}")
            return str(found["experiment"]["experiment_id"])
        except _Refused as refused:
            if refused.code != "RESOURCE_DOES_NOT_EXIST":
                raise
        try:
            return str(server.call("experiments/create", name=name)["experiment_id"])
        except _Refused as refused:
            if refused.code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise ValueError(f"the experiment {name} can be neither found nor created; was it deleted?")


def _key(name: str) -> str:
    """A name that MLflow takes: `maj@8` is `maj_at_8`."""
    return re.sub(r"[^\w/. :-]", "_", name.replace("@", "_at_"))[:_KEY]


def _batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


class _Refused(ValueError):
    """The server's own refusal, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: it would carry the login to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Server:
    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/2.0/mlflow"
        self._headers = {"Content-Type": "application/json"}
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            self._headers["Authorization"] = f"Bearer {token}"
        elif name := os.environ.get("MLFLOW_TRACKING_USERNAME"):
            login = f"{name}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        certificate = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
        context = ssl.create_default_context(cafile=certificate)
        self._opener = build_opener(_NoRedirects, HTTPSHandler(context=context))

    def call(self, path: str, **body: Any) -> dict[str, Any]:
        """POST with a body, GET without; the answer's object."""
        data = json.dumps(body, allow_nan=False).encode() if body else None
        request = Request(f"{self._url}/{path}", data=data, headers=self._headers)
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                value = json.loads(answer.read(_ANSWER) or b"{}")
        except HTTPError as error:
            with error:
                raise _refusal(error.code, error.read(_ANSWER)) from None
        except URLError as error:
            raise ValueError(f"{self._url} cannot be reached: {error.reason}") from None
        if not isinstance(value, dict):
            raise ValueError(f"{self._url} is no MLflow server: it answers with something else")
        return value


def _refusal(status: int, body: bytes) -> _Refused:
    try:
        value = json.loads(body)
        return _Refused(str(value["error_code"]), f"HTTP {status}: {value['message']}")
    except (ValueError, KeyError, TypeError):
        return _Refused("", f"HTTP {status}")
