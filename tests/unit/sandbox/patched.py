"""A copy of the sandbox with one line changed, for faults that cannot be caused from outside."""

from __future__ import annotations

import shutil
from pathlib import Path

from mathloop.sandbox.worker import ZYGOTE


def patched_zygote(folder: Path, old: str, new: str) -> Path:
    """The path of a zygote.py below `folder` in which `old` is `new`."""
    copy = shutil.copytree(ZYGOTE.parent, folder / "sandbox") / ZYGOTE.name
    source = copy.read_text()
    assert source.count(old) == 1
    copy.write_text(source.replace(old, new))
    return copy
