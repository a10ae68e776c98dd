"""Multi-user Kubeflow: every request carries the token; whoever has none, or a wrong one, gets one line."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster.refusals import ClusterRefused
from mathloop.errors import BadConfig
from pipelines.cluster import login
from pipelines.cluster.connection import Access, connect
from tests.fake_cluster import FakeCluster, Refusal
from tests.pipelines.cluster_calls import Run, done, refused

AUDIENCE = "pipelines.kubeflow.org"


def _token(audience: str, number: int = 0) -> str:
    """A ServiceAccount's token, but for its signature."""
    claims = {"aud": [audience], "sub": "system:serviceaccount:ann:default-editor", "number": number}
    parts = [{"alg": "RS256"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "signature-that-no-message-may-hold"])


@pytest.fixture
def tokens(fake: FakeCluster) -> list[str]:
    """Puts an auth proxy before KFP, which passes tokens of KFP's audience alone; the tokens it passed."""
    fake.kfp.multi_user = True
    passed: list[str] = []
    handle = fake.kfp.handle

    def check(method: str, path: str, query: dict[str, str], raw: bytes, headers: Any) -> Any:
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        try:
            padded = token.split(".")[1] + "=="
            claims = json.loads(base64.urlsafe_b64decode(padded))
        except (IndexError, ValueError):
            claims = {}
        if scheme != "Bearer" or AUDIENCE not in claims.get("aud", []):
            raise Refusal(401, "Unauthorized", f"Jwt verification fails: {token}")
        passed.append(token)
        return handle(method, path, query, raw, headers)

    fake.kfp.handle = check
    return passed


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(token: str) -> Path:
        path = tmp_path / "token"
        path.write_text(f"{token}\n")
        return path

    return write


@pytest.mark.slow
@pytest.mark.parametrize("source", ["--token-file", "KF_PIPELINES_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH"])
def test_every_request_carries_the_token(
    fake: FakeCluster, call: Run, tokens: list[str], write: Callable[..., Path], source: str
) -> None:
    token = _token(AUDIENCE)
    path = write(token)
    options = ["--host", fake.url, "--namespace", "ann"]
    environment = {"KF_PIPELINES_TOKEN": token} if source == "KF_PIPELINES_TOKEN" else {source: str(path)}
    if source == "--token-file":
        options, environment = [*options, source, str(path)], {}
    done(call("submit", *options, **environment))
    assert set(tokens) == {token}
    (experiment,) = fake.kfp.experiments.values()
    (pipeline,) = fake.kfp.pipelines.values()
    assert (experiment["namespace"], pipeline["namespace"]) == ("ann", "ann")
    (run,) = fake.kfp.runs
    done(call("schedule", "--cron", "0 2 * * *", *options, **environment))
    assert run in done(call("cancel", run[:8], *options, **environment))
    assert set(tokens) == {token}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["submit", "cancel latest", "schedule --list"])
def test_another_token_or_none_is_one_line(
    fake: FakeCluster, call: Run, tokens: list[str], write: Callable[..., Path], command: str
) -> None:
    words = [*command.split(), "--host", fake.url, "--namespace", "ann"]
    wrong = write(_token("kubernetes.default.svc"))
    for line in (refused(call(*words)), refused(call(*words, "--token-file", str(wrong)))):
        assert f"wants a valid token to check its health: write one of audience {AUDIENCE}" in line
        assert "kubectl create token" in line
        assert "signature" not in line
    assert tokens == []


def test_a_renewed_token_is_read_again(
    fake: FakeCluster, tokens: list[str], write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubelet renews a mounted token each hour; a run is followed for a night."""
    monkeypatch.setattr(login, "MOUNTED", write(_token(AUDIENCE, 1)))
    pipelines = connect(Access(fake.url, "ann"))
    write(_token(AUDIENCE, 2))
    with pipelines.answered("list runs") as client:
        client.list_runs(page_size=1)
    assert tokens[-1] == _token(AUDIENCE, 2)
    write(_token("another"))
    with pytest.raises(ClusterRefused, match="wants a valid token"), pipelines.answered("list") as client:
        client.list_runs(page_size=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "not a key"), ("two words", "not a key"), (None, "No such file"), (b"\xff\xfe", "not text")],
)
def test_a_file_without_a_token_is_one_line(tmp_path: Path, text: str | bytes | None, said: str) -> None:
    path = tmp_path / "token"
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text is not None:
        path.write_text(text)
    with pytest.raises(BadConfig) as error:
        connect(Access("http://127.0.0.1:9", token_file=path))
    assert said in str(error.value)
    assert "kubectl create token" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_token_file_needs_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server's proxy would take the token for its own."""
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    with pytest.raises(BadConfig, match="give KFP's URL too, with --host"):
        connect(Access(token_file=tmp_path / "token"))
