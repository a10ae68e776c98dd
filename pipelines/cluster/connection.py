"""Connects to KFP: by URL, from inside the cluster, or through the kubeconfig. Errors are one line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mathloop.cluster.kubeconfig import SERVICE_ACCOUNT
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Unreachable
from mathloop.errors import BadConfig, UserError
from pipelines.cluster.login import AUDIENCE, CREATE, PATH_VARIABLE, Token, token_source

NAMESPACE = "kubeflow"
"""KFP's own namespace; the runs' namespace is KFP's default or `--namespace`."""
ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"
SERVICE = f"ml-pipeline.{NAMESPACE}.svc.cluster.local:8888"
PROXY = f"/api/v1/namespaces/{NAMESPACE}/services/ml-pipeline:http/proxy"
FORWARDED = "http://localhost:8080"
FORWARD = f"kubectl port-forward -n {NAMESPACE} svc/ml-pipeline-ui 8080:80"
INSTALL = "install Kubeflow Pipelines 2.17 (docs/cluster.md), or set its URL with --host"
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0


class Absent(UserError):
    """KFP has no object of this id."""


@dataclass(frozen=True)
class Access:
    """The options that say which KFP a command uses."""

    host: str | None = None
    namespace: str | None = None
    """Namespace of the runs."""
    token_file: Path | None = None


@dataclass(frozen=True)
class Pipelines:
    """A reachable KFP API server."""

    client: Any
    host: str
    ui: str
    multi_user: bool
    namespace: str | None = None
    """Namespace of the runs; None: KFP's own."""
    cluster: Cluster | None = None
    """The Kubernetes cluster that this KFP runs in, if KFP was found through it."""

    def run_url(self, run_id: str) -> str:
        """The URL of a run's page in the UI."""
        return f"{self.ui}/#/runs/details/{run_id}"

    @contextlib.contextmanager
    def answered(self, what: str, absent: str | None = None) -> Iterator[Any]:
        """Yields the client; turns its exceptions into one line.

        Args:
            what: a request such as "list runs".
            absent: the whole message if KFP has no object of this id.
        """
        import urllib3
        from kfp_server_api import ApiException

        try:
            with _silent():
                yield self.client
        except ApiException as error:
            if absent is not None and error.status == 404:
                raise Absent(absent) from None
            raise _refused(error.status, self.host, what) from None
        except urllib3.exceptions.HTTPError:
            raise _unreachable(self.host) from None

    def fetch(self, path: str, what: str, query: Mapping[str, str] | None = None) -> bytes:
        """The answer to a GET of what KFP's client does not know; raises Absent for 404."""
        import urllib3
        from kfp_server_api import ApiException

        with self.answered(what, f"KFP at {self.host} has no {path}") as client:
            api = client._run_api.api_client
            headers: dict[str, str] = {}
            api.update_params_for_auth(headers, [], ["Bearer"])
            answer = api.rest_client.pool_manager.request(
                "GET",
                api.configuration.host.rstrip("/") + path,
                fields=dict(query or {}),
                headers=headers,
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
            if answer.status != 200:
                raise ApiException(status=answer.status)
            return bytes(answer.data)


def open_pipelines(access: Access) -> Pipelines:
    """Connects for a command that reads or starts runs; see `connect`.

    Raises:
        ClusterRefused: also if a multi-user Kubeflow is used without a namespace.
    """
    pipelines = connect(access)
    if pipelines.multi_user and not access.namespace:
        raise ClusterRefused(
            f"KFP at {pipelines.host} is multi-user: pass your Kubeflow profile's namespace with --namespace"
        )
    return pipelines


def connect(access: Access = Access()) -> Pipelines:
    """Connects to `--host` or KF_PIPELINES_ENDPOINT, else to this pod's cluster, else through the kubeconfig.

    Raises:
        ClusterRefused: there is no kubeconfig, no KFP, no permission or no answer.
        BadConfig: the host is not a URL, or the token cannot be read.
    """
    quiet()
    endpoint = access.host or os.environ.get(ENDPOINT_VARIABLE, "").strip()
    if endpoint:
        return _at(endpoint.rstrip("/"), access)
    if (SERVICE_ACCOUNT / "token").is_file():
        return replace(_at(f"http://{SERVICE}", access), cluster=Cluster.connect())
    if access.token_file is not None:
        raise BadConfig("--token-file: give KFP's URL too, with --host; a kubeconfig has its own login")
    return _through_kubeconfig(access)


def _at(url: str, access: Access) -> Pipelines:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise BadConfig(f"--host: expected http://host:port of KFP, found {url.rpartition('@')[2]!r}")
    token = token_source(access.token_file)
    health = _health(url, token)
    with _silent():
        client = _client_of_url(url, token)
    return Pipelines(client, url, url, bool(health.get("multi_user")), access.namespace)


def _through_kubeconfig(access: Access) -> Pipelines:
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
                f"services/proxy in {NAMESPACE}, or run {FORWARD} and use --host {FORWARDED}"
            ) from None
        raise ClusterRefused(f"no Kubeflow Pipelines in {NAMESPACE} of {cluster.host}: {INSTALL}") from None
    with _silent():
        client = _client_of_kubeconfig(f"{cluster.host}{PROXY}", FORWARDED)
    return Pipelines(
        client, cluster.host, FORWARDED, bool(health.get("multi_user")), access.namespace, cluster
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hides the links and warnings that KFP's client prints."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _client_of_url(url: str, token: Token | None) -> Any:
    """KFP's client for `url`, which sends the token with every request."""
    import kfp
    from kfp.client.token_credentials_base import TokenCredentialsBase

    class Credentials(TokenCredentialsBase):  # type: ignore[misc]
        def refresh_api_key_hook(self, config: Any) -> None:
            assert token is not None
            config.api_key["authorization"] = token()

    return kfp.Client(host=url, ui_host=url, credentials=Credentials() if token else None)


def _client_of_kubeconfig(address: str, ui: str) -> Any:
    """KFP's client with the login of the kubeconfig.

    The hook that refreshes a kubeconfig's token before each request also resets the client's address, to the
    API server's root, and the hook; this client keeps both.
    """
    import kfp

    class Client(kfp.Client):  # type: ignore[misc]
        def _load_config(self, *arguments: Any, **named: Any) -> Any:
            configuration = super()._load_config(*arguments, **named)
            configuration.host = address
            refresh = configuration.refresh_api_key_hook

            def refresh_key(changed: Any) -> None:
                refresh(changed)
                changed.host, changed.refresh_api_key_hook = address, refresh_key

            if refresh is not None:
                configuration.refresh_api_key_hook = refresh_key
            return configuration

    return Client(ui_host=ui)


def _health(url: str, token: Token | None) -> dict[str, Any]:
    """KFP's health; unlike the client, does not retry for half a minute if there is no answer."""
    import json

    import urllib3

    try:
        answer = urllib3.PoolManager(retries=False).request(
            "GET",
            f"{url}/apis/v2beta1/healthz",
            headers={"Authorization": f"Bearer {token()}"} if token else {},
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        )
        if answer.status != 200:
            raise _refused(answer.status, url, "check its health")
        return dict(json.loads(answer.data))
    except urllib3.exceptions.HTTPError:
        raise _unreachable(url) from None
    except (ValueError, TypeError):
        raise ClusterRefused(f"{url} is not Kubeflow Pipelines: {INSTALL}") from None


LOGIN_STATUSES = (301, 302, 303, 307, 308, 401)
"""Answers of a proxy that asks for a login: an error, or the address of its login page."""


def _refused(status: int | None, host: str, what: str) -> ClusterRefused:
    if status in LOGIN_STATUSES:
        return ClusterRefused(
            f"KFP at {host} wants a valid token to {what}: write one of audience {AUDIENCE} to a file "
            f"({CREATE}) and pass --token-file FILE; in a pod, {PATH_VARIABLE} names it"
        )
    if status == 403:
        return ClusterRefused(
            f"KFP at {host}: no permission to {what}; in multi-user Kubeflow, pass your Kubeflow profile's "
            "namespace with --namespace, and a token of a user of that namespace with --token-file"
        )
    if status in (404, 405):
        return ClusterRefused(f"{host} has no v2beta1 API of Kubeflow Pipelines: {INSTALL}")
    kind = Unreachable if status is None or status >= 500 else ClusterRefused
    return kind(f"KFP at {host} refused to {what} (HTTP {status}); see the log of the ml-pipeline pod")


def _unreachable(host: str) -> ClusterRefused:
    return Unreachable(f"no Kubeflow Pipelines at {host}; is it running, and is --host right? {INSTALL}")


def quiet() -> None:
    """Silences the libraries' log messages about retries; one error line at the end is enough."""
    for name in ("urllib3", "kubernetes", "kfp", "root"):
        logging.getLogger(name if name != "root" else None).setLevel(logging.ERROR)
