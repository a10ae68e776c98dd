"""The system calls that a sandbox's server and its programs may make, as two seccomp filters.

Calls that the first list does not name are refused: sockets, exec, mounts, namespaces, tracing, keys, shared
memory, io_uring, memfd, modes, owners and attributes of files, and every call of future kernels. The server
applies the first filter to itself, so that a fork costs nothing more; each child adds the second, which takes
away what only the server needs.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable

_PATHS = """
open 2 - | openat 257 56 | openat2 437 437 | creat 85 - | chdir 80 49 | mkdir 83 - | mkdirat 258 34
rmdir 84 - | unlink 87 - | unlinkat 263 35 | rename 82 - | renameat 264 38 | renameat2 316 276 | statfs 137 43
"""
_FILES = """
close 3 57 | close_range 436 436 | read 0 63 | write 1 64 | readv 19 65 | writev 20 66 | pread64 17 67
pwrite64 18 68 | preadv 295 69 | pwritev 296 70 | lseek 8 62 | stat 4 - | lstat 6 - | fstat 5 80
newfstatat 262 79 | statx 332 291 | access 21 - | faccessat 269 48 | faccessat2 439 439 | readlink 89 -
readlinkat 267 78 | getdents 78 - | getdents64 217 61 | getcwd 79 17 | fchdir 81 50 | ftruncate 77 46
fallocate 285 47 | fsync 74 82 | fdatasync 75 83 | flock 73 32 | fcntl 72 25 | ioctl 16 29 | dup 32 23
dup2 33 - | dup3 292 24 | pipe 22 - | pipe2 293 59 | poll 7 - | ppoll 271 73 | select 23 - | pselect6 270 72
epoll_create 213 - | epoll_create1 291 20 | epoll_ctl 233 21 | epoll_wait 232 - | epoll_pwait 281 22
eventfd2 290 19 | fstatfs 138 44 | fadvise64 221 223 | umask 95 166 | copy_file_range 326 285 | sendfile 40 71
"""
_MEMORY = """
mmap 9 222 | mprotect 10 226 | munmap 11 215 | mremap 25 216 | madvise 28 233 | mincore 27 232
msync 26 227 | brk 12 214 | membarrier 324 283
"""
_THREADS = """
futex 202 98 | clone 56 220 | set_robust_list 273 99 | get_robust_list 274 100 | set_tid_address 218 96
rseq 334 293 | exit 60 93 | exit_group 231 94 | gettid 186 178 | sched_yield 24 124 | getcpu 309 168
sched_getaffinity 204 123 | sched_getparam 143 121 | sched_getscheduler 145 120 | arch_prctl 158 -
"""
_CLOCKS = """
nanosleep 35 101 | clock_nanosleep 230 115 | clock_gettime 228 113 | clock_getres 229 114
gettimeofday 96 169 | time 201 - | times 100 153 | alarm 37 - | setitimer 38 103 | getitimer 36 102
restart_syscall 219 128
"""
_ITSELF = """
getpid 39 172 | getppid 110 173 | getpgrp 111 - | getpgid 121 155 | getsid 124 156 | getuid 102 174
geteuid 107 175 | getgid 104 176 | getegid 108 177 | getgroups 115 158 | getresuid 118 148
getresgid 120 150 | getrusage 98 165 | getrlimit 97 163 | getpriority 140 141 | uname 63 160
sysinfo 99 179 | getrandom 318 278 | capget 125 90 | rt_sigaction 13 134 | rt_sigprocmask 14 135
rt_sigreturn 15 139 | rt_sigpending 127 136 | rt_sigtimedwait 128 137 | rt_sigsuspend 130 133
sigaltstack 131 132 | wait4 61 260 | waitid 247 95 | prlimit64 302 261
"""
_SERVER_ONLY = """
kill 62 129 | tgkill 234 131 | prctl 157 167 | setrlimit 160 164 | landlock_restrict_self 446 446
chmod 90 - | fchmodat 268 53
"""

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_…: the machine in a filter's input."""
CLONE3 = 435
THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
"""Flags that glibc and musl pass to clone for a thread: all is shared, nothing waits."""
FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""Duplicates, flags, locks, a pipe's size; not owners and signals, which reach any process, nor leases."""
IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Terminal attributes and size, bytes to read, blocking, close-on-exec; not the flags of inodes."""
EPERM, ENOSYS = 1, 38

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _MACHINE = 0, 4
"""Offsets in `struct seccomp_data`."""
FIRST_ARGUMENT, SECOND_ARGUMENT, THIRD_ARGUMENT = 16, 24, 32


def numbers(table: str, machine: str) -> list[int]:
    """The calls of a table ("name x86_64 aarch64 | …"; "-" where a machine has none), as numbers."""
    column = {"x86_64": 1, "aarch64": 2}[machine]
    entries = (entry.split() for line in table.strip().splitlines() for entry in line.split("|"))
    return sorted(int(entry[column]) for entry in entries if entry[column] != "-")


def server_filter(machine: str) -> bytes:
    """The filter of the server and all that it forks; empty for an unknown machine."""
    if machine not in AUDIT:
        return b""
    tables = (_PATHS, _FILES, _MEMORY, _THREADS, _CLOCKS, _ITSELF, _SERVER_ONLY)
    allowed = [number for table in tables for number in numbers(table, machine)]
    lines = [
        _line(_LOAD, 0, 0, _MACHINE),
        _line(_EQUAL, 1, 0, AUDIT[machine]),
        _line(_RETURN, 0, 0, _KILL),
        _line(_LOAD, 0, 0, _NUMBER),
        *_answer((CLONE3,), _REFUSE | ENOSYS),  # its flags cannot be read; glibc then falls back to clone
        *_answer(sorted(allowed), _ALLOW),
        _line(_RETURN, 0, 0, _REFUSE | EPERM),
    ]
    return b"".join(lines)


def child_filter(machine: str, files: bool) -> bytes:
    """The filter that a child adds: no process, signal or new limit; no opening of files unless `files`."""
    if machine not in AUDIT:
        return b""
    denied = numbers(_SERVER_ONLY, machine) + ([] if files else numbers(_PATHS, machine))
    (clone,), (limits,) = numbers("clone 56 220", machine), numbers("prlimit64 302 261", machine)
    (fcntl,), (ioctl,) = numbers("fcntl 72 25", machine), numbers("ioctl 16 29", machine)
    allow, refuse = _line(_RETURN, 0, 0, _ALLOW), _line(_RETURN, 0, 0, _REFUSE | EPERM)
    lines = [
        _line(_LOAD, 0, 0, _NUMBER),
        *_answer(sorted(denied), _REFUSE | EPERM),
        *_only(clone, FIRST_ARGUMENT, THREAD_FLAGS),
        *_only(fcntl, SECOND_ARGUMENT, FCNTL),
        *_only(ioctl, SECOND_ARGUMENT, IOCTL),
        _line(_EQUAL, 0, 5, limits),  # reading only: no new limits
        _line(_LOAD, 0, 0, THIRD_ARGUMENT),
        _line(_EQUAL, 0, 2, 0),
        _line(_LOAD, 0, 0, THIRD_ARGUMENT + 4),
        _line(_EQUAL, 1, 0, 0),
        refuse,
        allow,
    ]
    return b"".join(lines)


def _line(code: int, true: int, false: int, value: int) -> bytes:
    """One BPF instruction; `true` and `false` are how many to skip."""
    return struct.pack("=HBBI", code, true, false, value)


def _only(call: int, argument: int, values: Collection[int]) -> list[bytes]:
    """Allows a call with one of these values (32 bits, as the kernel reads them), else refuses it."""
    return [
        _line(_EQUAL, 0, 2 * len(values) + 2, call),
        _line(_LOAD, 0, 0, argument),
        *_answer(values, _ALLOW),
        _line(_RETURN, 0, 0, _REFUSE | EPERM),
    ]


def _answer(calls: Iterable[int], value: int) -> list[bytes]:
    """Instructions that return `value` for these calls and fall through for others."""
    return [part for call in calls for part in (_line(_EQUAL, 0, 1, call), _line(_RETURN, 0, 0, value))]
