"""What stages leave out: counted, and written to read."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import pytest

from mathloop.errors import BadData, StorageRefused
from mathloop.records import Drops, Problem, Response, open_drops, read_problems, read_responses, read_rows

PROBLEM = Problem("p", "1+1?", answer="2")
RESPONSE = Response("p", 3, "cot", "It is 3.", "3", correct=False, reason="not equal", reward=-1.5)


def test_drops_are_counted_by_reason_without_a_file() -> None:
    with open_drops(None) as drops:
        for reason in ("wrong answer", "truncated", "wrong answer"):
            drops.add(reason, RESPONSE)
    assert drops.counts == {"wrong answer": 2, "truncated": 1}
    assert Drops().counts == {}


@pytest.mark.parametrize("name", ["dropped", "dropped.jsonl"])
def test_dropped_records_are_in_the_file_in_order_with_reason_and_details(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open_drops(path) as drops:
        drops.add("wrong answer", RESPONSE, problem="1+1?", gold="2")
        drops.add("no gold answer", PROBLEM)
        drops.add("broken row", {"row": 7, "error": "no answer"})
        assert not path.exists()
    first, second, third = read_rows(path)
    assert (first["drop_reason"], first["problem"], first["gold"]) == ("wrong answer", "1+1?", "2")
    assert (first["reason"], first["text"], first["reward"]) == ("not equal", "It is 3.", -1.5)
    assert (second["drop_reason"], second["id"]) == ("no gold answer", "p")
    assert third == {"drop_reason": "broken row", "row": 7, "error": "no answer"}


def test_files_of_one_kind_of_record_are_read_as_these_records(tmp_path: Path) -> None:
    with open_drops(tmp_path / "responses.jsonl") as drops:
        drops.add("wrong answer", RESPONSE, problem="1+1?", gold="2")
    assert list(read_responses(tmp_path / "responses.jsonl")) == [RESPONSE]
    with open_drops(tmp_path / "problems.jsonl") as drops:
        drops.add("too easy", PROBLEM, right=8)
    assert list(read_problems(tmp_path / "problems.jsonl")) == [PROBLEM]


def test_nothing_dropped_is_a_table_without_rows(tmp_path: Path) -> None:
    with open_drops(tmp_path / "dropped"):
        pass
    assert list(read_rows(tmp_path / "dropped")) == []


def test_a_reward_that_is_not_finite_is_null(tmp_path: Path) -> None:
    with open_drops(tmp_path / "dropped") as drops:
        drops.add("wrong answer", Response("p", 0, "cot", "", reward=math.nan))
    assert next(read_rows(tmp_path / "dropped"))["reward"] is None


def test_a_stage_that_fails_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "dropped"
    path.write_bytes(b"before")

    def fail() -> None:
        with open_drops(path) as drops:
            drops.add("wrong answer", RESPONSE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [entry.name for entry in tmp_path.iterdir()] == ["dropped"]
    assert path.read_bytes() == b"before"
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageRefused, match="dropped: it is a folder"), open_drops(path):
        pass


def test_memory_does_not_grow_with_what_is_dropped(tmp_path: Path) -> None:
    """5 MB pass through; a tenth of that is never held."""
    tracemalloc.start()
    try:
        with open_drops(tmp_path / "dropped") as drops:
            for _ in range(20_000):
                drops.add("wrong answer", RESPONSE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = (tmp_path / "dropped").stat().st_size
    assert size > 4_000_000
    assert peak < size / 10


def test_a_detail_gives_way_to_the_records_own_field(tmp_path: Path) -> None:
    with open_drops(tmp_path / "dropped") as drops:
        drops.add("too easy", PROBLEM, problem="another")
    assert (tmp_path / "dropped").read_text().count('"problem"') == 1
    assert next(read_rows(tmp_path / "dropped"))["problem"] == "1+1?"


def test_a_number_of_more_than_64_bits_is_written(tmp_path: Path) -> None:
    with open_drops(tmp_path / "dropped") as drops:
        drops.add("too hard", PROBLEM, right=2**70)
        drops.add("too hard", Response("p", 2**70, "cot", ""))
    assert [row.get("right", row.get("sample")) for row in read_rows(tmp_path / "dropped")] == [2**70, 2**70]


def test_text_that_is_not_utf_8_is_refused_with_its_row(tmp_path: Path) -> None:
    def drop_two() -> None:
        with open_drops(tmp_path / "d") as drops:
            drops.add("wrong answer", RESPONSE)
            drops.add("wrong answer", Response("p", 0, "cot", "\ud800"))

    with pytest.raises(BadData, match="cannot be written as JSON") as caught:
        drop_two()
    assert (caught.value.row, caught.value.field) == (2, "text")
    assert list(tmp_path.iterdir()) == []
