"""The compiled part of decontamination: built with the machine's C compiler when it is first needed.

The library stays in the user's cache folder, under a name that depends on its source; other processes and
runs load it. An image has no compiler: `build` puts the library beside its source when the image is built.
Where there is neither, or the cache belongs to another user, there is no library, and everything is decided
without it: more slowly, with the same result.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import xxhash

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-ffp-contract=off")
_HERE = Path(__file__).parent
_SECONDS = 120
"""A compiler that takes longer is stopped."""


def library() -> ctypes.PyDLL | None:
    """The library, compiled if it is not in the cache; None if that is not possible.

    It is called with the interpreter's lock, since it reads strings.
    """
    return loaded()[0]


@cache
def loaded() -> tuple[ctypes.PyDLL | None, str]:
    """The library, and `compiled`; or None, and `not compiled (REASON)`."""
    name = f"decontamination-{_digest()}.so"
    try:
        if (_HERE / name).exists():  # as trustworthy as this file
            return ctypes.PyDLL(str(_HERE / name)), "compiled"
        folder = _folder()
        path = folder / name
        if not path.exists():
            _compile(path)
        if _is_own(folder) and _is_own(path):
            return ctypes.PyDLL(str(path)), "compiled"
        reason = f"others can write to {folder}"
    except subprocess.SubprocessError:
        reason = "the C compiler failed"
    except (OSError, RuntimeError) as error:
        reason = str(error)
    return None, f"not compiled ({reason})"


def build() -> None:
    """Compiles the library into this package's folder. Raises RuntimeError or SubprocessError."""
    _compile(_HERE / f"decontamination-{_digest()}.so")


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "mathloop"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _digest() -> str:
    digest = xxhash.xxh3_128(" ".join((platform.machine(), platform.system(), *platform.libc_ver(), *_FLAGS)))
    for source in sorted(_HERE.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _compile(path: Path) -> None:
    """Writes the library to `path`, whole or not at all; raises RuntimeError without a compiler."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        source = _HERE / "prefilter.c"
        command = [compiler, *_FLAGS, str(source), "-o", str(built), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
        built.chmod(0o755)
        os.replace(built, path)


def _is_own(path: Path) -> bool:
    """Whether only this user can have written it."""
    if not path.exists():
        return False
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
