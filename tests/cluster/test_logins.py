"""Logins by token, by an exec plugin and by certificate, through a real API server's proxy to KFP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.real_cluster import NAMESPACE, RUNS, Object, RealCluster, until

ACCOUNT = "mathloop-test-login"
STANDIN = """
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

ANSWERS = {"healthz": {"multi_user": False}, "experiments": {}, "runs": {}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        found = ANSWERS.get(path.removeprefix("/apis/v2beta1/"))
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found or {}).encode())


HTTPServer(("", 8888), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def pipelines(cluster: RealCluster) -> Iterator[None]:
    """KFP, or a pod behind the same Service that answers three of its paths, and 404 to all others."""
    if cluster.has_kfp():
        yield
        return
    named = {"name": "ml-pipeline", "namespace": RUNS, "labels": {"app": "ml-pipeline-standin"}}
    container = {
        "name": "standin",
        "image": "mathloop/control:0.1.0-cpu",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", STANDIN],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    }
    port = {"name": "http", "port": 8888, "targetPort": 8888}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": {"containers": [container]}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"selector": named["labels"], "ports": [port]},
        },
    )
    try:
        cluster.kubectl("wait", "--for=condition=Ready", "pod/ml-pipeline", "-n", RUNS, "--timeout=180s")
        path = f"/api/v1/namespaces/{RUNS}/services/ml-pipeline:http/proxy/apis/v2beta1/healthz"
        until("the stand-in of KFP answers", 60, lambda: _answers(cluster, path))
        yield
    finally:
        cluster.kubectl("delete", "pod,service", "ml-pipeline", "-n", RUNS, "--grace-period=1")


def _answers(cluster: RealCluster, path: str) -> bool:
    try:
        return "multi_user" in cluster.kubectl("get", "--raw", path)
    except AssertionError:
        return False


@pytest.fixture(scope="module")
def token(cluster: RealCluster) -> Iterator[str]:
    """A token of a ServiceAccount that may do everything in our namespace and in that of the runs."""
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    named = {"name": ACCOUNT, "namespace": NAMESPACE}
    bindings: list[Object] = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": ACCOUNT, "namespace": namespace},
            "roleRef": role,
            "subjects": [account],
        }
        for namespace in (NAMESPACE, RUNS)
    ]
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named}, *bindings)
    try:
        yield cluster.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE).strip()
    finally:
        cluster.kubectl("delete", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
        for namespace in (NAMESPACE, RUNS):
            cluster.kubectl("delete", "rolebinding", ACCOUNT, "-n", namespace)


def _reaches_kfp(cluster: RealCluster, kubeconfig: Path, store_url: str) -> None:
    done = cluster.mathloop("rounds", f"--store={store_url}", kubeconfig=kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    done = cluster.mathloop("doctor", "--cluster", f"--set=store={store_url}", kubeconfig=kubeconfig)
    assert done.stderr == ""
    (line,) = [line for line in done.stdout.splitlines() if "kubeflow pipelines:" in line]
    assert line.startswith("ok  "), line


@pytest.mark.usefixtures("pipelines")
def test_a_certificate_logs_in(cluster: RealCluster, store_url: str) -> None:
    """The administrator's own kubeconfig; KFP itself where it is installed, else a stand-in in a pod.

    Run: lab.
    """
    view = cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json")
    if not any("client-certificate" in key for key in json.loads(view)["users"][0]["user"]):
        pytest.skip("this kubeconfig logs in without a certificate")
    _reaches_kfp(cluster, cluster.kubeconfig, store_url)


@pytest.mark.usefixtures("pipelines")
def test_a_token_logs_in(cluster: RealCluster, token: str, store_url: str, tmp_path: Path) -> None:
    """A token written into the kubeconfig: every request keeps the proxy's path.

    Run: lab.
    """
    _reaches_kfp(cluster, cluster.log_in(tmp_path / "token", {"token": token}), store_url)


@pytest.mark.usefixtures("pipelines")
def test_an_exec_plugin_logs_in(cluster: RealCluster, token: str, store_url: str, tmp_path: Path) -> None:
    """A command of the kubeconfig prints the token, as those of EKS and GKE do.

    Run: lab.
    """
    version = "client.authentication.k8s.io/v1"
    said = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
    (tmp_path / "credential.json").write_text(json.dumps(said), encoding="utf-8")
    plugin = {
        "apiVersion": version,
        "command": "cat",
        "args": [str(tmp_path / "credential.json")],
        "interactiveMode": "Never",
    }
    _reaches_kfp(cluster, cluster.log_in(tmp_path / "exec", {"exec": plugin}), store_url)


def test_an_expired_login_is_one_line(cluster: RealCluster, tmp_path: Path) -> None:
    """A token that the API server does not know: no traceback, exit code 2.

    Run: lab.
    """
    kubeconfig = cluster.log_in(tmp_path / "unknown", {"token": "not-a-token-of-this-cluster"})
    done = cluster.mathloop("doctor", "--cluster", kubeconfig=kubeconfig)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "does not know these credentials" in line
    assert "not-a-token" not in done.stdout + done.stderr
