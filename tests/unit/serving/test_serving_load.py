"""Under load: turns among clients, what a full queue does, names of keys, and the cores of a container."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from mathloop.errors import BadConfig
from mathloop.serving.config import SolverConfig
from mathloop.serving.cores import usable_cores
from mathloop.serving.keys import Keys
from mathloop.serving.queueing import Place, Queue
from mathloop.serving.refusals import Refused
from tests.unit.serving.standins import ScriptedEngine
from tests.unit.serving.test_serving_routes import Served


def served_order(queue: Queue, places: list[Place]) -> list[int]:
    """In which order the places get their turns, if each leaves at once."""
    order = []
    while queue.running:
        (now,) = [at for at, place in enumerate(places) if place.began is not None and at not in order]
        order.append(now)
        places[now].leave()
    return order


def test_clients_take_turns_however_much_each_sends() -> None:
    async def run() -> None:
        queue = Queue(1, 100)
        places = [queue.enter(client) for client in "aaaaaabbc"]
        assert served_order(queue, places) == [0, 1, 6, 8, 2, 7, 3, 4, 5]
        assert queue.inside == 0

    asyncio.run(run())


def test_every_one_of_many_clients_is_served_in_proportion() -> None:
    async def run() -> None:
        queue = Queue(4, 64)
        served = dict.fromkeys(range(50), 0)
        inside: list[Place] = []
        for turn in range(5_000):  # client 0 sends as much as all others together
            client = turn % 50 if turn % 2 else 0
            with suppress(Refused):
                inside.append(queue.enter(str(client)))
            if turn % 3 == 0:  # slower than questions come
                first = next(place for place in inside if place.began is not None)
                served[int(first.client)] += 1
                first.leave()
                inside.remove(first)
        others = [count for client, count in served.items() if client % 2]
        assert min(others) > 0.8 * max(others)

    asyncio.run(run())


def test_a_full_queue_takes_from_whoever_has_most_and_says_when_to_come_back() -> None:
    async def run() -> None:
        queue = Queue(1, 3)
        hog = [queue.enter("hog") for _ in range(4)]
        guest = queue.enter("guest")
        with pytest.raises(Refused) as caught:
            await hog[3].turn()
        assert (caught.value.status, caught.value.code) == (429, "queue_full")
        hog[3].leave()  # as its task does
        assert queue.inside == 4
        waits = set()
        for _ in range(30):
            with pytest.raises(Refused) as caught:
                queue.enter("hog")
            assert caught.value.retry_after is not None
            waits.add(caught.value.retry_after)
        assert len(waits) > 1  # jitter
        assert min(waits) >= 1
        assert max(waits) <= 120
        guest.leave()
        assert served_order(queue, hog[:3]) == [0, 1, 2]

    asyncio.run(run())


def test_questions_of_one_sample_take_an_eighth_of_a_place_and_overtake_nobody() -> None:
    async def run() -> None:
        queue = Queue(2, 2)
        greedy = [queue.enter(f"g{number}", 1 / 8) for number in range(9)]
        assert queue.running == 9
        whole = queue.enter("whole")
        late = queue.enter("late", 1 / 8)  # there is room for it, but it is not its turn
        assert (queue.running, queue.waiting) == (9, 2)
        with pytest.raises(Refused):
            queue.enter("later", 1 / 8)
        greedy[0].leave()
        await asyncio.gather(whole.turn(), late.turn() if queue.waiting == 0 else asyncio.sleep(0))
        for place in (*greedy, whole, late):
            place.leave()
        assert (queue.running, queue.waiting, queue._weight) == (0, 0, 0)

    asyncio.run(run())


def test_a_place_that_is_left_before_its_turn_is_free_again() -> None:
    async def run() -> None:
        queue = Queue(1, 1)
        first, second = queue.enter("a"), queue.enter("b")
        second.leave()
        second.leave()
        third = queue.enter("c")
        first.leave()
        await third.turn()
        assert (queue.running, queue.waiting) == (1, 0)

    asyncio.run(run())


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_several_keys_are_hashed_and_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\nann {digest('key-of-ann')}\nben\t{digest('key-of-ben')}\n")
    keys = Keys.read(path) | Keys.of("third")
    named = [keys.name_of(key) for key in (b"key-of-ann", b"key-of-ben", b"third", b"other", b"")]
    assert named == ["ann", "ben", "default", None, None]
    served = Served(ScriptedEngine(["7"]), SolverConfig(), keys)
    try:
        with caplog.at_level(logging.INFO, logger="mathloop.serving"):
            for key, status in (("key-of-ben", 200), ("key-of-bem", 401), (digest("key-of-ben"), 401)):
                reply = served.client.post(
                    "/v1/chat/completions",
                    json={"messages": [{"role": "user", "content": "3+4?"}]},
                    headers={"Authorization": f"Bearer {key}"},
                )
                assert reply.status_code == status
    finally:
        served.close()
    assert '"key": "ben"' in caplog.text
    assert "key-of" not in caplog.text


@pytest.mark.parametrize(
    "text", ["", "ann key-of-ann", f"{digest('a')}", f"ann {digest('a')}\nann {digest('b')}", "ann \udcff"]
)
def test_what_is_no_file_of_keys_is_one_line_that_shows_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadConfig, match="--keys") as caught:
        Keys.read(path)
    assert "key-of-ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "own", "cores"),
    [
        ({}, "0::/\n", 8),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 8),
        ({"cpu.max": "250000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "50000 100000\n"}, "0::/\n", 1),
        ({"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "max 100000\n"}, "0::/pod/box\n", 3),
        (
            {"cpu/pod/cpu.cfs_quota_us": "400000", "cpu/pod/cpu.cfs_period_us": "100000"},
            "3:cpu,cpuacct:/pod\n",
            4,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu:/\n2:memory:/\n", 8),
    ],
)
def test_threads_are_for_the_cores_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], own: str, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert usable_cores(tmp_path, tmp_path / "own") == cores


def test_a_name_or_a_key_in_the_file_and_in_the_environment_is_refused() -> None:
    named = Keys.of("a file's key", "default")
    with pytest.raises(BadConfig, match=r"the name default is in two places .*MATHLOOP_API_KEY"):
        named | Keys.of("another")
    with pytest.raises(BadConfig, match="the key of the name default is in two places"):
        Keys.of("one", "ann") | Keys.of("one")
