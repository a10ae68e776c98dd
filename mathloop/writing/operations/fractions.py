"""MuggleMath's second operation: introduce fractions or percentages."""

import re
from collections.abc import Sequence

from mathloop.records import Problem
from mathloop.writing.operations.operation import Operation

_PART = re.compile(
    r"\\[dt]?frac|\d\s*/\s*\d|\d\.\d|\d\s*(?:\\?%|％|percent)|百分之|[一二三四五六七八九十\d]+分之|半|折"
    r"|\b(?:half|halves|thirds?|quarters?|(?:four|fif|six|seven|eigh|nin|ten)ths?)\b",
    re.IGNORECASE,
)


def check(parents: Sequence[Problem], statement: str) -> str:
    """More fractions, decimals or percentages than its parent has."""
    if len(_PART.findall(statement)) <= len(_PART.findall(parents[0].problem)):
        return "no fraction or percentage was added"
    return ""


OPERATION = Operation("fractions", "fractions or percentages in place of whole numbers", check=check)
