"""`mathloop benchmark serve --load`: a server under many clients for a while, next to its engine's batches.

The server is a process of its own, so that its CPU time is told from the clients'. Each client has a key,
sends one question after the other over one connection, and waits as long as a 429's Retry-After says. Server
and engine take turns, so that whatever else the machine does costs both.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from statistics import median

from mathloop.errors import MathloopError
from pipelines.benchmarks.printing import Progress, aligned, machine
from pipelines.benchmarks.serving_load import (
    TOKENS,
    Cost,
    Models,
    engine_batches,
    nano_problems,
    random_models,
)

WARM_SECONDS = 2.0
WARM_CLIENTS = 8
QUESTIONS = 32
"""Of each client, all different, since the server remembers prompts; after them it begins again."""
STARTED_SHARE, LONGEST_START = 0.05, 60
"""A server has started once it takes less than this part of a core; seconds that are waited at most."""
LOOK_SECONDS = 1.0
"""Between two looks at the server's memory."""
SHOWN_LOOKS = 8
TURNS, TURN_SECONDS = 6, 10.0
"""Turns at most, and seconds of the load in each at least: large models answer little in ten seconds."""
LEAD_SECONDS = 2.0
"""Of a turn, before costs are counted: until then clients come one after the other."""
BATCHES = 2
"""Batches of the engine in one turn, each with one question per client."""
ANSWER_SECONDS = 300.0
"""Longest wait for an answer: the server's default deadline."""


@dataclass
class Load:
    """What clients got, and what it cost the server."""

    answers: list[int]
    """Per client, those that came before the end."""
    total: int = 0
    """Answers, with those that came after the end."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of all replies; 0: the connection broke."""
    tokens: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, MiB of the server's process."""
    counted: float = 0.0
    """Answers while all clients asked: after the turn's beginning, and before its end (`answers_within`)."""
    server_cpu: float = 0.0
    """Seconds meanwhile, of the server and its children."""
    clients_cpu: float = 0.0


@dataclass(frozen=True)
class Turn:
    """The server's, then the engine's."""

    load: Load
    batches: Cost

    @property
    def ratio(self) -> float:
        """CPU time of an answer in batches to the server's."""
        return self.batches.cpu * self.load.counted / self.load.server_cpu


def run(policy: Path | None, reward_model: Path | None, seconds: float, clients: int) -> None:
    """Prints what the clients got, the server's memory, and its cost per answer next to the engine's.

    Raises BadModel if a folder is not a model's, and MathloopError if the server does not start.
    """
    from mathloop.models.loading import load_policy

    asked = nano_problems(WARM_CLIENTS + clients * QUESTIONS)
    texts = [one.problem for one in asked]
    warming, measured = texts[:WARM_CLIENTS], texts[WARM_CLIENTS:]
    with tempfile.TemporaryDirectory(prefix="mathloop-benchmark-") as name, Progress() as progress:
        if policy is None:
            progress.step("making a policy and a reward model of random weights")
            policy, reward_model = random_models(Path(name), asked)
        progress.step("loading the engine alone")
        models = Models(load_policy(policy), None)
        engine_batches(models, warming[:2], "greedy", 1)  # warm-up
        progress.step("starting the server")
        with _server(Path(name), policy, reward_model, clients) as (process, port):
            progress.step("warming up")
            asyncio.run(load(port, process.pid, [cycle([one]) for one in warming], WARM_SECONDS))
            settle(process.pid)
            each = [cycle(measured[number::clients]) for number in range(clients)]
            batches = cycle(measured[at : at + clients] for at in range(0, len(measured), clients))
            count = max(1, min(TURNS, int(seconds / TURN_SECONDS)))
            turns = []
            for number in range(count):
                progress.step(f"{clients} clients for {seconds:g} seconds, turn {number + 1} of {count}")
                found = asyncio.run(load(port, process.pid, each, seconds / count))
                costs = [engine_batches(models, next(batches), "greedy", 1) for _ in range(BATCHES)]
                turns.append(Turn(found, Cost.mean(costs)))
    print(f"{machine()}; greedy, at most {TOKENS} tokens")
    for line in report(turns, seconds):
        print(line)


def report(turns: Sequence[Turn], seconds: float) -> list[str]:
    """Lines that are printed: sums over the turns, of costs the medians."""
    loads = [turn.load for turn in turns]
    total = sum(one.total for one in loads)
    ordered = sorted(map(sum, zip(*(one.answers for one in loads), strict=True)))
    mean = sum(ordered) / len(ordered)
    counts = sum((one.statuses for one in loads), Counter[int]())
    statuses = ", ".join(f"{n or 'broken connection'}: {count:,}" for n, count in counts.items())
    replies = f"{total:,} answers; replies by status: {statuses or 'none'}"
    lines = [
        f"{len(ordered)} clients for {seconds:g} s, {len(turns)} turns: {replies}",
        f"answers per client: {ordered[0]} to {ordered[-1]}, mean {mean:.1f}",
    ]
    if measured := [turn for turn in turns if turn.load.counted]:
        head = ("", "CPU ms per answer", "tokens", f"batches of {len(ordered)} to it")
        server = median(turn.load.server_cpu / turn.load.counted for turn in measured)
        clients = median(turn.load.clients_cpu / turn.load.total for turn in measured)
        batches = median(turn.batches.cpu for turn in measured)
        ratios = sorted(turn.ratio for turn in measured)
        tokens = sum(one.tokens for one in loads) / total
        own = sum(turn.batches.tokens for turn in measured) / len(measured)
        rows = [
            ("server", f"{1e3 * server:.2f}", f"{tokens:.1f}", f"{median(ratios):.2f}x"),
            ("engine in batches", f"{1e3 * batches:.2f}", f"{own:.1f}", ""),
            ("clients", f"{1e3 * clients:.2f}", "", ""),
        ]
        lines.append(aligned(head, rows))
        if len(ratios) > 1:
            lines.append(f"ratios of the turns: {', '.join(f'{one:.2f}' for one in ratios)}")
    before, memory = 0.0, []
    for one in loads:
        memory += [(before + at, mib) for at, mib in one.memory]
        before = memory[-1][0] if memory else before
    step = max(1, -(-len(memory) // SHOWN_LOOKS))
    looks = memory[::step] + ([] if (len(memory) - 1) % step == 0 else memory[-1:])
    shown = ", ".join(f"{mib:,.0f} ({at:.0f} s)" for at, mib in looks)
    lines.append(f"memory of the server, MiB: {shown}")
    return lines


def settle(pid: int) -> None:
    """Waits until the server's own beginning is over, such as that of the processes that compare answers."""
    before = _cpu(pid)
    for _ in range(LONGEST_START):
        time.sleep(1.0)
        now = _cpu(pid)
        if now - before < STARTED_SHARE:
            return
        before = now


async def load(port: int, pid: int, questions: Sequence[Iterator[str]], seconds: float) -> Load:
    """Clients ask the server in process `pid`, each its own questions, until the time is over or they end.

    A question that was asked by then is waited for.
    """
    found = Load([0] * len(questions))
    start, own = time.monotonic(), time.process_time()
    lead = min(LEAD_SECONDS, seconds / 4)
    spans: list[tuple[float, float]] = []
    window = start, start

    async def count() -> None:
        nonlocal window
        await asyncio.sleep(lead)
        begin, cpu = time.monotonic(), _cpu(pid)
        await asyncio.sleep(start + seconds - time.monotonic())
        found.server_cpu = _cpu(pid) - cpu
        window = begin, time.monotonic()

    async def watch() -> None:
        while True:
            found.memory.append((time.monotonic() - start, _mib(pid)))
            await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        await asyncio.gather(
            count(),
            *(_client(port, n, asked, start + seconds, found, spans) for n, asked in enumerate(questions)),
        )
    finally:
        watching.cancel()
    found.memory.append((time.monotonic() - start, _mib(pid)))
    found.clients_cpu = time.process_time() - own
    found.counted = answers_within(spans, *window)
    return found


def answers_within(spans: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Answers between two times, each by the part of its own time, from question to reply, that lies there.

    Clients that began together get their answers together: whole ones would be one more or one less each,
    although the server works on the next ones all the time.
    """
    within = ((max(asked, begin), min(answered, end), answered - asked) for asked, answered in spans)
    return sum(max(0.0, last - first) / took for first, last, took in within if took > 0)


async def _client(
    port: int,
    number: int,
    questions: Iterator[str],
    end: float,
    found: Load,
    spans: list[tuple[float, float]],
) -> None:
    text = next(questions, None)
    while text is not None and (left := end - time.monotonic()) > 0:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            found.statuses[0] += 1
            await asyncio.sleep(min(1.0, left))
            continue
        try:
            while text is not None and (left := end - time.monotonic()) > 0:
                asked = time.monotonic()
                async with asyncio.timeout(ANSWER_SECONDS):
                    status, pause, reply = await _exchange(reader, writer, _request(number, text))
                found.statuses[status] += 1
                if status == 200:
                    found.total += 1
                    spans.append((asked, time.monotonic()))
                    found.answers[number] += time.monotonic() < end
                    found.tokens += json.loads(reply)["usage"]["completion_tokens"]
                    text = next(questions, None)
                else:
                    await asyncio.sleep(min(max(pause, 0.1), max(0.0, end - time.monotonic())))
        except (OSError, EOFError, TimeoutError):
            found.statuses[0] += 1
            await asyncio.sleep(min(1.0, left))
        finally:
            writer.close()


def _request(client: int, text: str) -> bytes:
    fields = {"messages": [{"role": "user", "content": text}], "max_tokens": TOKENS, "strategy": "greedy"}
    body = json.dumps(fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {_key(client)}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, float, bytes]:
    """Status, Retry-After in seconds, and body."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = dict(re.findall(r"^([\w-]+): *(.*?)\r$", head.lower(), re.M))
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head.split()[1]), float(headers.get("retry-after", 0)), body


@contextmanager
def _server(
    folder: Path, policy: Path, reward_model: Path | None, clients: int
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server with a key per client, and its port."""
    keys, log = folder / "keys", folder / "log"
    keys.write_text("".join(f"c{n} {sha256(_key(n).encode()).hexdigest()}\n" for n in range(clients)))
    keys.chmod(0o600)
    models = ["--model", str(policy.absolute())]
    if reward_model is not None:
        models += ["--reward-model", str(reward_model.absolute())]
    command = [sys.executable, "-m", "pipelines.cli", "serve", *models, "--port", "0", "--keys", str(keys)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://[^ ]+:(\d+)", line)
            if address is None:
                raise MathloopError(f"the server did not start: {line or log.read_text()[-500:]}".strip())
            yield process, int(address[1])
        finally:
            process.terminate()


def _key(client: int) -> str:
    return f"benchmark-client-{client:05d}-of-this-machine-only"


def _cpu(pid: int) -> float:
    """CPU seconds of a process and of those that it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    spent = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                spent += _cpu(int(child))
            except OSError:  # it has ended since
                continue
    return spent


def _mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")
