"""A writer behind a URL, played by a stand-in server: faults are retried, and no text is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from mathloop.errors import UserError
from mathloop.problems.nano import generate
from mathloop.records import read_problems, write_problems
from mathloop.serving import endpoint as client
from mathloop.stages import StageReport
from mathloop.writing import write
from mathloop.writing.config import WritingConfig
from tests.unit.writing.standins import Fault, StandInEndpoint
from tests.unit.writing.test_writing_stage import renumbered

HALF = b'{"choices": [{"message": {"content": "Tom has 5 ap'
OPEN = b'{"choices": [{"message": {"content": "Tom has 5 ap"}, "finish_reason": null}]}'
FAULTS: list[Fault] = [
    (429, {"Retry-After": "0.02"}, b"{}"),
    (500, {}, b'{"error": {"message": "out of memory"}}'),
    (503, {}, b"{}"),
    (504, {}, b""),
    (200, {}, HALF),
    (200, {}, OPEN),
    (200, {}, HALF + "…".encode()),
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.0001)


def run(folder: Path, url: str, **config: object) -> StageReport:
    parents = folder / "parents.parquet"
    if not parents.exists():
        write_problems(parents, (nano.problem for nano in generate("train", 30, 3)))
    given = {"templates": ["change_numbers"], "count": 30, "endpoint": url, "tries": 8, **config}
    return write.run(
        problems=parents,
        policy=None,
        out=folder / "out.parquet",
        work=folder / "work",
        config=WritingConfig.model_validate(given),
        seed=0,
    )


def test_every_fault_is_retried_and_every_prompt_answered_once(tmp_path: Path) -> None:
    with StandInEndpoint(renumbered, lambda _number, _prompt: None) as smooth:
        run(tmp_path / "smooth", smooth.url, count=10)
    # Each prompt meets all faults, one after another.
    faulty = StandInEndpoint(
        renumbered, lambda number, _prompt: FAULTS[number] if number < len(FAULTS) else None
    )
    with faulty:
        report = run(tmp_path / "faulty", faulty.url, count=10)
    assert set(faulty.answered.values()) == {1}
    assert set(faulty.requests.values()) == {len(FAULTS) + 1}
    assert report.generated == 10 == len(faulty.answered)
    assert list(read_problems(tmp_path / "faulty/out.parquet")) == list(
        read_problems(tmp_path / "smooth/out.parquet")
    )


def test_a_stage_that_gave_up_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    down = [False]
    limit = 12

    def faults(number: int, prompt: str) -> Fault:
        down[0] = down[0] or endpoint.answered.total() >= limit
        return (503, {}, b'{"error": {"message": "maintenance"}}') if down[0] else None

    with StandInEndpoint(renumbered, faults) as endpoint:
        with pytest.raises(
            UserError, match="answers 503 to /v1/chat/completions: maintenance, after 2 tries"
        ) as error:
            run(tmp_path, endpoint.url, tries=2, parallel=3)
        assert error.value.exit_code == 2
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out.parquet").exists()
        down[0], limit = False, 10_000
        report = run(tmp_path, endpoint.url, tries=2, parallel=3)
    assert set(endpoint.answered.values()) == {1}
    assert report.generated == 30
    assert report.values["texts from the cache"] >= 12


def test_a_slow_answer_is_asked_for_again(tmp_path: Path) -> None:
    import threading

    waiting = threading.Event()

    def faults(number: int, prompt: str) -> Fault:
        if not number and "factory" in prompt:
            waiting.wait(5)
        return None

    with StandInEndpoint(renumbered, faults) as endpoint:
        report = run(tmp_path, endpoint.url, request_seconds=0.2)
        waiting.set()
    assert report.generated == 30
    assert max(endpoint.requests.values()) > 1


def test_a_refused_prompt_is_dropped_and_a_named_model_is_asked_for(tmp_path: Path) -> None:
    refusal = (400, {}, b'{"error": {"message": "too long"}}')
    with StandInEndpoint(renumbered, lambda _, prompt: refusal if "box" in prompt else None) as endpoint:
        report = run(tmp_path, endpoint.url, endpoint_model="large")
    assert report.dropped["the writer refused the prompt"] > 0
    assert report.kept > 10
    assert set(endpoint.models) == {"large"}


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_endpoint_is_one_line(tmp_path: Path, status: int) -> None:
    with (
        StandInEndpoint(renumbered, lambda _number, _prompt: (status, {}, b"{}")) as endpoint,
        pytest.raises(UserError, match=f"answers {status}"),
    ):
        run(tmp_path, endpoint.url)
    with pytest.raises(UserError, match=r"cannot be reached.*correct writing\.endpoint"):
        run(tmp_path, "http://127.0.0.1:9", tries=1)
