"""Each way to log in of a kubeconfig: KFP is asked through the API server's proxy, with the login, always."""

from __future__ import annotations

import datetime
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mathloop.cluster.refusals import ClusterRefused
from pipelines.cluster.connection import PROXY, connect

TOKEN = "token-that-no-message-may-hold"


class ApiServer:
    """An API server that knows KFP's proxy path alone, over TLS, and notes who asked for what."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str | None, bool]] = []
        """(path, Authorization, whether a client certificate was shown)."""
        self.certificate, self.key = _certificate(folder)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                connection: Any = self.connection
                shown = bool(connection.getpeercert(binary_form=True))
                asked.append((path, self.headers.get("Authorization"), shown))
                found = path.startswith(f"{PROXY}/apis/v2beta1/")
                answer = {"multi_user": False} if path.endswith("healthz") else {"runs": []}
                body = json.dumps(answer).encode() if found else b"404 page not found\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that is its own authority, and its key."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mathloop-test")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.crt", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    yield server
    server.server.shutdown()
    server.server.server_close()


def _user(kind: str, api: ApiServer, folder: Path) -> dict[str, Any]:
    if kind == "token":
        return {"token": TOKEN}
    if kind == "certificate":
        return {"client-certificate": str(api.certificate), "client-key": str(api.key)}
    login = folder / "login.py"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN},
    }
    login.write_text(f"print({json.dumps(json.dumps(credential))})")
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(login)],
            "interactiveMode": "Never",
        }
    }


@pytest.mark.parametrize("kind", ["token", "exec plugin", "certificate"])
def test_every_login_asks_the_proxy_for_every_request(
    kind: str, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"https://127.0.0.1:{api.server.server_address[1]}"
    cluster = {"server": address, "certificate-authority": str(api.certificate)}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": _user(kind, api, tmp_path)}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    for variable in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    pipelines = connect()
    for _ in range(3):
        with pipelines.answered("list runs") as client:
            client.list_runs(page_size=1)
    assert len(api.asked) >= 4
    for asked, authorization, shown in api.asked:
        assert asked.startswith(f"{PROXY}/apis/v2beta1/"), asked
        assert authorization == (None if kind == "certificate" else f"Bearer {TOKEN}")
        assert shown is (kind == "certificate")


def test_a_login_without_kfp_is_one_line(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.cluster.connection.PROXY", "/api/v1/namespaces/kubeflow/services/other")
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [
            {
                "name": "here",
                "cluster": {
                    "server": f"https://127.0.0.1:{api.server.server_address[1]}",
                    "certificate-authority": str(api.certificate),
                },
            }
        ],
        "users": [{"name": "me", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClusterRefused) as refused:
        connect()
    assert "\n" not in str(refused.value)
    assert TOKEN not in str(refused.value) + caplog.text
