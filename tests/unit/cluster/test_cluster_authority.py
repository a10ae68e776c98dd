"""A store whose certificate comes from an authority of its own, as the component minio-tls makes one."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import StorageRefused
from mathloop.storage.s3 import CA_VARIABLE, S3Objects

LISTING = (
    b'<?xml version="1.0"?><ListBucketResult><Name>mathloop</Name><IsTruncated>false</IsTruncated><Contents>'
    b"<Key>store/policy</Key><LastModified>2026-11-25T00:00:00.000Z</LastModified><ETag>x</ETag><Size>1</Size>"
    b"</Contents></ListBucketResult>"
)


class Bucket(BaseHTTPRequestHandler):
    """Lists one object."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(LISTING)))
        self.end_headers()
        self.wfile.write(LISTING)

    def log_message(self, *parts: Any) -> None:
        """Keeps quiet."""


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The authority's certificate; a server with one of its certificates is the environment's endpoint."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here, which makes the certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=tmp_path)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = tmp_path / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority", "-days", "2")
    run("req", *key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=store")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions"]
    run("x509", "-req", "-in", "tls.csr", "-out", "tls.crt", *signed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", f"https://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    yield tmp_path / "ca.crt"
    server.shutdown()
    server.server_close()


def test_an_authority_that_was_named_is_trusted(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CA_VARIABLE, str(authority))
    # Of two the narrower one counts: a pod's SSL_CERT_FILE is for everything else that it talks to.
    monkeypatch.setenv("SSL_CERT_FILE", "/absent")
    assert list(S3Objects("mathloop", "store").keys("")) == ["policy"]


def test_an_authority_that_nobody_named_is_one_line(authority: Path) -> None:
    with pytest.raises(StorageRefused, match=f"TLS failed: .* {CA_VARIABLE} does not cover") as caught:
        list(S3Objects("mathloop", "store").keys(""))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_mounted_is_one_line(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CA_VARIABLE, "/etc/store-ca/ca.crt")
    with pytest.raises(StorageRefused, match=f"{CA_VARIABLE} names .*ca.crt, which is not a file"):
        S3Objects("mathloop", "store")
