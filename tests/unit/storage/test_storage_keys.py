"""Who a bucket is asked as: our keys, AWS's keys, or the identity of a pod, whose credentials run out."""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from mathloop.errors import StorageRefused
from mathloop.storage import open_store
from tests.conftest import KEY, SECRET

TOKEN = "token-that-no-message-may-hold"
OURS = ("MATHLOOP_S3_ACCESS_KEY_ID", "MATHLOOP_S3_SECRET_ACCESS_KEY")
AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
STORE = "s3://mathloop/keys"


class Endpoint(BaseHTTPRequestHandler):
    """STS, an agent such as EKS Pod Identity's, and EC2's instance metadata, as AWS documents them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    tokens: ClassVar[list[str]] = []
    """With which credentials were asked for, one after the other."""
    seconds: ClassVar[float] = 3600
    status: ClassVar[int] = 200
    answer: ClassVar[str | None] = None
    session: ClassVar[str] = ""
    """SeaweedFS refuses a session's token that is not its own; AWS has one always."""
    sessions: ClassVar[list[str]] = []
    """With which sessions the store was asked, where this is the store."""

    def do_GET(self) -> None:
        if self.path.startswith("/mathloop/"):
            type(self).sessions.append(self.headers["X-Amz-Security-Token"])
            self.status = 404
            self.reply("<Error><Code>NoSuchKey</Code></Error>", "application/xml")
            return
        if self.path.startswith("/latest/meta-data/iam/security-credentials/"):
            assert self.headers["X-aws-ec2-metadata-token"] == (self.answer or "imds")
        if self.path.endswith("/"):
            self.reply("node-role")
            return
        type(self).tokens.append(self.headers["Authorization"] or self.path)
        named = {"AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": self.session}
        self.reply(json.dumps({**named, "Expiration": self.expiry(), "Code": "Success"}))

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self.reply("imds")

    def do_POST(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        assert asked["Action"] == "AssumeRoleWithWebIdentity"
        type(self).tokens.append(f"{asked['RoleArn']} {asked['WebIdentityToken']}")
        keys = f"<AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
        more = f"<SessionToken>{self.session}</SessionToken><Expiration>{self.expiry()}</Expiration>"
        self.reply(
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleWithWebIdentityResult><Credentials>{keys}{more}</Credentials>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )

    def expiry(self) -> str:
        return (datetime.now(UTC) + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def reply(self, text: str, kind: str = "text/plain") -> None:
        data = (text if self.answer is None else self.answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *values: object) -> None:
        """Keeps quiet."""


@pytest.fixture
def endpoint(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The stand-in's address; no keys are set any more."""
    for name in (*OURS, *AWS):
        monkeypatch.delenv(name, raising=False)
    Endpoint.tokens, Endpoint.seconds, Endpoint.status, Endpoint.answer = [], 3600, 200, None
    Endpoint.session, Endpoint.sessions = "", []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def by_web_identity(endpoint: str, folder: Path) -> dict[str, str]:
    (folder / "token").write_text(TOKEN)
    return {
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/mathloop",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_ENDPOINT_URL_STS": endpoint,
    }


def by_agent(endpoint: str, folder: Path) -> dict[str, str]:
    (folder / "token").write_text(TOKEN)
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(folder / "token"),
    }


def by_metadata(endpoint: str, folder: Path) -> dict[str, str]:
    return {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint}


Identity = Callable[[str, Path], dict[str, str]]
IDENTITIES: tuple[Identity, ...] = (by_web_identity, by_agent, by_metadata)
each_identity = pytest.mark.parametrize("identity", IDENTITIES, ids=lambda one: one.__name__)


def refused(use: Callable[[], object]) -> str:
    with pytest.raises(StorageRefused) as caught:
        use()
    message = str(caught.value)
    assert "\n" not in message
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    return message


def test_our_own_names_come_first(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """KFP's launcher takes AWS_* for its own bucket; a store may have other keys."""
    for ours, theirs in zip(OURS, AWS, strict=True):
        monkeypatch.setenv(ours, os.environ[theirs])
        monkeypatch.setenv(theirs, "of another bucket".replace(" ", "-"))
    open_store(STORE).check_writable()
    monkeypatch.setenv(OURS[1], "wrong")
    assert f"check {OURS[0]}, {OURS[1]} and that user's" in refused(open_store(STORE).check_writable)


@pytest.mark.parametrize("names", [OURS, AWS])
@pytest.mark.parametrize("missing", [0, 1])
def test_half_a_pair_is_one_line(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str], missing: int
) -> None:
    monkeypatch.setenv(names[1 - missing], "x")
    assert f"variable {names[missing]} is not set" in refused(lambda: open_store(STORE))


@each_identity
def test_without_keys_the_pods_identity_is_used(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity
) -> None:
    for name, value in identity(endpoint, tmp_path).items():
        monkeypatch.setenv(name, value)
    store = open_store(STORE)
    assert Endpoint.tokens == []
    store.check_writable()
    (tmp_path / "file").write_text("x")
    store.publish(tmp_path / "file", f"by/{identity.__name__}")
    assert store.exists(f"by/{identity.__name__}")
    assert len(Endpoint.tokens) == 1, "credentials are kept as long as they hold"


@each_identity
def test_a_session_goes_with_every_request(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity
) -> None:
    for name, value in identity(endpoint, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", endpoint)
    Endpoint.session = "session"
    assert not open_store(STORE).exists("a")
    assert Endpoint.sessions == ["session"]


@pytest.mark.parametrize("identity", IDENTITIES[:2], ids=lambda one: one.__name__)
def test_credentials_that_run_out_are_asked_for_with_the_renewed_token(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity
) -> None:
    for name, value in identity(endpoint, tmp_path).items():
        monkeypatch.setenv(name, value)
    Endpoint.seconds = 5  # less than what minio takes for too short
    store = open_store(STORE)
    assert not store.exists("a")
    (tmp_path / "token").write_text("renewed")
    assert not store.exists("a")
    assert [text.rpartition(" ")[2] for text in Endpoint.tokens] == [TOKEN, "renewed"]


@each_identity
def test_an_identity_that_is_refused_is_one_line_without_its_token(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity
) -> None:
    for name, value in identity(endpoint, tmp_path).items():
        monkeypatch.setenv(name, value)
    Endpoint.status = 403
    assert "HTTP 403" in refused(lambda: open_store(STORE).exists("a"))
    Endpoint.status, Endpoint.answer = 200, "<html>"
    assert "its answer is not credentials" in refused(lambda: open_store(STORE).exists("a"))
    for name, value in identity("http://127.0.0.1:1", tmp_path).items():
        monkeypatch.setenv(name, value)
    assert "(no answer)" in re.sub(
        "EC2's instance metadata: ", "", refused(lambda: open_store(STORE).exists("a"))
    )
    if identity is not by_metadata:
        (tmp_path / "token").unlink()
        assert "its token's file cannot be read" in refused(lambda: open_store(STORE).exists("a"))


def test_neither_keys_nor_an_identity_is_one_line(endpoint: str) -> None:
    message = refused(lambda: open_store(STORE))
    assert message.startswith(
        f"no keys and no identity for an s3:// store; set {OURS[0]} and {OURS[1]}, or give"
    )
