"""`mathloop benchmark serve`: what is printed, on saved responses and of a load."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from pipelines.benchmarks import serving, serving_clients
from pipelines.benchmarks.serving_clients import Load, Turn, answers_within, load, report, settle
from pipelines.benchmarks.serving_load import Cost

FIELDS = "prediction=pred,answer=gold,reward=score,label=correct"


def test_the_share_drawn_and_the_paired_difference_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"pred": ["7"] * 8, "gold": "7", "score": [4.0] * 8, "correct": [True] * 8},
        {
            "pred": list("12345678"),
            "gold": "7",
            "score": [-4.0] * 8,
            "correct": [a == "7" for a in "12345678"],
        },
    ]
    saved = tmp_path / "saved.jsonl"
    saved.write_text("\n".join(map(json.dumps, rows)))
    serving.run_saved([saved], FIELDS)
    printed = capsys.readouterr().out
    found = re.findall(
        r"^saved +cot +(\w+) +([\d.]+) % +([\d.]+) +\+0\.00 \[\+0\.00, \+0\.00\] +2$", printed, re.M
    )
    assert [name for name, *_ in found] == ["maj", "rm", "weighted"]
    assert found[0][1] == "56.2"  # 2 of 8 and 7 of 8


def test_a_load_counts_answers_per_client_and_refusals_by_status() -> None:
    """Stands for a server: client 1 gets a 429 first and a broken connection later."""
    asked: Counter[str] = Counter()
    body = json.dumps({"usage": {"completion_tokens": 5}}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"Content-Length: (\d+)", head)
                assert length is not None
                question = json.loads(await reader.readexactly(int(length[1])))["messages"][0]["content"]
                asked[question] += 1
                await asyncio.sleep(0.01)
                if question == "one" and asked[question] == 1:
                    writer.write(b"HTTP/1.1 429 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")
                    continue
                if question == "one" and asked[question] == 3:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async def run() -> Load:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            each = [cycle(["zero", "none"]), cycle(["one"]), cycle(["two"]), iter(["three"])]
            return await load(port, os.getpid(), each, 0.5)

    found = asyncio.run(run())
    assert found.statuses[429] == 1
    assert found.statuses[0] == 1
    assert found.total == found.statuses[200] == sum(asked.values()) - 2
    assert found.tokens == 5 * found.total
    assert 1 <= found.answers[1] < min(found.answers[0], found.answers[2])
    assert found.answers[3] == asked["three"] == 1  # it has no further question
    assert abs(asked["zero"] - asked["none"]) <= 1  # a question follows the other
    assert len(found.memory) >= 2
    assert all(mib > 1 for _, mib in found.memory)


def test_the_report_sums_the_turns_and_takes_the_median_of_their_costs() -> None:
    def turn(server: float, batches: float, answers: Sequence[int]) -> Turn:
        total = sum(answers)
        found = Load(
            list(answers),
            total,
            Counter({200: total, 429: 1}),
            5 * total,
            [(0.0, 100.0)],
            counted=total - 1,
            server_cpu=server * (total - 1),
        )
        return Turn(found, Cost(batches, batches, 48.0))

    turns = [turn(0.02, 0.01, (1, 3)), turn(0.04, 0.03, (2, 2)), turn(0.9, 0.09, (2, 1)), turn(1.0, 0.1, ())]
    turns[-1] = replace(turns[-1], load=Load([0, 0], memory=[(0.0, 100.0)]))
    lines = report(turns, 40.0)
    assert lines[0] == "2 clients for 40 s, 4 turns: 11 answers; replies by status: 200: 11, 429: 3"
    assert lines[1] == "answers per client: 5 to 6, mean 5.5"
    assert re.search(r"^server +40\.00 +5\.0 +0\.50x$", lines[2], re.M)
    assert re.search(r"^engine in batches +30\.00 +48\.0$", lines[2], re.M)
    assert lines[3] == "ratios of the turns: 0.10, 0.50, 0.75"


def test_the_report_shows_the_first_and_the_last_memory_of_many() -> None:
    half = [(float(at), 100.0 + at) for at in range(16)]
    turns = [Turn(Load([1], memory=half), Cost(0.01, 0.01)) for _ in range(2)]
    last = report(turns, 30.0)[-1]
    assert last.startswith("memory of the server, MiB: 100 (0 s), ")
    assert last.endswith("115 (30 s)")
    assert last.count("s)") <= 9


def test_an_answer_counts_by_the_part_of_its_time_within_the_turn() -> None:
    """Four clients in step, 30 s an answer: 98 s are 3 or 4 whole answers of each, and the work of 3.27."""
    spans = [(30.0 * at, 30.0 * (at + 1)) for at in range(5)] * 4
    assert answers_within(spans, 1.0, 99.0) == pytest.approx(4 * 98 / 30)
    assert answers_within(spans, 31.0, 129.0) == pytest.approx(4 * 98 / 30)
    assert answers_within([(0.0, 5.0), (2.0, 2.0), (20.0, 30.0)], 10.0, 20.0) == 0
    assert answers_within([(0.0, 40.0)], 10.0, 20.0) == 0.25


def test_a_servers_own_beginning_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that compare answers take seconds of CPU time to start, which are no answer's."""
    spent = iter((1.0, 2.0, 2.5, 2.53, 9.0))
    monkeypatch.setattr(serving_clients, "_cpu", lambda _: next(spent))
    monkeypatch.setattr("time.sleep", lambda _: None)
    settle(1)
    assert next(spent) == 9.0
