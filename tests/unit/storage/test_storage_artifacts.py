"""Publishing and fetching, in a folder and on a real S3 server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathloop.errors import BadData, Corrupt, MathloopError, StorageRefused
from mathloop.storage import FileEntry, Manifest, Store, open_store, s3, store

NAME = "rounds/7/policy"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "深" / "er").mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(bytes(range(256)) * 9000)
    (folder / "config.json").write_text('{"说明": 1}', encoding="utf-8")
    (folder / "empty").touch()
    (folder / "深" / "er" / "a b+c%20&=?#.txt").write_text("x")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(place: Store, key: str, data: bytes) -> None:
    """Writes past the store's own rules, as a fault or an attacker would."""
    place._objects.put(key, io.BytesIO(data), len(data), "0" * 64)


def test_a_folder_comes_back_whole(store_url: str, model: Path, tmp_path: Path) -> None:
    place = open_store(store_url)
    assert not place.exists(NAME)
    manifest = place.publish(model, NAME)
    assert place.exists(NAME)
    assert open_store(store_url).fetch(NAME, tmp_path / "new" / "copy") == manifest
    assert content(tmp_path / "new" / "copy") == content(model)
    assert manifest.size == sum(map(len, content(model).values()))
    assert os.listdir(tmp_path / "new") == ["copy"]


def test_a_file_comes_back_whole(store_url: str, tmp_path: Path) -> None:
    place = open_store(store_url)
    (tmp_path / "data.parquet").write_bytes(b"PAR1 or so")
    place.publish(tmp_path / "data.parquet", "data/7")
    (tmp_path / "copy").mkdir()
    place.fetch("data/7", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"PAR1 or so"


def test_a_published_name_stands(store_url: str, model: Path, tmp_path: Path) -> None:
    place = open_store(store_url)
    first = place.publish(model, NAME)
    assert place.publish(model, NAME) == first
    (model / "config.json").write_text("{}")
    with pytest.raises(StorageRefused, match="already published with other content"):
        place.publish(model, NAME)
    assert place.fetch(NAME, tmp_path / "copy") == first


def test_artifacts_are_never_one_inside_the_other(store_url: str, model: Path) -> None:
    place = open_store(store_url)
    place.publish(model, NAME)
    for name in ("rounds", "rounds/7", f"{NAME}/deeper", f"{NAME}/deeper/still"):
        with pytest.raises(StorageRefused, match="one inside the other"):
            place.publish(model, name)
    place.publish(model, "rounds/7/policy2")
    assert list(place.names()) == [NAME, "rounds/7/policy2"]


def test_names_are_those_of_complete_artifacts(store_url: str, model: Path) -> None:
    place = open_store(store_url)
    assert list(place.names()) == []
    for name in ("rounds/10/policy", "rounds/1/policy", "base/1"):
        place.publish(model, name)
    place.append("champion", 0, b"x")
    put(place, "rounds/2/policy/weights.safetensors", b"no manifest yet")
    assert list(place.names()) == ["base/1", "rounds/1/policy", "rounds/10/policy"]
    assert list(place.names("rounds/1")) == ["rounds/1/policy", "rounds/10/policy"]
    assert list(place.names("rounds/1/")) == ["rounds/1/policy"]
    assert list(place.names("rounds/1/policy")) == ["rounds/1/policy"]
    assert list(place.names("nothing")) == []
    assert not place.exists("rounds/2/policy")


def test_what_a_killed_publish_of_other_content_left_is_not_part_of_the_artifact(
    store_url: str, model: Path, tmp_path: Path
) -> None:
    place = open_store(store_url)
    put(place, f"{NAME}/model-00002-of-00002.safetensors", b"of another training run")
    put(place, f"{NAME}/config.json", (model / "config.json").read_bytes()[::-1])
    place.publish(model, NAME)
    place.fetch(NAME, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(model)
    assert len(list(place._objects.keys(f"{NAME}/"))) == len(content(model)) + 1


def test_files_that_arrived_are_not_sent_again(
    store_url: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_store(store_url)
    sent: list[str] = []
    real = place._objects.put

    def fail_at_the_last(key: str, *rest: Any) -> None:
        if key.endswith(".txt") and "ended" not in sent:
            sent.append("ended")
            raise StorageRefused("the server ended here")
        sent.append(key.removeprefix(f"{NAME}/"))
        real(key, *rest)

    monkeypatch.setattr(place._objects, "put", fail_at_the_last)
    with pytest.raises(StorageRefused, match="ended here"):
        place.publish(model, NAME)
    assert not place.exists(NAME)
    place.publish(model, NAME)
    assert sent == ["config.json", "empty", "weights.safetensors", "ended", "深/er/a b+c%20&=?#.txt"]


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "lose"])
def test_damage_is_found_and_nothing_is_left(
    store_url: str, model: Path, tmp_path: Path, damage: str
) -> None:
    place = open_store(store_url)
    place.publish(model, NAME)
    data = bytearray((model / "weights.safetensors").read_bytes())
    key = f"{NAME}/weights.safetensors"
    if damage == "flip":
        data[1_500_000] ^= 1
    place._objects.remove(key)
    if damage != "lose":
        put(place, key, bytes(data[:-1] if damage == "cut" else data + b"!" if damage == "grow" else data))
    (tmp_path / "fetched").mkdir()
    with pytest.raises(Corrupt, match=r"weights\.safetensors"):
        place.fetch(NAME, tmp_path / "fetched" / "copy")
    assert os.listdir(tmp_path / "fetched") == []


X = hashlib.sha256(b"x").hexdigest()


def entry(path: Any, size: Any = 1, sha256: Any = X) -> dict[str, Any]:
    return {"path": path, "size": size, "sha256": sha256}


HOSTILE: dict[str, Any] = {
    "up": [entry("../evil")],
    "up from below": [entry("a/../../evil")],
    "absolute": [entry("/tmp/evil")],
    "backslash": [entry("..\\evil")],
    "control": [entry("evil\n")],
    "empty path": [entry("")],
    "dot": [entry(".")],
    "the manifest": [entry("manifest.json")],
    "no text": [entry(7)],
    "twice": [entry("a"), entry("a")],
    "file and folder": [entry("a"), entry("a/b")],
    "negative": [entry("a", -1)],
    "no size": [entry("a", True)],
    "no checksum": [entry("a", 1, "x")],
    "more fields": [{**entry("a"), "mode": 511}],
    "no list": 7,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_manifest_leads_nowhere(tmp_path: Path, case: str) -> None:
    place = open_store(str(tmp_path / "store"))
    for key in ("evil", "a", "a\\evil"):
        (tmp_path / "store" / "hostile" / "x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / "hostile" / key).write_text("x")
    manifest = {"format": 1, "name": "hostile/x", "kind": "folder", "files": HOSTILE[case]}
    put(place, "hostile/x/manifest.json", json.dumps(manifest).encode())
    before = content(tmp_path)
    with pytest.raises(Corrupt, match="manifest of 'hostile/x'"):
        place.fetch("hostile/x", tmp_path / "copy")
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        Manifest("other/name", "folder", ()).to_json(),
        Manifest("x", "file", (FileEntry("other", 0, "0" * 64),)).to_json(),
        Manifest("x", "folder", ()).to_json().replace(b'"format": 1', b'"format": 2'),
        Manifest("x", "folder", ()).to_json().replace(b'"folder"', b'"link"'),
    ],
)
def test_what_is_no_manifest_of_that_name_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt, match="the manifest of 'x'"):
        Manifest.from_json(data, "x")


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.lists(st.text("abc文 .-", min_size=1, max_size=5), min_size=1, max_size=3).map("/".join),
        st.tuples(st.integers(0, 2**60), st.binary(min_size=32, max_size=32)),
    )
)
def test_manifests_come_back_or_are_refused(files: dict[str, tuple[int, bytes]]) -> None:
    entries = tuple(FileEntry(path, size, digest.hex()) for path, (size, digest) in sorted(files.items()))
    manifest = Manifest("a/b", "folder", entries)
    parts = [path.split("/") for path in files]
    escapes = any(part in (".", "..") for path in parts for part in path)
    clashes = any(a != b and b[: len(a)] == a for a in parts for b in parts)
    if escapes or clashes:
        with pytest.raises(Corrupt):
            Manifest.from_json(manifest.to_json(), "a/b")
    else:
        assert Manifest.from_json(manifest.to_json(), "a/b") == manifest


BAD_NAMES = [
    *(
        "",
        ".",
        "..",
        "../x",
        "a/../b",
        "/abs",
        "a//b",
        "a/",
        "a b",
        "a\n",
        "a\0",
        "文",
        "x" * 101,
        "_logs/champion",
    ),
    *("-x", "a/.hidden", "manifest.json", "a/manifest.json", "a\\b", "/".join("abcdefghi")),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_lead_elsewhere_is_refused_everywhere(tmp_path: Path, name: str) -> None:
    place = open_store(str(tmp_path / "store"))
    (tmp_path / "x").write_text("x")
    before = content(tmp_path)
    uses: list[Callable[[], Any]] = [
        lambda: place.publish(tmp_path / "x", name),
        lambda: place.fetch(name, tmp_path / "copy"),
        lambda: place.exists(name),
        lambda: place.append(name, 0, b"x"),
        lambda: list(place.read_log(name)),
    ]
    for use in uses:
        with pytest.raises(StorageRefused, match="cannot name an artifact"):
            use()
    assert content(tmp_path) == before
    with pytest.raises(StorageRefused):
        list(place.names("../"))


def test_sources_that_cannot_be_kept_are_refused(tmp_path: Path, model: Path) -> None:
    place = open_store(str(tmp_path / "store"))

    def refuse(said: str, source: Path = model) -> None:
        with pytest.raises(BadData, match=said):
            place.publish(source, NAME)
        assert not (tmp_path / "store").exists()

    refuse("no such file or folder", tmp_path / "nothing")
    (tmp_path / "hollow" / "er").mkdir(parents=True)
    refuse("empty", tmp_path / "hollow")
    for make, said in (
        (lambda p: p.symlink_to("nowhere"), "not a regular file"),
        (lambda p: p.symlink_to(tmp_path), "link to a folder"),
        (os.mkfifo, "not a regular file"),
    ):
        make(model / "odd")
        refuse(said)
        (model / "odd").unlink()
    for name in ("manifest.json", "a\\b", "a\nb", "a\udcff"):
        (model / name).touch()
        refuse("cannot be published")
        (model / name).unlink()


def test_a_link_to_a_file_is_published_as_the_file(tmp_path: Path, model: Path) -> None:
    place = open_store(str(tmp_path / "store"))
    (model / "link").symlink_to(model / "config.json")
    place.publish(model, NAME)
    place.fetch(NAME, tmp_path / "copy")
    assert not (tmp_path / "copy" / "link").is_symlink()
    assert (tmp_path / "copy" / "link").read_bytes() == (model / "config.json").read_bytes()


@pytest.mark.parametrize("change", ["flip", "cut", "remove", "grow"])
def test_a_source_that_changes_meanwhile_is_not_published(
    store_url: str, model: Path, monkeypatch: pytest.MonkeyPatch, change: str, tmp_path: Path
) -> None:
    place = open_store(store_url)
    path = model / "weights.safetensors"
    real = store.describe_source

    def describe_then_change(source: Path, name: str) -> Manifest:
        manifest = real(source, name)
        data = path.read_bytes()
        path.write_bytes({"flip": b"\1" + data[1:], "cut": data[:-1]}.get(change, data + b"!"))
        if change == "remove":
            path.unlink()
        return manifest

    monkeypatch.setattr(store, "describe_source", describe_then_change)
    if change == "grow":
        # What was hashed is what is stored.
        manifest = place.publish(model, NAME)
        assert place.fetch(NAME, tmp_path / "copy") == manifest
    else:
        with pytest.raises(BadData, match=r"weights\.safetensors"):
            place.publish(model, NAME)
        assert not place.exists(NAME)


def test_a_destination_is_never_overwritten(store_url: str, model: Path, tmp_path: Path) -> None:
    place = open_store(store_url)
    manifest = place.publish(model, NAME)
    copy = tmp_path / "copy"
    copy.mkdir()
    place.fetch(NAME, copy)
    assert place.fetch(NAME, copy) == manifest
    (copy / "mine").write_text("not to be lost")
    with pytest.raises(StorageRefused, match="not empty"):
        place.fetch(NAME, copy)
    assert (copy / "mine").read_text() == "not to be lost"
    with pytest.raises(StorageRefused, match="not empty"):
        place.fetch(NAME, copy / "mine")
    with pytest.raises(StorageRefused, match="has no artifact 'rounds/8/policy'"):
        place.fetch("rounds/8/policy", tmp_path / "other")


def test_what_a_killed_fetch_left_is_removed_by_the_next(
    store_url: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_store(store_url)
    place.publish(model, NAME)
    if (child := os.fork()) == 0:
        monkeypatch.setattr(Path, "open", lambda *_: os._exit(9))  # before the first file's first byte
        place.fetch(NAME, tmp_path / "copy")
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob(".mathloop-*.partial"))) == 1
    place.fetch(NAME, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(model)
    assert not list(tmp_path.glob(".mathloop-*"))


def test_publishers_at_once_agree_or_one_is_refused(store_url: str, tmp_path: Path) -> None:
    for n in range(8):
        (tmp_path / f"m{n}").mkdir()
        (tmp_path / f"m{n}" / "w").write_text("same" if n < 4 else f"other {n}")

    def publish(source: str, name: str) -> MathloopError | None:
        try:
            open_store(store_url).publish(tmp_path / source, name)
        except MathloopError as error:
            return error
        return None

    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(publish, [f"m{n}" for n in range(4)], ["same/1"] * 4))
        other = list(pool.map(publish, [f"m{n}" for n in range(3, 8)], ["other/1"] * 5))
    assert same == [None] * 4
    assert other.count(None) == 1
    assert all(error is None or isinstance(error, StorageRefused) for error in other)


@pytest.mark.parametrize("bound", [40 << 20])
def test_memory_does_not_grow_with_a_file(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(s3, "PART", 5 << 20)
    with (tmp_path / "big").open("wb") as file:
        file.truncate(3 * bound)
    place = open_store(store_url)
    tracemalloc.start()
    try:
        place.publish(tmp_path / "big", "big")
        place.fetch("big", tmp_path / "copy")
        assert tracemalloc.get_traced_memory()[1] < bound
    finally:
        tracemalloc.stop()
    assert (tmp_path / "copy").stat().st_size == 3 * bound


def test_one_file_of_an_artifact_is_fetched_and_verified(store_url: str, model: Path, tmp_path: Path) -> None:
    place = open_store(store_url)
    place.publish(model, NAME)
    place._objects.remove(f"{NAME}/weights.safetensors")
    place.fetch_file(NAME, "config.json", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == (model / "config.json").read_bytes()
    for name, path, error in (
        (NAME, "weights.safetensors", Corrupt),
        (NAME, "nothing", BadData),
        ("rounds/8/policy", "config.json", StorageRefused),
    ):
        with pytest.raises(error):
            place.fetch_file(name, path, tmp_path / "other")
    put(place, f"{NAME}/config.json", b"{}")
    with pytest.raises(Corrupt, match=r"config\.json"):
        place.fetch_file(NAME, "config.json", tmp_path / "other")
    assert not (tmp_path / "other").exists()
