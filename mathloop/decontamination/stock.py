"""Stock sentences: "Find x.", "Solve the equation.", "Which of the following is true?".

They occur in many problems. An item that is nothing else matches only a text that is nothing else either. How
a choice is to be made ("选出所有你认为正确的选项。") is no part of a problem either.
"""

from __future__ import annotations

import re

from mathloop.decontamination.normalization import GREEK, tokens
from mathloop.decontamination.words import STOP, STOP_CHARACTERS

_STOCK = """
    all altogether area below best calculate choice choices choose complete correct correctly derivative
    difference equation equations evaluate expand explain expression factor false function incorrect
    inequality integral justify left limit option options perimeter product prove right root roots select
    simplify solution solutions solve statement statements sum system total true unknown variable volume wrong
"""
_WORDS = STOP | frozenset(_STOCK.split())
_CHINESE = STOP_CHARACTERS | frozenset(
    "求解方程组式计算化简证明下列说法正确错误不选择题填空判断答案结果值面积周长"
)
_VARIABLE = re.compile(rf"[a-z]|{'|'.join(GREEK.values())}")
_FORMULA = re.compile(r"[\\+=<>^≤≥√*/×÷]")
_CHOOSING = re.compile("选择题|填空题|选出|的选项|符合题目要求")
_SENTENCE, _MATH = re.compile(r"[^。！？!?\n]*[。！？!?\n]?"), re.compile(r"[\d$]")
_MOST_LETTERS = 2
"""Variables of a stock sentence; more are a formula."""


def is_stock(text: str) -> bool:
    """Whether a text consists of words of many problems, without a number or a formula."""
    if _FORMULA.search(text):
        return False
    found = tokens(text)
    letters = sum(_VARIABLE.fullmatch(token) is not None for token in found)
    known = all(token in _WORDS or token in _CHINESE or _VARIABLE.fullmatch(token) for token in found)
    return bool(found) and letters <= _MOST_LETTERS and known


def without_instructions(text: str) -> str:
    """The text without sentences, free of numbers and formulas, that say how a choice is to be made."""
    if text.isascii() or _CHOOSING.search(text) is None:
        return text
    sentences = _SENTENCE.findall(text)
    return "".join(each for each in sentences if _MATH.search(each) or not _CHOOSING.search(each))
