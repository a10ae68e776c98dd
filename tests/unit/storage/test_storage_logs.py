"""Append-only logs: of any number of writers exactly one gets an entry, and nobody reads half of one."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mathloop.storage import Taken, open_store

WRITERS = 16
RECORD = 300_000
"""Bytes: long enough to be caught half-written."""


def races(url: str) -> int:
    """How many entries to race for: SeaweedFS lets a crowd of writers to one key wait for seconds."""
    return 1 if url.startswith("s3:") else 20


def take(url: str, barrier: Any, entries: int, writer: int) -> list[int]:
    """Tries for every entry, all writers starting each at once; returns those that it got."""
    place = open_store(url)
    won = []
    for number in range(entries):
        barrier.wait(60)
        try:
            place.append("champion", number, bytes([writer]) * RECORD)
        except Taken:
            continue
        won.append(number)
    return won


def check(url: str, won: list[list[int]], entries: int) -> None:
    assert sorted(number for numbers in won for number in numbers) == list(range(entries))
    winners = {number: writer for writer, numbers in enumerate(won) for number in numbers}
    log = dict(open_store(url).read_log("champion"))
    assert log == {number: bytes([winners[number]]) * RECORD for number in range(entries)}


def test_of_sixteen_threads_one_wins_each_entry_and_readers_see_whole_ones(store_url: str) -> None:
    barrier, entries = threading.Barrier(WRITERS), races(store_url)
    won: list[list[int]] = [[] for _ in range(WRITERS)]
    torn: list[int] = []
    ended = threading.Event()

    def write(writer: int) -> None:
        won[writer] = take(store_url, barrier, entries, writer)

    def watch() -> None:
        place = open_store(store_url)
        while not ended.is_set():
            torn.extend(n for n, record in place.read_log("champion") if record != record[:1] * RECORD)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    reader = threading.Thread(target=watch)
    for thread in [*writers, reader]:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    check(store_url, won, entries)
    assert torn == []


def test_of_sixteen_processes_one_wins_each_entry(store_url: str) -> None:
    context, entries = multiprocessing.get_context("fork"), races(store_url)
    barrier, answers = context.Barrier(WRITERS), context.Queue()

    def write(writer: int) -> None:
        answers.put((writer, take(store_url, barrier, entries, writer)))

    processes = [context.Process(target=write, args=(n,), daemon=True) for n in range(WRITERS)]
    for process in processes:
        process.start()
    won = dict(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    check(store_url, [won[writer] for writer in range(WRITERS)], entries)


def test_a_log_is_read_in_order_of_its_numbers_and_apart_from_others(store_url: str) -> None:
    place = open_store(store_url)
    assert list(place.read_log("a")) == []
    for number in (10, 9, 0, 999_999):
        place.append("a", number, str(number).encode())
    place.append("a/deeper", 5, b"another log")
    place.append("ab", 6, b"another log")
    assert list(place.read_log("a")) == [(0, b"0"), (9, b"9"), (10, b"10"), (999_999, b"999999")]
    assert list(place.names()) == []


def test_an_entry_is_never_changed(store_url: str) -> None:
    place = open_store(store_url)
    place.append("a", 0, b"")
    for record in (b"", b"other"):
        with pytest.raises(Taken):
            place.append("a", 0, record)
    assert list(place.read_log("a")) == [(0, b"")]


@pytest.mark.parametrize("number", [-1, 10**12])
def test_an_entry_has_a_number(store_url: str, number: int) -> None:
    write: Callable[..., None] = open_store(store_url).append
    with pytest.raises(ValueError, match="numbered from 0"):
        write("a", number, b"x")
