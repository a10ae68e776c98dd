"""What is taken away from a sandbox's server and its programs, layer by layer, without any privilege.

limits      memory, CPU time, file size, open files
seccomp     a list of allowed system calls (`syscalls.py`); without Landlock no file can be opened either
landlock    files: libraries to read, a scratch folder to write; no TCP; no signals to other processes
namespaces  its own processes, network, mounts, IPC and host name, where the kernel allows them
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable, Collection

from mathloop.sandbox.syscalls import child_filter, server_filter

LIBC = ctypes.CDLL(None, use_errno=True)
LAYERS = ("limits", "seccomp", "landlock", "namespaces")
"""From the weakest to the strongest; each is used together with those before it."""
SCRATCH_BYTES = 16 << 20
SCRATCH_FILES = 256
MOST_PROCESSES = 256
"""Threads and processes of a server with all its children."""
MOST_FILES = 64
"""Open files of one program."""

_PDEATHSIG, _NO_NEW_PRIVS, _SECCOMP = 1, 38, 22
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ = 1 << 2 | 1 << 3
_READ_FILE = 1 << 2
_WRITE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14
"""Writing, removing files and folders, making folders and regular files, truncating."""
_NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""Mounts, cgroups, host name, IPC, users, processes, network."""
_NOSUID, _NODEV, _NOEXEC, _RECURSIVE, _PRIVATE = 2, 4, 8, 16384, 1 << 18
_DETACH = 2
"""MNT_DETACH."""
NOBODY = 65534


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def enter_namespaces(scratch: str) -> bool:
    """Moves this process into its own namespaces, with an empty folder in memory mounted at `scratch`.

    Returns False, with nothing changed, where the kernel or the container forbids that. Call it before there
    are threads. The caller continues as process 1 of its namespace, and everything in it dies with it; the
    process that was started stays outside, waits for it and exits with its code.
    """
    if not _in_child(lambda: _unshare(scratch)):
        return False  # half a success could not be undone, so a child tries first
    if not _unshare(scratch):
        return False
    inner = os.fork()
    if inner:
        os.closerange(0, 256)
        code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        LIBC.umount2(scratch.encode(), _DETACH)
        leave(scratch)
        os._exit(max(code, 0))
    die_with_parent()
    return True


def leave(scratch: str) -> None:
    """Removes the scratch folder of a caller that is gone; a living caller removes it itself."""
    os.chdir("/")
    with contextlib.suppress(OSError):
        os.rmdir(scratch)


def _unshare(scratch: str) -> bool:
    user, group = os.geteuid(), os.getegid()
    if LIBC.unshare(_NEW_NAMESPACES) != 0:
        return False
    try:
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{NOBODY} {user} 1"),
            ("gid_map", f"{NOBODY} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
    except OSError:
        return False
    options = f"size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES},mode=700".encode()
    LIBC.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None)
    mounted = LIBC.mount(b"tmpfs", scratch.encode(), b"tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    return bool(mounted == 0)


def _in_child(attempt: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if attempt() else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def die_with_parent() -> None:
    """Makes the kernel kill this process when its parent ends."""
    LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Confinement:
    """Filters and rules that a server prepares once; `server` and `child` then apply them."""

    def __init__(self, scratch: str | None, without: Collection[str]) -> None:
        """`scratch` is the folder that programs may write to, or None."""
        self.scratch = scratch
        self.rules = -1 if "landlock" in without else _landlock_rules(scratch)
        machine = "" if "seccomp" in without else platform.machine()
        self._server_filter = server_filter(machine)
        self._child_filter = child_filter(machine, files=self.rules >= 0)

    def server(self) -> bool:
        """Confines the server and all that it forks; returns whether that worked."""
        _lower(resource.RLIMIT_CORE, 0)
        if self.scratch:  # in its own namespace, where this counts no other processes; root is exempt
            _lower(resource.RLIMIT_NPROC, MOST_PROCESSES)
        _lower(resource.RLIMIT_FSIZE, SCRATCH_BYTES if self.scratch else 0)
        LIBC.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))
        return LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and _filter(self._server_filter)

    def child(self, address_space: int, seconds: float) -> list[str]:
        """Confines a child for good; returns the active layers without namespaces."""
        _lower(resource.RLIMIT_AS, address_space)
        _lower(resource.RLIMIT_NOFILE, MOST_FILES)
        limit_cpu(0, seconds)
        active = ["limits"]
        if not self._child_filter:  # the filter allows none; this limit counts all processes of the user
            _lower(resource.RLIMIT_NPROC, 64)
        landlocked = self.rules >= 0 and LIBC.syscall(_LANDLOCK_RESTRICT, self.rules, 0) == 0
        if self.rules >= 0:
            os.close(self.rules)
        if (landlocked or self.rules < 0) and _filter(self._child_filter):
            active.append("seccomp")
        return [*active, "landlock"] if landlocked else active


def limit_cpu(pid: int, seconds: float) -> None:
    """Limits the total CPU time of a process (0: this one)."""
    soft, hard = int(seconds) + 2, resource.prlimit(pid, resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.prlimit(pid, resource.RLIMIT_CPU, (soft, hard))


def readable_paths() -> list[str]:
    """Paths of the interpreter, its packages and the system's libraries."""
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__)]
    paths += ["/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    paths += ["/dev/null", "/dev/urandom"]
    real = dict.fromkeys(map(os.path.realpath, paths))
    return [path for path in real if path != "/" and os.path.exists(path)]


def _landlock_rules(scratch: str | None) -> int:
    """A Landlock ruleset (file descriptor): read `readable_paths`, write the scratch; -1 without Landlock."""
    version = LIBC.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 3:  # older ones do not cover truncation: O_TRUNC would empty any library
        return -1
    files = (1 << (15 if version < 5 else 16)) - 1
    attributes = struct.pack("=Q", files)
    if version >= 4:
        attributes += struct.pack("=Q", 3)  # TCP bind and connect
    if version >= 6:
        attributes += struct.pack("=Q", 3)  # abstract sockets and signals
    rules: int = LIBC.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return -1
    for path in readable_paths():
        _allow(rules, path, _READ if os.path.isdir(path) else _READ_FILE)
    if scratch:
        _allow(rules, scratch, (_READ | _WRITE) & files)
    return rules


def _allow(rules: int, path: str, access: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    LIBC.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", access, place), 0)
    os.close(place)


def _lower(kind: int, value: int) -> None:
    """Lowers one resource limit, soft and hard."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _filter(code: bytes) -> bool:
    program = _Filter(len(code) // 8, code)
    return bool(code) and LIBC.prctl(_SECCOMP, 2, ctypes.byref(program), 0, 0) == 0
