"""The processor cores that this container has, which are often fewer than the host's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def usable_cores(root: Path = CGROUPS, own: Path = OWN) -> int:
    """Cores that this process may use, at least 1: by its affinity and by the CPU quotas of its cgroups.

    A quota of 1.5 cores is 1: threads beyond a quota do not run, they wait for the next period together.
    """
    cores = float(len(os.sched_getaffinity(0)))
    with suppress(OSError):
        for line in own.read_text().splitlines():
            controllers, path = line.split(":", 2)[1:]
            if controllers and "cpu" not in controllers.split(","):
                continue
            base = root if not controllers else root / "cpu"
            folder = base / path.lstrip("/")
            for each in (folder, *folder.parents):
                cores = min(cores, _quota(each))
                if each == base:
                    break
    return max(1, int(cores))


def _quota(folder: Path) -> float:
    """Cores; infinity where there is no quota. Version 2 of cgroups, or version 1."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return float("inf") if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:
            return int(quota) / int((folder / "cpu.cfs_period_us").read_text())
    return float("inf")
