"""Verdicts on responses: nothing else of a response changes."""

from __future__ import annotations

from dataclasses import replace

from mathloop.records import Response
from mathloop.sampling.judging import judge

RESPONSE = Response("p", 3, "tir", "It is 4.", "4", None, "", -1.5, "length", 9, 2, 0.7, "sft")


def test_a_verdict_changes_only_itself() -> None:
    right, wrong = judge("4.0", RESPONSE), judge("5", RESPONSE)
    assert (right.correct, wrong.correct) == (True, False)
    for verdict in (right, wrong):
        assert replace(verdict, correct=None, reason="") == RESPONSE
    silent = replace(RESPONSE, answer=None)
    assert judge("4", silent) == replace(silent, correct=False, reason="no final answer")


def test_without_a_gold_answer_there_is_no_verdict() -> None:
    assert judge(None, RESPONSE) is RESPONSE


def test_later_samples_are_numbered_on() -> None:
    assert judge(None, RESPONSE, later=8) == replace(RESPONSE, sample=11)
    assert judge("5", RESPONSE, later=8).sample == 11
