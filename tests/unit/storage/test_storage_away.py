"""A store whose server goes away for a while: pods of runs wait for it, a person gets the error at once."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mathloop import retrying
from mathloop.errors import BadConfig, Corrupt, StorageAway, StorageRefused
from mathloop.storage import Store, Taken, open_store
from mathloop.storage.local import LocalObjects
from mathloop.storage.patient import PatientObjects
from tests.conftest import start_s3


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_SECONDS", 0.01)


class Flaky(LocalObjects):
    """Loses the answers to the first `losses` requests; a write is done all the same, as behind a proxy."""

    losses = 2

    def _lose(self) -> None:
        if self.losses:
            self.losses -= 1
            raise StorageAway("no answer")

    def create(self, key: str, data: bytes) -> None:
        try:
            super().create(key, data)
        finally:
            self._lose()

    def put(self, key: str, source: object, size: int, sha256: str) -> None:
        super().put(key, source, size, sha256)  # type: ignore[arg-type]
        self._lose()

    def read(self, key: str) -> Iterator[bytes]:
        data = b"".join(super().read(key))
        yield data[:3]
        self._lose()
        yield data[3:]

    def keys(self, prefix: str) -> Iterator[str]:
        for number, key in enumerate(super().keys(prefix)):
            if number:
                self._lose()
            yield key


@pytest.fixture
def flaky(tmp_path: Path) -> Flaky:
    return Flaky(tmp_path / "store")


def test_an_artifact_arrives_whole(flaky: Flaky, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("a", "b"):
        (tmp_path / "model" / name).write_bytes(name.encode() * 100_000)
    store = Store(PatientObjects(flaky, 60))
    store.publish(tmp_path / "model", "model")
    for losses in (2, 1, 3):
        flaky.losses = losses
        store.fetch("model", tmp_path / str(losses))
        assert (tmp_path / str(losses) / "b").read_bytes() == b"b" * 100_000
        assert flaky.losses == 0
    flaky.losses = 1
    assert list(store.names()) == ["model"]


def test_an_entry_whose_answer_was_lost_is_ones_own_and_another_writers_is_not(flaky: Flaky) -> None:
    store = Store(PatientObjects(flaky, 60))
    store.append("champion", 0, b"mine")
    assert list(store.read_log("champion")) == [(0, b"mine")]
    with pytest.raises(Taken):
        store.append("champion", 0, b"mine")
    flaky.losses = 1
    with pytest.raises(Taken):
        store.append("champion", 0, b"theirs")
    assert list(store.read_log("champion")) == [(0, b"mine")]
    store.check_writable()


def test_each_try_is_said_and_the_time_is_bounded(flaky: Flaky, capsys: pytest.CaptureFixture[str]) -> None:
    flaky.losses = 1_000_000
    with pytest.raises(StorageAway, match="no answer"):
        PatientObjects(flaky, 0.1).put("a", io.BytesIO(b"x"), 1, "")
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 10
    assert all(line.startswith("no answer; trying again in ") for line in lines)


@pytest.mark.parametrize("error", [StorageRefused("access denied"), Corrupt("another SHA-256")])
def test_what_will_not_change_is_not_tried_again(
    flaky: Flaky, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked: list[str] = []

    def refuse(key: str, *_: object) -> bool:
        asked.append(key)
        raise error

    monkeypatch.setattr(flaky, "holds", refuse)
    with pytest.raises(type(error)):
        PatientObjects(flaky, 60).holds("a", 1, "")
    assert asked == ["a"]


def test_a_patience_that_is_no_number_is_one_line(s3: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retrying.PATIENCE_VARIABLE, "3 min")
    with pytest.raises(
        BadConfig, match=r"^MATHLOOP_PATIENCE is not a number of seconds; expected one like 180$"
    ):
        open_store("s3://mathloop/away")


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = start_s3(tmp_path_factory.mktemp("away"))
    try:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        (tmp_path / "file").write_text("x")
        server.kill()
        with pytest.raises(StorageAway, match="no S3 server"):
            open_store("s3://mathloop/away").publish(tmp_path / "file", "a")
        monkeypatch.setenv(retrying.PATIENCE_VARIABLE, "300")
        back = threading.Thread(target=lambda: (time.sleep(1), server.start()))
        back.start()
        open_store("s3://mathloop/away").publish(tmp_path / "file", "a")
        back.join()
        assert open_store("s3://mathloop/away").exists("a")
        assert "connection refused" in capsys.readouterr().err
    finally:
        server.kill()
