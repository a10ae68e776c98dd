"""Programs that attack the sandbox: what becomes of each, and that nothing of any is left.

Every program of the tables runs in a pool that is checked afterwards: it came back in time, its server is the
one from before, no process, file descriptor or file is left, and the next program gets its right answer.

No program here does harm where the sandbox fails: what it would read, write or signal is the test's own, and
what it tries on others changes nothing (signal 0, a file's own flags, arguments that no call takes).
"""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mathloop.errors import SandboxError
from mathloop.sandbox import Execution, Sandbox, SandboxConfig, worker
from tests.unit.sandbox.patched import patched_zygote

HASTY, PATIENT = 1.0, 60.0
"""Seconds per run: for programs that are expected to run out of time, and for all others."""
OUTPUT_CHARS, ERROR_CHARS = 400, 2000
SECRET = "secret-that-no-program-may-show"
RUNS = 10_000 if os.environ.get("MATHLOOP_LONG_TESTS") == "1" else 2_000
MACHINE = platform.machine()
CLONE, EXIT = (220, 93) if MACHINE == "aarch64" else (56, 60)

Case = tuple[str, str, str]
"""A name; the statuses that may come of it, with | between; the program."""

PRELUDE = """
import ctypes, fcntl, os, sys, time
outside, bystander, caller = {outside!r}, {bystander}, {caller}
libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def call(name, *arguments):
    return checked(getattr(libc, name)(*arguments))

def syscall(*arguments):
    return checked(libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))

def machine_code(text):
    import mmap
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(bytes.fromhex(text))
    return checked(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())

def signal_by_pipe(process, number):
    read, write = os.pipe()
    fcntl.fcntl(read, 10, number)  # F_SETSIG
    fcntl.fcntl(read, 8, process)  # F_SETOWN
    fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(write, b"x")
    time.sleep(0.1)

def of_server(name):
    frame = sys._getframe()
    while "result" not in frame.f_locals: frame = frame.f_back
    return frame.f_locals[name]
"""
"""What every program of the tables finds."""

FILES: list[Case] = [
    ("read a file outside", "refused", "open(outside).read()"),
    ("read /etc/passwd", "refused", "open('/etc/passwd').read()"),
    ("read its own environment", "refused", "open('/proc/self/environ').read()"),
    ("read its server's environment", "refused", "open(f'/proc/{os.getppid()}/environ').read()"),
    ("read its caller's environment", "refused|error", "open(f'/proc/{caller}/environ').read()"),
    ("read its own memory map", "refused", "open('/proc/self/maps').read()"),
    ("open its own memory", "refused", "open('/proc/self/mem', 'rb')"),
    ("open its server's pipe", "refused|error", "open(f'/proc/{os.getppid()}/fd/257', 'w')"),
    ("list the root", "refused", "os.listdir('/')"),
    ("list a folder outside", "refused", "os.listdir(os.path.dirname(outside))"),
    ("read past ..", "refused", "open(os.getcwd() + '/..' * 20 + outside).read()"),
    ("read from where it went", "refused", "os.chdir(os.path.dirname(outside)); open('file').read()"),
    (
        "read through a path descriptor",
        "refused",
        "place = os.open(os.path.dirname(outside), os.O_PATH)\nos.open('file', os.O_RDONLY, dir_fd=place)",
    ),
    ("open by a handle", "refused", "call('open_by_handle_at', -100, ctypes.create_string_buffer(64), 0)"),
    ("make a file outside", "refused", "open(outside + '2', 'w')"),
    ("make a file above its scratch", "refused", "open('../file', 'w')"),
    ("overwrite a file outside", "refused", "open(outside, 'r+')"),
    ("truncate on opening", "refused", "os.open(outside, os.O_RDONLY | os.O_TRUNC)"),
    (
        "truncate a library (one that is empty anyway)",
        "refused",
        "name = os.path.dirname(os.__file__) + '/urllib/__init__.py'\n"
        "assert os.stat(name).st_size == 0\nos.open(name, os.O_RDONLY | os.O_TRUNC)",
    ),
    ("truncate by path", "refused", "os.truncate(outside, 0)"),
    ("remove a file outside", "refused", "os.unlink(outside)"),
    ("rename a file outside", "refused", "os.rename(outside, outside + '2')"),
    ("move a file into the scratch", "refused|error", "os.rename(outside, os.getcwd() + '/file')"),
    ("link a file outside", "refused", "os.link(outside, outside + '2')"),
    ("link to a file from the scratch", "refused", "os.symlink(outside, os.getcwd() + '/link')"),
    ("make a folder outside", "refused", "os.mkdir(outside + '2')"),
    ("remove its folder", "refused", "os.rmdir(os.getcwd())"),
    ("change a mode", "refused", "os.chmod(outside, 0o777)"),
    ("change an owner", "refused", "os.chown(outside, os.getuid(), os.getgid())"),
    ("change times", "refused", "os.utime(outside)"),
    ("set an attribute", "refused", "os.setxattr(outside, 'user.a', b'b')"),
    (
        "set a library's inode flags (to what they are)",
        "refused",
        "library, flags = os.open(os.__file__, os.O_RDONLY), bytearray(8)\n"
        "fcntl.ioctl(library, 0x80086601, flags); fcntl.ioctl(library, 0x40086602, bytes(flags))",
    ),
    ("lease a library", "refused", "fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), 1024, fcntl.F_RDLCK)"),
    ("make a named pipe", "refused", "os.mkfifo(os.getcwd() + '/pipe')"),
    ("make a device", "refused", "os.mknod(os.getcwd() + '/null', 0o020666, os.makedev(1, 3))"),
    ("open a terminal", "refused", "os.open('/dev/tty', os.O_RDWR)"),
    ("make a terminal", "refused", "os.open('/dev/ptmx', os.O_RDWR)"),
    ("shared memory by path", "refused", "open('/dev/shm/mathloop-test', 'w')"),
]

NETWORK: list[Case] = [
    ("socket: TCP", "refused", "call('socket', 2, 1, 0)"),
    ("socket: TCP, IPv6", "refused", "call('socket', 10, 1, 0)"),
    ("socket: UDP", "refused", "call('socket', 2, 2, 0)"),
    ("socket: Unix", "refused", "call('socket', 1, 1, 0)"),
    ("socket: raw", "refused", "call('socket', 2, 3, 1)"),
    ("socket: packets", "refused", "call('socket', 17, 3, 0)"),
    ("socket: netlink", "refused", "call('socket', 16, 3, 0)"),
    ("socket: virtual machines", "refused", "call('socket', 40, 1, 0)"),
    ("socket: kernel ciphers", "refused", "call('socket', 38, 5, 0)"),
    ("a pair of sockets", "refused", "call('socketpair', 1, 1, 0, (ctypes.c_int * 2)())"),
    ("connect a pipe", "refused", "call('connect', 1, ctypes.create_string_buffer(16), 16)"),
    ("look a name up", "refused|error", "import socket; socket.getaddrinfo('localhost', 80)"),
    ("fetch a page", "refused|error", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9/')"),
]

SIGNALS: list[Case] = [
    ("signal a bystander", "refused|error", "os.kill(bystander, 9)"),
    ("signal its server", "refused", "os.kill(os.getppid(), 9)"),
    ("signal everyone", "refused", "os.kill(-1, 0)"),
    ("signal its group", "refused", "os.killpg(0, 0)"),
    ("signal itself", "refused", "import signal; signal.raise_signal(signal.SIGTSTP)"),
    ("open a process", "refused", "os.pidfd_open(os.getpid())"),
    ("signal a bystander through a pipe's owner", "refused|error", "signal_by_pipe(bystander, 9)"),
    ("signal its server through a pipe's owner", "refused", "signal_by_pipe(os.getppid(), 9)"),
    ("stop itself through a pipe's owner", "refused", "signal_by_pipe(os.getpid(), 19)"),
    ("trace its server", "refused", "call('ptrace', 16, os.getppid(), 0, 0)"),
    ("read its server's memory", "refused", "call('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)"),
    ("write its server's memory", "refused", "call('process_vm_writev', os.getppid(), 0, 0, 0, 0, 0)"),
]

PROCESSES: list[Case] = [
    ("fork", "refused", "os.fork()"),
    ("fork by the C library", "refused", "call('fork')"),
    ("clone a process", "refused", f"syscall({CLONE}, 17, 0, 0, 0, 0)"),
    ("clone3", "error", "syscall(435, ctypes.create_string_buffer(88), 88)"),
    ("execute", "refused", "os.execv(sys.executable, ['python'])"),
    ("spawn", "refused", "os.posix_spawn(sys.executable, ['python'], {})"),
    ("popen", "refused", "os.popen('true').read()"),
    ("multiprocessing", "refused", "import multiprocessing; multiprocessing.Process(target=int).start()"),
    ("raise a limit", "refused|error", "import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))"),
    ("raise a limit by prlimit", "refused", "call('prlimit', 0, 9, (ctypes.c_ulong * 2)(-1, -1), None)"),
    ("outlive its server", "refused", "call('prctl', 1, 0, 0, 0, 0)"),
    ("become traceable", "refused", "call('prctl', 4, 1, 0, 0, 0)"),
    ("another priority", "refused", "os.nice(1)"),
    ("another processor", "refused", "os.sched_setaffinity(0, os.sched_getaffinity(0))"),
    ("become root", "refused", "os.setuid(0)"),
    ("a session of its own", "refused", "os.setsid()"),
    (
        "very many threads",
        "error|memory|timeout",
        "import threading\nthreading.stack_size(16 << 20)\n"
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    ),
    (
        "threads that go on",
        "ok",
        "import threading\ndef spin():\n    while True: pass\n"
        "for daemon in (True, False) * 3: threading.Thread(target=spin, daemon=daemon).start()",
    ),
    (
        "ignore all signals",
        "timeout",
        "import signal\nfor number in {*signal.valid_signals()} - {9, 19}:\n"
        "    signal.signal(number, signal.SIG_IGN)\nwhile True: pass",
    ),
    (
        "block all signals",
        "timeout",
        "import signal; signal.pthread_sigmask(0, range(1, 65)); time.sleep(99)",
    ),
    ("an alarm", "error", "import signal; signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(99)"),
    ("its first thread ends", "ok", f"libc.syscall({EXIT}, 0)"),
]

MEMORY: list[Case] = [
    ("ten GiB of bytes", "memory", "bytearray(10 << 30)"),
    ("a list without end", "memory", "[0] * (10 << 30)"),
    ("ten GiB mapped", "error", "import mmap; mmap.mmap(-1, 10 << 30)"),
    ("ten GiB by ctypes", "memory", "ctypes.create_string_buffer(10 << 30)"),
    ("ten GiB by numpy", "memory", "import numpy; numpy.ones(10 << 27)"),
    ("a huge shift", "memory", "1 << (1 << 40)"),
    ("growing", "memory|timeout", "hoard = []\nwhile True: hoard.append(bytearray(1 << 24))"),
    (
        "growing in spite of errors",
        "timeout",
        "hoard = []\nwhile True:\n    try: hoard.append(bytearray(1 << 24))\n"
        "    except MemoryError: time.sleep(0.01)",
    ),
    (
        "a bomb to unpack",
        "memory",
        "import zlib\nzlib.decompress(zlib.compress(bytes(1 << 26)) * 1, bufsize=1 << 33)",
    ),
    (
        "memory in pipes",
        "error|refused",
        "while True:\n    read, write = os.pipe()\n    fcntl.fcntl(write, 1031, 1 << 20)\n"
        "    os.set_blocking(write, False); os.write(write, bytes(1 << 20))",
    ),
    ("deep recursion", "error", "def f(): f()\nf()"),
    (
        "recursion past the stack",
        "error",
        "sys.setrecursionlimit(10**9)\nclass A: __getattr__ = lambda self, name: getattr(self, name + 'x')\n"
        "A().y",
    ),
    ("a source too deep", "memory|error", "eval('-' * 100_000 + '1')"),
    ("a source with very long chains", "error", "eval('a' + '.a' * 100_000)"),
    ("write to nowhere", "error", "ctypes.memset(0, 0, 9)"),
    ("overwrite the heap", "error", "ctypes.memset(id(object), 0, 1 << 20)"),
    ("overwrite every module", "error", "for m in [*sys.modules.values()]: ctypes.memset(id(m), 0x41, 64)"),
]

OUTPUT: list[Case] = [
    ("ten GB of output", "error", "for _ in range(10_000): os.write(1, bytes(1_000_000))"),
    ("an endless print", "error", "while True: print('é' * 1000)"),
    ("one enormous line", "error", "print('x' * 10**8)"),
    ("an enormous value", "error", "bytes(10**7)"),
    ("binary output", "ok", "sys.stdout.buffer.write(bytes(range(256)) * 4)"),
    ("half of a character", "ok", "os.write(1, 'é'.encode()[:1])"),
    ("text that is none", "ok", "print(chr(0xD800) * 9)"),
    ("a gigabyte of complaints", "ok", "for _ in range(1_000): os.write(2, bytes(1_000_000))"),
    ("no output at all", "ok", "sys.stdout = None; 5"),
    ("a closed output", "ok|error", "os.close(1); print(5)"),
    (
        "an output that hangs",
        "timeout",
        "class Out:\n    def write(self, text): pass\n    def flush(self): time.sleep(99)\n"
        "sys.stdout = Out()",
    ),
    ("a value that hangs", "timeout", "class A:\n    def __repr__(self): time.sleep(99)\nA()"),
    ("an error that hangs", "timeout", "class E(Exception):\n    def __str__(self): time.sleep(99)\nraise E"),
    ("an enormous error", "error", "raise ValueError('x' * 10**7)"),
    (
        "an error that fails",
        "error",
        "class E(Exception):\n    def __str__(self): raise SystemExit(0)\nraise E",
    ),
    (
        "an error of many errors",
        "error",
        "def f(n):\n    try: 1 / 0\n    except Exception as e:\n        if n: f(n - 1)\n"
        "        raise ValueError(n) from e\nf(800)",
    ),
    ("many errors at once", "error", "raise ExceptionGroup('many', [ValueError(i) for i in range(10_000)])"),
    (
        "an exit that hangs",
        "timeout",
        "class A:\n    def __eq__(self, other): time.sleep(99)\nraise SystemExit(A())",
    ),
    ("a flood of claims", "error", "while True: os.write(of_server('result'), bytes(1 << 16))"),
    ("a flood of lines of claims", "error", "while True: os.write(of_server('result'), b'x\\n' * (1 << 15))"),
    ("a closed result", "timeout", "os.close(of_server('result')); time.sleep(99)"),
    ("all closed", "error", "os.closerange(0, 64); time.sleep(99)"),
    ("reading the code's pipe", "timeout", "os.read(of_server('code'), 1)"),
]

INTERPRETER: list[Case] = [
    ("a loop in C", "timeout", "import itertools; sum(itertools.count())"),
    ("a regular expression", "timeout", "import re; re.match('(a+)+$', 'a' * 50 + 'b')"),
    ("a power", "timeout", "9**9**9"),
    ("a sleep", "timeout", "time.sleep(10**6)"),
    ("a trace that hangs", "timeout", "sys.settrace(lambda *_: time.sleep(99))\ndef f(): pass\nf()"),
    ("a finalizer that hangs", "ok", "class A:\n    def __del__(self): time.sleep(99)\na = A()"),
    ("an exit function that hangs", "ok", "import atexit; atexit.register(time.sleep, 99); None"),
    ("reading stdin", "ok", "assert sys.stdin.read() == ''"),
    ("input", "error", "input()"),
    ("a breakpoint", "error", "breakpoint()"),
    ("leave at once", "ok", "os._exit(0)"),
    ("leave with a code", "error", "os._exit(99)"),
    ("abort", "error", "os.abort()"),
    ("an interrupt", "error", "raise KeyboardInterrupt"),
    ("a broken json", "error", 'import json; json.dumps = lambda *_, **__: \'["lost", ""]\''),
    ("a broken write", "error", "os.write = None"),
    (
        "broken builtins",
        "error",
        "import builtins; builtins.isinstance = builtins.print = builtins.repr = None; 5",
    ),
    ("broken modules", "ok|error", "sys.modules.clear()"),
    (
        "no environment",
        "ok",
        "listed = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')\n"
        "assert not os.environ and not (listed and listed[0])",
    ),
    ("its server forks again", "ok|error|refused", "of_server('self').fork(of_server('request'))"),
    ("its server ends a child", "error|refused", "of_server('self').end(type('C', (), {'pid': 1}))"),
    ("its server answers", "error", "os.write(of_server('self').answers, b'\\0\\0\\0\\2{}')"),
    ("its server's loop", "ok|error|refused|timeout", "sys.modules['__main__'].serve()"),
    ("garbage of the server", "ok", "import gc; len(gc.get_objects()), gc.collect()"),
    ("a module not yet loaded", "ok", "import sqlite3, xml.dom.minidom; sqlite3.connect(':memory:')"),
    (
        "a query without end",
        "timeout",
        "import sqlite3\nnumbers = 'with recursive n(x) as (select 1 union all select x + 1 from n)'\n"
        "sqlite3.connect(':memory:').execute(numbers + ' select count(*) from n').fetchone()",
    ),
]

SCRATCH: list[Case] = [
    (
        "fill it",
        "error",
        "while True: open(f'{os.getcwd()}/{time.monotonic_ns()}', 'wb').write(bytes(1 << 20))",
    ),
    ("one file too large", "error", "open(os.getcwd() + '/file', 'wb', 0).truncate(1 << 40)"),
    ("fill it with nothing", "error", "for i in range(10_000): os.mkdir(f'{os.getcwd()}/{i}')"),
    ("a deep nest", "error", "os.chdir(os.getcwd())\nwhile True: os.mkdir('d' * 200); os.chdir('d' * 200)"),
    (
        "odd names",
        "ok",
        "for name in (b'\\xff\\xfe', b'a\\nb', b'-rf', b'*', b' ', b'..a', b'\\x01', b'x' * 255):\n"
        "    open(os.getcwdb() + b'/' + name, 'w').close()",
    ),
    ("a file without rights", "ok", "os.close(os.open(os.getcwd() + '/file', os.O_CREAT | os.O_WRONLY, 0))"),
    ("a folder without rights", "ok", "os.mkdir(os.getcwd() + '/folder', 0)"),
    (
        "a folder that cannot be listed",
        "ok",
        "place = os.getcwd() + '/folder'\nos.mkdir(place, 0o300); open(place + '/file', 'w').close()",
    ),
    (
        "a nest without rights",
        "error",
        "place = os.getcwd()\nwhile True:\n    place += '/d'; os.mkdir(place, 0o300)",
    ),
    ("rename it", "refused|error", "os.rename(os.getcwd(), os.getcwd() + '2')"),
]


def numbered(table: str) -> list[Case]:
    """Calls by number, which the C library has no function for on every machine."""
    column = {"x86_64": 1, "aarch64": 2}.get(MACHINE)
    entries = [entry.split() for line in table.strip().splitlines() for entry in line.split("|")]
    return [
        (e[0], "refused", f"syscall({e[column]}, 0, 0, 0, 0, 0, 0)")
        for e in entries
        if column and e[column] != "-"
    ]


KERNEL: list[Case] = numbered("""
io_uring_setup 425 425 | io_uring_enter 426 426 | bpf 321 280 | keyctl 250 219 | add_key 248 217
mount 165 40 | umount2 166 39 | pivot_root 155 41 | open_tree 428 428 | fsopen 430 430 | mount_setattr 442 442
unshare 272 97 | setns 308 268 | chroot 161 51 | seccomp 317 277 | landlock_create 444 444
landlock_restrict 446 446 | memfd_create 319 279 | memfd_secret 447 447 | userfaultfd 323 282 | shmget 29 194
shmat 30 196 | msgget 68 186 | semget 64 190 | mq_open 240 180 | perf_event_open 298 241 | init_module 175 105
kexec_load 246 104 | swapon 167 224 | syslog 103 116 | clock_settime 227 112
inotify_init1 294 26 | fanotify_init 300 262 | timer_create 222 107 | rt_sigqueueinfo 129 138
pidfd_getfd 438 438 | process_madvise 440 440 | kcmp 312 272 | vmsplice 278 75 | personality 135 92
capset 126 91 | setgroups 116 159 | mlockall 151 230 | name_to_handle_at 303 264 | iopl 172 -
modify_ldt 154 - | vfork 58 -
""")
if MACHINE == "x86_64":
    KERNEL += [
        ("fork by machine code", "error", "machine_code('b8390000000f05c3')"),
        ("fork by its x32 number", "refused", "syscall(57 | 1 << 30)"),
        ("a process id by its x32 number", "refused", "syscall(39 | 1 << 30)"),
        ("fork by the gate of 32-bit programs", "error", "machine_code('b802000000cd80c3')"),
        (
            "a thread in a new user namespace",
            "refused|error",
            "syscall(56, 0x10000 | 0x900 | 0x10000000, 0, 0, 0, 0)",
        ),
        (
            "a thread in a new network",
            "refused|error",
            "syscall(56, 0x10000 | 0x900 | 0x40000000, 0, 0, 0, 0)",
        ),
        ("a process by a flag out of sight", "refused|error", "syscall(56, 17 | 1 << 48, 0, 0, 0, 0)"),
    ]

GROUPS = {
    "files": FILES,
    "network": NETWORK,
    "signals": SIGNALS,
    "processes": PROCESSES,
    "memory": MEMORY,
    "output": OUTPUT,
    "kernel": KERNEL,
    "interpreter": INTERPRETER,
    "scratch": SCRATCH,
}


def cases(*groups: str) -> list[object]:
    return [
        pytest.param(code, becomes.split("|"), id=f"{group}: {name}")
        for group in groups
        for name, becomes, code in GROUPS[group]
    ]


@dataclass(frozen=True)
class Surroundings:
    """What programs must not reach."""

    outside: Path
    bystander: subprocess.Popen[bytes]

    def prelude(self) -> str:
        return PRELUDE.format(outside=str(self.outside), bystander=self.bystander.pid, caller=os.getpid())

    def state(self) -> tuple[object, ...]:
        """Changes when any of it was touched."""
        status = self.outside.stat()
        kept = (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_nlink, self.outside.read_text())
        return (*kept, os.listdir(self.outside.parent), self.bystander.poll())


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[Surroundings]:
    (tmp_path / "file").write_text(SECRET)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        yield Surroundings(tmp_path / "file", bystander)
        bystander.kill()


def started(without: Sequence[str] = (), seconds: float = PATIENT) -> Sandbox:
    """A sandbox with both servers running; its caller has a secret in its environment."""
    config = {"seconds": seconds, "preload": ("numpy",), "without": without, "output_chars": OUTPUT_CHARS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATHLOOP_TEST_SECRET", SECRET)
        sandbox = Sandbox(SandboxConfig.model_validate(config))
        sandbox.run("import numpy")
    return sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with started() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def hasty() -> Iterator[Sandbox]:
    with started(seconds=HASTY) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def bare() -> Iterator[Sandbox]:
    """With limits and seccomp only, as in a container that forbids the rest."""
    with started(("landlock", "namespaces")) as sandbox:
        yield sandbox


def servers(sandbox: Sandbox) -> list[int]:
    return [worker.process.pid for slot in sandbox._slots for worker in slot.servers()]


def family(pid: int) -> list[int]:
    """A process and all below it, the ended ones too; whichever thread started them."""
    try:
        lists = [task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:  # it ended meanwhile
        return []
    return [pid, *(each for child in " ".join(lists).split() for each in family(int(child)))]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def anonymous_bytes(pids: Sequence[int]) -> int:
    """Memory of their own of these processes; a process whose first thread has ended counts too."""
    total = 0
    for pid in pids:
        of_tasks = [0]
        for task in Path(f"/proc/{pid}/task").iterdir():
            lines = task.joinpath("status").read_text().splitlines()
            of_tasks += [int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")]
        total += max(of_tasks)
    return total


def left(sandbox: Sandbox) -> tuple[object, ...]:
    """What a run may not add to."""
    return len(family(os.getpid())), descriptors(), servers(sandbox)


def attack(sandbox: Sandbox, surroundings: Surroundings, code: str) -> Execution:
    """Runs a program, and checks all that holds after every one."""
    code = surroundings.prelude() + code
    sandbox.run("1")  # starts the server where a test before has failed
    before, around = left(sandbox), surroundings.state()
    execution = sandbox.run(code)
    assert surroundings.state() == around
    scratch = sandbox.run("import os; os.listdir(os.getcwd())")
    assert scratch.stdout == "[]\n" or scratch.status == "refused"  # where programs have none
    assert sandbox.run("6 * 7").stdout == "42\n"
    assert left(sandbox) == before
    assert len(execution.stdout) <= OUTPUT_CHARS
    assert len(execution.error) <= ERROR_CHARS
    assert SECRET not in execution.stdout + execution.error
    return execution


@pytest.mark.parametrize(("code", "becomes"), cases(*(group for group in GROUPS if group != "scratch")))
def test_a_hostile_program_ends_as_it_must_and_leaves_nothing(
    sandbox: Sandbox, hasty: Sandbox, surroundings: Surroundings, code: str, becomes: list[str]
) -> None:
    execution = attack(hasty if "timeout" in becomes else sandbox, surroundings, code)
    assert execution.status in becomes, execution


@pytest.mark.parametrize(("code", "becomes"), cases("scratch"))
def test_whatever_is_done_to_the_scratch_is_cleared(
    sandbox: Sandbox, surroundings: Surroundings, code: str, becomes: list[str]
) -> None:
    if not {"landlock", "namespaces"} <= {*sandbox.isolation()}:
        pytest.skip("programs have no scratch here")
    execution = attack(sandbox, surroundings, code)
    assert execution.status in becomes, execution


@pytest.mark.parametrize(("code", "becomes"), cases("files", "network", "signals"))
def test_seccomp_alone_refuses_files_network_and_signals(
    bare: Sandbox, surroundings: Surroundings, code: str, becomes: list[str]
) -> None:
    assert bare.isolation() == ["limits", "seccomp"]
    execution = attack(bare, surroundings, code)
    assert execution.status in becomes, execution


@pytest.mark.parametrize("without", [("landlock",), ("namespaces",)])
def test_either_of_the_outer_layers_can_be_missing(
    without: tuple[str, ...], surroundings: Surroundings
) -> None:
    with started(without) as sandbox:
        for code in ("open(outside).read()", "open(outside, 'w')", "call('socket', 2, 1, 0)"):
            assert attack(sandbox, surroundings, code).status == "refused"


def test_scratch_files_do_not_reach_the_next_program(sandbox: Sandbox) -> None:
    write = "import os; open(os.getcwd() + '/file', 'w').write('x'); os.listdir(os.getcwd())"
    written = sandbox.run(write)
    if written.status == "refused":
        pytest.skip("programs have no scratch here")
    assert written.stdout == "['file']\n"
    assert sandbox.run("import os; os.listdir(os.getcwd())").stdout == "[]\n"


def test_a_program_cannot_find_what_others_have_printed(sandbox: Sandbox) -> None:
    find = """
import sys
frame, found = sys._getframe(), []
while frame:
    found += [repr(value) for value in frame.f_locals.values() if isinstance(value, (dict, bytes, str))]
    children = getattr(frame.f_locals.get("self"), "parked", {})
    found += [repr((child.printed, child.claims)) for child in children.values()]
    frame = frame.f_back
"of a former " + "program" in "".join(found), "of a waiting " + "one" in "".join(found)
"""
    with sandbox.session() as session:
        session.run("print('of a waiting', 'one')")
        sandbox.run("print('of a former', 'program')")
        assert sandbox.run(find).stdout == "(False, False)\n"


# Sessions


def test_a_session_keeps_its_state_over_errors_and_timeouts(hasty: Sandbox) -> None:
    with hasty.session() as session:
        session.run("x = 20\ndef double(n): return 2 * n")
        assert session.run("y = 1\n1 / 0").status == "error"
        assert session.run("open('/etc/passwd')").status == "refused"
        assert session.run("x = 0\nwhile True: pass").status == "timeout"
        assert session.run("double(x) + y + 1").stdout == "42\n"
        assert session.run("import os; os._exit(0)").kept is False
        assert session.run("double(x) + y + 1").stdout == "42\n"
        assert session.run("").kept is True
        assert session.run("x + y").stdout == "21\n"


def test_threads_of_a_session_do_not_run_while_it_waits(sandbox: Sandbox) -> None:
    spinning = """
import threading
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()
"""
    sandbox.run("1")
    before = set(family(servers(sandbox)[0]))
    with sandbox.session() as session:
        assert session.run(spinning).status == "ok"
        waiting = set(family(servers(sandbox)[0])) - before
        states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in waiting]
        assert set(states) <= {"T"}
        assert session.run("threading.active_count()").stdout == "2\n"


def test_what_a_waiting_session_left_in_the_scratch_is_not_seen(sandbox: Sandbox) -> None:
    blink = """
import os, threading
place = os.getcwd() + "/left"
def blink():
    while True:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
        os.unlink(place)
threading.Thread(target=blink, daemon=True).start()
"""
    for _ in range(40):
        with sandbox.session() as session:
            session.run(blink)
            assert "left" not in sandbox.run("import os; os.listdir(os.getcwd())").stdout


@pytest.mark.parametrize(
    "hidden",
    [
        "os.open(place + '/file', os.O_CREAT | os.O_RDWR); os.unlink(place + '/file')",
        "os.open(place, os.O_TMPFILE | os.O_RDWR)",
    ],
)
def test_a_waiting_session_does_not_fill_the_scratch_of_others(sandbox: Sandbox, hidden: str) -> None:
    fill = f"""
import os
place = os.getcwd()
file = {hidden}
os.write(file, bytes(16 << 20))
"""
    with sandbox.session() as session:
        filled = session.run(fill)
        if filled.status == "refused":
            pytest.skip("programs have no scratch here")
        assert filled.stdout == f"{16 << 20}\n"
        write = "import os; open(os.getcwd() + '/file', 'wb', 0).write(bytes(1 << 20))"
        assert sandbox.run(write).stdout == f"{1 << 20}\n"


END_FIRST_THREAD = f"""
import ctypes, os, sys, threading, time
hoard = bytearray(b"x") * (100 << 20)
frame = sys._getframe()
while "result" not in frame.f_locals: frame = frame.f_back
def claim():
    time.sleep(0.1)
    os.write(frame.f_locals["result"], b'["ok", ""]\\n')
    time.sleep(99)
threading.Thread(target=claim).start()
ctypes.CDLL(None).syscall({EXIT}, 0)
"""


def test_a_waiting_session_holds_little_memory(sandbox: Sandbox) -> None:
    before = anonymous_bytes(family(servers(sandbox)[0]))
    for hoard in ("hoard = bytearray(b'x') * (100 << 20)", END_FIRST_THREAD):
        with sandbox.session() as session:
            assert session.run(hoard).status == "ok"
            assert anonymous_bytes(family(servers(sandbox)[0])) - before < 50 << 20


def test_a_waiting_session_holds_few_threads(sandbox: Sandbox) -> None:
    code = """
import threading, time
threading.stack_size(1 << 16)
for _ in range(100): threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
"""
    sandbox.run("1")
    with sandbox.session() as session:
        assert session.run(code).status == "ok"
        assert sum(len(os.listdir(f"/proc/{pid}/task")) for pid in family(servers(sandbox)[0])) < 50


def test_a_session_that_ends_while_others_run_leaves_no_process(sandbox: Sandbox) -> None:
    sandbox.run("1")
    before = left(sandbox)
    session = sandbox.session()
    session.run("x = 1")
    other = threading.Thread(target=sandbox.run, args=("import time; time.sleep(0.5)",))
    other.start()
    time.sleep(0.2)
    with session:
        pass
    other.join()
    sandbox.run("1")
    assert left(sandbox) == before


@pytest.mark.parametrize(
    "code", ["'\ud800'", "'\0'", "\ufeff1", "é = '🦊' * 100_000", "x = (", "\\", "\t\n "]
)
def test_a_block_of_any_text_is_the_programs_own_fault(sandbox: Sandbox, code: str) -> None:
    sandbox.run("1")
    before = servers(sandbox)
    with sandbox.session() as session:
        session.run("x = 1")
        assert session.run(code).status in ("ok", "error")
        assert session.run("x").stdout == "1\n"
    assert sandbox.run(code).status in ("ok", "error")
    assert servers(sandbox) == before


def test_a_server_that_cannot_fork_signals_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """kill(-1) would end every process of this user: fork fails where processes have run out."""
    failing = f"""
_fork, _forks, _kill = ctypes.PyDLL(None).fork, [], os.kill

def _FORK():
    _forks.append(0)
    return -1 if len(_forks) == 2 else _fork()  # the first is the server's own test

def _careful(pid, number):
    if pid <= 0:
        open({str(tmp_path / "signalled")!r}, "w").close()
        os._exit(1)
    _kill(pid, number)

os.kill = _careful
"""
    zygote = patched_zygote(tmp_path, "_FORK = ctypes.PyDLL(None).fork\n", failing)
    monkeypatch.setattr(worker, "ZYGOTE", zygote)
    with Sandbox(SandboxConfig(preload=())) as sandbox:
        with contextlib.suppress(SandboxError):
            sandbox.run("1")
        assert not (tmp_path / "signalled").exists()
        assert sandbox.run("6 * 7").stdout == "42\n"


# Many runs


@pytest.mark.slow
def test_many_runs_leave_nothing_and_take_no_memory(sandbox: Sandbox) -> None:
    kinds = [
        ("6 * 7", "ok"),
        ("print('x' * 300)", "ok"),
        ("1 / 0", "error"),
        ("raise ValueError('y' * 5000)", "error"),
        ("open('/etc/passwd')", "refused"),
        ("import os; os.fork()", "refused"),
        ("import os; os._exit(3)", "error"),
        ("hoard = bytearray(1 << 24)", "ok"),
    ]

    def run(count: int) -> None:
        for number in range(count):
            code, becomes = kinds[number % len(kinds)]
            assert sandbox.run(f"{code}\n# {number}").status == becomes

    run(200)
    before = left(sandbox)
    memory = anonymous_bytes([each for pid in servers(sandbox) for each in family(pid)])
    run(RUNS)
    assert left(sandbox) == before
    assert anonymous_bytes([each for pid in servers(sandbox) for each in family(pid)]) - memory < 2 << 20
