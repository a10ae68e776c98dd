"""How a client reaches its cluster: from inside a pod, or through the user's kubeconfig."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mathloop.cluster.refusals import ClusterRefused

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HEADER = re.compile(r"[\x20-\x7e]*")


def api_client(context: str | None = None) -> Any:
    """A `kubernetes.client.ApiClient` for this pod's cluster or a context of the kubeconfig. Sends nothing.

    Raises:
        ClusterRefused: neither exists, or the kubeconfig cannot be used.
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
            with _hidden_errors() as failed:
                config.load_kube_config(path, context=context, client_configuration=configuration)
            if failed:
                raise ClusterRefused(
                    "the login command of the kubeconfig failed or is not installed: run "
                    "`kubectl get pods` and fix what it reports"
                )
    except (config.ConfigException, YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        missing = "no configuration found" in str(error).lower() or "no such" in str(error).lower()
        mistake = "no kubeconfig" if missing else "the kubeconfig cannot be used"
        raise ClusterRefused(
            f"{mistake} ($KUBECONFIG or ~/.kube/config): get one for your cluster, "
            "so that `kubectl get pods` works"
        ) from None
    if not all(_HEADER.fullmatch(value) for value in configuration.api_key.values()):
        raise ClusterRefused(
            "the kubeconfig's token holds a line break or another control character; get a new one"
        )
    configuration.retries = urllib3.Retry(total=2, backoff_factor=0.2, read=0, status=0)
    return client.ApiClient(configuration)


@contextmanager
def _hidden_errors() -> Iterator[list[logging.LogRecord]]:
    """Collects and hides errors that a library only logs: their text may hold a token."""
    errors: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            errors.append(record)
        return record.levelno < logging.ERROR

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield errors
    finally:
        root.removeFilter(keep)
