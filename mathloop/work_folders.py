"""Folders in which a stage keeps the results of its shards until all are done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import xxhash

from mathloop import __version__
from mathloop.errors import MathloopError
from mathloop.files import disk, make_parents, reading, remove_empty


@contextmanager
def working(name: str, out: Path, inputs: Sequence[Path], settings: str) -> Iterator[Path]:
    """A work folder that a killed stage finds again; deleted at the end, and after a user's mistake.

    Args:
        name: of the stage.
        inputs: files, or folders of files, whose change makes earlier results invalid.
        settings: other arguments that the results depend on.
    """
    work = _work_folder(name, out, inputs, settings)
    made: list[Path] = []
    try:
        with disk(out):
            made = make_parents(work)
            work.mkdir(exist_ok=True)
        yield work
    except MathloopError as error:
        # After a killed worker, which is not a user's mistake, the next run resumes.
        if type(error) is not MathloopError:
            shutil.rmtree(work, ignore_errors=True)
            remove_empty(made)
        raise
    shutil.rmtree(work, ignore_errors=True)


def _work_folder(name: str, out: Path, inputs: Sequence[Path], settings: str) -> Path:
    """A hidden folder beside `out` that depends on the arguments and on the inputs' sizes and times."""
    place = Path(os.path.realpath(out))
    key = xxhash.xxh3_64(f"{__version__}\0{name}\0{settings}\0{place}")
    for path in inputs:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            with reading(file):
                stat = os.stat(file)
            key.update(f"\0{os.path.realpath(file)}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return place.with_name(f".mathloop-{key.hexdigest()}.shards")
