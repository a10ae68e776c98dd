"""What to do about an operating system's refusal: one table, one wording."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

PARTIAL = ".mathloop-"
"""Begins the hidden name of a file or folder that is still being written."""
_FULL = "free some space or choose another place"
_OTHER_PLACE = "choose another place"
_FILE_IN_THE_WAY = "a file is where a folder should be; move it away or choose another folder"
REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "choose a disk that takes files of this size",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ENOENT: "check the path",
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: _OTHER_PLACE,
    errno.ELOOP: _OTHER_PLACE,
    errno.EISDIR: "a folder is where a file should be; move it away or choose another place",
    errno.ENOTDIR: _FILE_IN_THE_WAY,
    errno.EEXIST: _FILE_IN_THE_WAY,
    errno.ENOTEMPTY: "empty the folder or choose another place",
    errno.EOPNOTSUPP: "its file system cannot do this (a store needs hard links); choose another place",
    errno.EIO: "the disk may be failing; choose another place",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs, or raise the system's limit on open files",
}


def explain(error: OSError, path: Path | str | None = None) -> str:
    """One line: the path (`path`, else the one that the error names), the reason and what to do."""
    named = error.filename2 or error.filename
    place = str(named) if isinstance(named, str | Path) else None
    where = place if path is None else str(path)
    inner = place if place not in (None, where) and PARTIAL not in str(place) else None
    remedy = REMEDIES.get(error.errno or 0)
    # Arrow writes a sentence around the reason; an unlisted number may come with words of our own.
    reason = os.strerror(error.errno or 0) if remedy else str(error.strerror or error)
    if inner:
        reason += f" ({inner})"
    return f"{f'{where}: ' if where else ''}{reason}; {remedy or 'choose another place'}"


def os_error(error: Exception) -> OSError:
    """The operating system's error that a Rust library reports as text: `… (os error 28)`."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))
