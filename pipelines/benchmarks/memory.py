"""Memory of this process."""

from __future__ import annotations

import re
from pathlib import Path


def memory(name: str) -> float:
    """MiB of VmRSS, resident now, RssFile, its pages of files, or VmHWM, the most so far.

    maxrss would start with the parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"{name}:\s*(\d+)", status)
    return int(found[1]) / 1024 if found else float("nan")
