"""Files that a user uploaded to a bucket by other means: a data set, with no manifest."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mathloop.errors import BadData
from mathloop.files import disk
from mathloop.storage.objects import Absent
from mathloop.storage.opening import open_store

S3 = re.compile(r"s3:/+")
"""Beginning of an object's URL; a Path has lost one of the slashes."""


@contextmanager
def local_copy(location: Path | str) -> Iterator[Path]:
    """The file at `location`, or a copy of the object at s3://bucket/key, which is removed at the end.

    Raises:
        BadData: there is no such object. A BadData of the caller about the copy then names the object.
        StorageRefused: the bucket or the disk refuses.
    """
    text = str(location)
    if not S3.match(text):
        yield Path(location)
        return
    url = S3.sub("s3://", text)
    folder, _, name = url.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="mathloop-") as scratch:
        copy = Path(scratch, name)
        try:
            with disk(copy), copy.open("wb") as file:
                for chunk in open_store(folder).read_object(name):
                    file.write(chunk)
        except Absent:
            raise BadData("there is no such object; upload it, or check its name", path=url) from None
        try:
            yield copy
        except BadData as error:
            raise BadData(str(error).replace(str(copy), url)) from None
