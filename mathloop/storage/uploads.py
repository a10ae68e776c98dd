"""Data sets by path or URL: local ones, uploads in a bucket (with no manifest), and those of the Hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mathloop.errors import BadData
from mathloop.files import disk
from mathloop.lines import shown
from mathloop.storage.hub import HUB, hub_copy
from mathloop.storage.objects import Absent
from mathloop.storage.opening import open_store
from mathloop.storage.store import Store

_REMOTE = re.compile(r"(s3|hf):/+")
"""Beginning of a URL; a Path has lost one of the slashes."""

_OTHER_URL = re.compile(r"(https?|ftp|gs|file|az|abfss?):/+")


def remote_url(location: Path | str) -> str | None:
    """The URL of a data set that is not on this machine, s3://… or hf://…; None for a path."""
    text = str(location)
    found = _REMOTE.match(text)
    return f"{found[1]}://{text[found.end() :]}".rstrip("/") if found else None


@contextmanager
def local_copy(location: Path | str) -> Iterator[Path]:
    """The file or folder at `location`, or a copy of what is at a URL, which is removed at the end.

    hf://datasets/OWNER/NAME is read through the Hub's cache (`hub_copy`). Of s3://bucket/key, if there is no
    object of this key, the objects below key/ are copied as a folder. The copy has the same names as the
    object and the folders it is in: data sets are named after them.

    Raises:
        BadData: there is no such object. A BadData of the caller about the copy then names the object.
        StorageRefused: the bucket or the disk refuses; `hub_copy` says what the Hub may refuse.
    """
    url = remote_url(location)
    if url is None:
        if other := _OTHER_URL.match(str(location)):
            message = f"a {other[1]} URL; download it, or give s3://bucket/key or hf://datasets/OWNER/NAME"
            raise BadData(message, path=str(location))
        yield Path(location)
        return
    if HUB.match(url):
        with hub_copy(url) as copy:
            yield copy
        return
    folder, _, name = url.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="mathloop-") as scratch:
        names = (part for part in folder.removeprefix("s3://").split("/") if part not in ("", ".", ".."))
        copy = Path(scratch, *names, name)
        _download(open_store(folder), name, copy, url)
        try:
            yield copy
        except BadData as error:
            raise BadData(str(error).replace(str(copy), url)) from None


def _download(store: Store, name: str, copy: Path, url: str) -> None:
    try:
        _write(store, name, copy)
    except Absent:
        copy.unlink()
        keys = [key for key in store.object_keys(name) if not key.endswith("/")]
        if not keys:
            raise BadData("there is no such object; upload it, or check its name", path=url) from None
        for key in keys:
            inner = key.removeprefix(f"{name}/")
            if ".." in inner.split("/"):
                raise BadData(
                    f"the object {shown(key)} leads out of its folder; rename it", path=url
                ) from None
            _write(store, key, copy / inner)


def _write(store: Store, key: str, copy: Path) -> None:
    with disk(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("wb") as file:
            for chunk in store.read_object(key):
                file.write(chunk)
