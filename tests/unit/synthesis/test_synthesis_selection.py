"""Which responses SFT learns from, and which problems GRPO gets, on cases done by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.records import Problem, Response, read_problems, write_problems
from mathloop.sampling.judging import judge
from mathloop.synthesis import selection
from mathloop.synthesis.config import SelectionConfig
from mathloop.synthesis.cot import select

GOLD, OPEN = Problem("p", "3 + 4?", answer="7"), Problem("p", "3 + 4?")


def response(text: str, answer: str | None = "7", **given: Any) -> Response:
    return Response("p", 0, "cot", text, answer, **given)


def chosen(
    problem: Problem,
    responses: list[Response],
    *,
    keep: int = 8,
    agreement: float = 0.5,
    weighted: bool = False,
) -> tuple[list[str], dict[str, int]]:
    """The texts kept, and the counts of the others by reason."""
    dropped: Counter[str] = Counter()
    numbered = [replace(judge(problem.answer, r), sample=i) for i, r in enumerate(responses)]
    kept = select(problem, numbered, dropped, keep=keep, agreement=agreement, weighted=weighted)
    assert all(r.correct for r in kept)
    return [r.text for r in kept], {reason: count for reason, count in dropped.items() if count}


def test_the_right_ones_stay_in_order() -> None:
    given = [response("a"), response("b", "8"), response("c", "7.0"), response("d", None), response("e")]
    assert chosen(GOLD, given) == (["a", "c", "e"], {"wrong answer": 2})
    assert chosen(GOLD, given[1:2]) == ([], {"wrong answer": 1})
    assert chosen(GOLD, []) == ([], {})


def test_without_gold_the_vote_decides() -> None:
    given = [response("a", "8"), response("b"), response("c", "14/2"), response("d", None)]
    kept, dropped = chosen(OPEN, given, agreement=0.66)  # two of three that answered
    assert kept == ["b", "c"]
    assert dropped == {"not the answer that won the vote": 2}
    assert chosen(OPEN, given, agreement=0.67) == ([], {"no answer won the vote": 4})
    assert chosen(OPEN, given[:2], agreement=0.5)[0] == ["a"]  # the least share is enough
    assert chosen(OPEN, given[3:], agreement=0.0) == ([], {"no answer won the vote": 1})


def test_without_gold_rewards_weigh_the_votes() -> None:
    given = [response("a", "8", reward=-3.0), response("b", "8", reward=-3.0), response("c", reward=3.0)]
    assert chosen(OPEN, given, weighted=True)[0] == ["c"]
    assert chosen(OPEN, given)[0] == ["a", "b"]


def test_a_text_stays_once() -> None:
    given = [response("a"), response("b"), response("a"), response("a"), response("b")]
    assert chosen(GOLD, given) == (["a", "b"], {"repeated text": 3})
    assert chosen(GOLD, given, keep=1) == (["a"], {"repeated text": 3, "past the k best": 1})


@pytest.mark.parametrize("finish_reason", ["length", "tool_limit"])
def test_a_cut_off_response_is_not_learned(finish_reason: Any) -> None:
    given = [response("a", finish_reason=finish_reason), response("a"), response("b", "9")]
    assert chosen(GOLD, given) == (["a"], {"cut off": 1, "wrong answer": 1})
    voters = [response("a", finish_reason=finish_reason), response("b"), response("c", "9")]
    assert chosen(OPEN, voters)[0] == ["b"]  # it still has a vote


def test_the_best_by_reward_stay() -> None:
    rewards = {"a": 0.1, "b": -2.0, "c": 3.0, "d": 0.2, "e": -0.5}
    given = [response(text, reward=reward) for text, reward in rewards.items()]
    given.append(response("wrong", "8", reward=9.0))
    assert chosen(GOLD, given, keep=3, weighted=True) == (
        ["c", "d", "a"],
        {"wrong answer": 1, "past the k best": 2},
    )
    assert chosen(GOLD, given, keep=3)[0] == ["a", "b", "c"]


@given(
    st.lists(
        st.builds(
            response,
            st.sampled_from("abcd"),
            st.sampled_from(["7", "8", "7.0", None]),
            reward=st.floats(-9, 9),
            finish_reason=st.sampled_from(["stop", "stop", "length"]),
        ),
        max_size=12,
    ),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([GOLD, OPEN]),
)
def test_each_response_is_kept_or_counted_once(
    responses: list[Response], keep: int, weighted: bool, problem: Problem
) -> None:
    kept, dropped = chosen(problem, responses, keep=keep, weighted=weighted)
    assert len(kept) + sum(dropped.values()) == len(responses)
    assert len(set(kept)) == len(kept) <= keep


def test_problems_with_two_to_five_of_eight_right_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [Problem(f"p{right}", f"problem {right}", answer="7") for right in range(9)]

    def draw(policy: Path, given: list[Problem], **_: Any) -> Iterator[tuple[Problem, list[Response]]]:
        for problem in given:
            right = int(problem.id[1:])
            yield problem, [response("", correct=index < right) for index in range(8)]

    monkeypatch.setattr(selection, "draw", draw)
    write_problems(tmp_path / "given.jsonl", [*problems, Problem("open", "no answer is known")])
    report = selection.run(
        problems=tmp_path / "given.jsonl",
        policy=tmp_path,
        out=tmp_path / "kept.jsonl",
        config=SelectionConfig(),
        seed=0,
    )
    assert [p.id for p in read_problems(tmp_path / "kept.jsonl")] == ["p2", "p3", "p4", "p5"]
    assert report.dropped == {
        "no gold answer": 1,
        "fewer than 2 of 8 right": 2,
        "more than 5 of 8 right": 3,
    }
    assert (report.taken, report.kept, report.made) == (10, 4, 72)
    assert list(report.curves.values()) == [[(right, 1) for right in range(9)]]
