"""Every pair of `pairs.jsonl` gets the verdict that stands there, whichever of the two is gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mathloop.answers import verify

PAIRS = [json.loads(line) for line in Path(__file__).with_name("pairs.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair['kind']}:{pair['gold']}|{pair['pred']}"[:60])
def test_pair(pair: dict[str, Any]) -> None:
    for gold, prediction in ((pair["gold"], pair["pred"]), (pair["pred"], pair["gold"])):
        verdict = verify(gold, prediction)
        assert verdict.correct == pair["equal"], verdict
        assert verdict.reason
        assert verdict.rule


def test_both_verdicts_and_both_languages_are_there() -> None:
    chinese = [pair for pair in PAIRS if not (pair["gold"] + pair["pred"]).isascii()]
    for pairs in (PAIRS, chinese):
        assert {pair["equal"] for pair in pairs} == {True, False}
