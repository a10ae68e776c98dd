"""Publishers and servers that are killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import StorageRefused
from mathloop.storage import checked, open_store, s3

NAME = "rounds/7/policy"
PART = 5 << 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose second file takes three parts on S3."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(2 * PART + 12_345))
    (folder / "tokenizer.json").write_text("{}")
    return folder


PUBLISHER = """
import os, signal, sys
from pathlib import Path
from mathloop.storage import checked, open_store, s3

url, source, name, when = sys.argv[1:]
s3.PART = 5 << 20
place, reads = open_store(url), 0
read, create = checked.CheckedSource.read, place._objects.create

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def read_or_die(self, size):
    global reads
    reads += 1
    if when == f"read {reads}":
        die()
    return read(self, size)

def create_or_die(key, data):
    if when == "before the manifest":
        die()
    create(key, data)
    die()

checked.CheckedSource.read = read_or_die
place._objects.create = create_or_die
place.publish(Path(source), name)
"""


def publish_and_die(url: str, source: Path, when: str) -> None:
    command = [sys.executable, "-c", PUBLISHER, url, str(source), NAME, when]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


# Reads are of 1 MiB in a folder and of a part on S3; the last ones below are the last of the large file.
@pytest.mark.parametrize("when", ["read 1", "read 3", "read 5", "before the manifest"])
def test_a_publisher_killed_before_its_manifest_published_nothing(
    store_url: str, model: Path, tmp_path: Path, when: str
) -> None:
    publish_and_die(store_url, model, when)
    place = open_store(store_url)
    assert not place.exists(NAME)
    assert list(place.names()) == []
    with pytest.raises(StorageRefused, match="has no artifact"):
        place.fetch(NAME, tmp_path / "copy")
    assert place.publish(model, NAME) == place.fetch(NAME, tmp_path / "copy")
    assert list(place.names()) == [NAME]


def test_a_publisher_killed_after_its_manifest_published_everything(
    store_url: str, model: Path, tmp_path: Path
) -> None:
    publish_and_die(store_url, model, "after the manifest")
    place = open_store(store_url)
    assert place.fetch(NAME, tmp_path / "copy") == place.publish(model, NAME)


def test_what_a_killed_publisher_left_in_a_folder_goes_after_a_day(tmp_path: Path, model: Path) -> None:
    publish_and_die(str(tmp_path / "store"), model, "read 5")
    (left,) = (tmp_path / "store" / "_unfinished").iterdir()
    place = open_store(str(tmp_path / "store"))
    place.append("log", 0, b"x")
    assert left.exists()
    os.utime(left, (left.stat().st_atime, left.stat().st_mtime - 25 * 3600))
    place.append("log", 1, b"x")
    assert list((tmp_path / "store" / "_unfinished").iterdir()) == []


@pytest.mark.slow
def test_a_server_killed_in_mid_upload_published_nothing_and_the_repeat_completes_it(
    own_s3: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the large file is read for its last part, so that earlier parts are on their way."""
    monkeypatch.setattr(s3, "PART", PART)
    place = open_store("s3://mathloop/team")
    place.append("champion", 0, b"before")
    killed = kill_at(monkeypatch, lambda left: left < PART and left > 1000, own_s3.kill)
    with pytest.raises(StorageRefused, match="no S3 server at"):
        place.publish(model, NAME)
    assert killed == [True]
    own_s3.start()
    assert not place.exists(NAME)
    assert list(place.names()) == []
    assert place.publish(model, NAME) == place.fetch(NAME, tmp_path / "copy")
    assert list(place.read_log("champion")) == [(0, b"before")]


@pytest.mark.slow
def test_a_server_killed_before_the_manifest_and_in_a_fetch(
    own_s3: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_store("s3://mathloop/team")
    create, read = place._objects.create, place._objects.read

    def kill_then_create(key: str, data: bytes) -> None:
        own_s3.kill()
        create(key, data)

    def kill_then_read(key: str) -> Any:
        chunks = read(key)
        yield next(chunks)
        if key.endswith("safetensors"):
            own_s3.kill()
        yield from chunks

    monkeypatch.setattr(place._objects, "create", kill_then_create)
    with pytest.raises(StorageRefused, match="connection refused"):
        place.publish(model, NAME)
    monkeypatch.setattr(place._objects, "create", create)
    own_s3.start()
    assert not place.exists(NAME)
    manifest = place.publish(model, NAME)
    (tmp_path / "fetched").mkdir()
    monkeypatch.setattr(place._objects, "read", kill_then_read)
    with pytest.raises(StorageRefused):
        place.fetch(NAME, tmp_path / "fetched" / "copy")
    assert os.listdir(tmp_path / "fetched") == []
    monkeypatch.setattr(place._objects, "read", read)
    own_s3.start()
    assert place.fetch(NAME, tmp_path / "fetched" / "copy") == manifest


def kill_at(
    monkeypatch: pytest.MonkeyPatch, moment: Callable[[int], bool], kill: Callable[[], None]
) -> list[bool]:
    """Kills once, when a source of which `moment(bytes left)` is read."""
    killed: list[bool] = []
    real = checked.CheckedSource.read

    def read(self: checked.CheckedSource, size: int) -> bytes:
        if not killed and moment(self._left):
            killed.append(True)
            kill()
        return real(self, size)

    monkeypatch.setattr(checked.CheckedSource, "read", read)
    return killed
