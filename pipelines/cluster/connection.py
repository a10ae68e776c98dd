"""Connects to KFP: by URL, from inside the cluster, or through the kubeconfig. Errors are one line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from mathloop.cluster.kubeconfig import SERVICE_ACCOUNT
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Unreachable
from mathloop.errors import BadConfig
from mathloop.serving.keys import read_key

NAMESPACE = "kubeflow"
"""KFP's own namespace; the runs' namespace is KFP's default or `--namespace`."""
ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"
TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"
SERVICE = f"ml-pipeline.{NAMESPACE}.svc.cluster.local:8888"
PROXY = f"/api/v1/namespaces/{NAMESPACE}/services/ml-pipeline:http/proxy"
FORWARD = f"kubectl port-forward -n {NAMESPACE} svc/ml-pipeline-ui 8080:80"
INSTALL = "install Kubeflow Pipelines 2.17 (docs/cluster.md), or set its URL with --host"
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0


class Pipelines:
    """A reachable KFP API server."""

    def __init__(self, client: Any, host: str, ui: str, multi_user: bool) -> None:
        self.client, self.host, self.ui, self.multi_user = client, host, ui, multi_user

    def run_url(self, run_id: str) -> str:
        """The URL of a run's page in the UI."""
        return f"{self.ui}/#/runs/details/{run_id}"

    @contextlib.contextmanager
    def answered(self, what: str) -> Iterator[Any]:
        """Yields the client; turns its exceptions into one line. `what` is a request such as "list runs"."""
        import urllib3
        from kfp_server_api import ApiException

        try:
            # The client prints links and warnings.
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield self.client
        except ApiException as error:
            raise _refused(error.status, self.host, what) from None
        except urllib3.exceptions.HTTPError:
            raise _unreachable(self.host) from None


def connect(host: str | None = None) -> Pipelines:
    """Connects to `--host` or KF_PIPELINES_ENDPOINT, else to this pod's cluster, else through the kubeconfig.

    Raises:
        ClusterRefused: there is no kubeconfig, no KFP, no permission or no answer.
        BadConfig: the host is not a URL.
    """
    quiet()
    endpoint = host or os.environ.get(ENDPOINT_VARIABLE, "").strip()
    in_pod = (SERVICE_ACCOUNT / "token").is_file()
    url = endpoint or (f"http://{SERVICE}" if in_pod else "")
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise BadConfig(f"--host: expected http://host:port of KFP, found {url.rpartition('@')[2]!r}")
        health = _health(url.rstrip("/"))
        url, ui = url.rstrip("/"), url.rstrip("/")
    else:
        cluster = Cluster.connect()
        try:
            health = cluster.request(f"{PROXY}/apis/v2beta1/healthz")
        except Unreachable as error:
            if "HTTP 503" in str(error):  # the API server's answer for a Service without a ready pod
                raise ClusterRefused(
                    f"KFP in {NAMESPACE} of {cluster.host} has no ready pod: kubectl get pods -n {NAMESPACE}"
                ) from None
            raise
        except ClusterRefused as error:
            if "no permission" in str(error):
                raise ClusterRefused(
                    f"no permission to reach KFP through {cluster.host}: request `create` and `get` of "
                    f"services/proxy in {NAMESPACE}, or run {FORWARD} and use --host http://localhost:8080"
                ) from None
            raise ClusterRefused(
                f"no Kubeflow Pipelines in {NAMESPACE} of {cluster.host}: {INSTALL}"
            ) from None
        url, ui = cluster.host, "http://localhost:8080"
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        address = url if endpoint or in_pod else f"{url}{PROXY}"
        client = _client(url if endpoint else None, address, ui)
    return Pipelines(client, url, ui, bool(health.get("multi_user")))


def _client(host: str | None, address: str, ui: str) -> Any:
    """KFP's client.

    Args:
        host: value of `--host`; None: log in as the kubeconfig or this pod does.
        address: KFP's address without `host`. The hook that refreshes a kubeconfig's token before each
            request also resets the client's address, to the API server's root, and the hook; this client
            keeps both.
    """
    import kfp

    class Client(kfp.Client):  # type: ignore[misc]
        def _load_config(self, *arguments: Any, **named: Any) -> Any:
            configuration = super()._load_config(*arguments, **named)
            if host is None:
                configuration.host = address
                refresh = configuration.refresh_api_key_hook

                def refresh_key(changed: Any) -> None:
                    refresh(changed)
                    changed.host, changed.refresh_api_key_hook = address, refresh_key

                if refresh is not None:
                    configuration.refresh_api_key_hook = refresh_key
            return configuration

    return Client(host=host, existing_token=read_key(TOKEN_VARIABLE), ui_host=ui)


def _health(url: str) -> dict[str, Any]:
    """KFP's health; unlike the client, does not retry for half a minute if there is no answer."""
    import json

    import urllib3

    token = read_key(TOKEN_VARIABLE)
    try:
        answer = urllib3.PoolManager(retries=False).request(
            "GET",
            f"{url}/apis/v2beta1/healthz",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        )
        if answer.status != 200:
            raise _refused(answer.status, url, "check its health")
        return dict(json.loads(answer.data))
    except urllib3.exceptions.HTTPError:
        raise _unreachable(url) from None
    except (ValueError, TypeError):
        raise ClusterRefused(f"{url} is not Kubeflow Pipelines: {INSTALL}") from None


def _refused(status: int | None, host: str, what: str) -> ClusterRefused:
    if status in (401, 403):
        return ClusterRefused(
            f"KFP at {host}: no permission to {what}; in multi-user Kubeflow, pass your Kubeflow profile's "
            f"namespace with --namespace, and set {TOKEN_VARIABLE} to a token"
        )
    if status in (404, 405):
        return ClusterRefused(f"{host} has no v2beta1 API of Kubeflow Pipelines: {INSTALL}")
    return ClusterRefused(
        f"KFP at {host} refused to {what} (HTTP {status}); see the log of the ml-pipeline pod"
    )


def _unreachable(host: str) -> ClusterRefused:
    return ClusterRefused(f"no Kubeflow Pipelines at {host}; is it running, and is --host right? {INSTALL}")


def quiet() -> None:
    """Silences the libraries' log messages about retries; one error line at the end is enough."""
    for name in ("urllib3", "kubernetes", "kfp", "root"):
        logging.getLogger(name if name != "root" else None).setLevel(logging.ERROR)
