"""Reads plain numbers exactly, without floats or sympy."""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST_NUMBER = 400
"""Characters; Python itself refuses to read integers of more than 4,300 digits."""

_PLAIN = re.compile(r"[-+]?\d+(?:\.\d+)?")
_DECIMAL = re.compile(r"([-+]?)(\d*)(?:\.(\d*))?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?|[-+]?\d{1,3}(?: \d{3})+(?:\.\d*)?")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:(?:\.\d{3}){2,}|(?:_\d{3})+)")
"""1.234.567 of Europe and 1_234_567 of Python; 1.234 is a decimal."""
_SCIENTIFIC = re.compile(
    r"([-+]?\d+(?:\.\d*)?)(?:[eE]|\s*(?:\*|×|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*)\{?([-+]?\d{1,4})\}?"
)
_FRACTION = re.compile(r"([-+]?\d+)\s*/\s*([-+]?\d+)")
_MIXED = re.compile(r"([-+]?)(\d+)\s+(\d+)\s*/\s*(\d+)")


def read_number(text: str) -> Fraction | None:
    """The value of a plain number (integer, decimal, thousands, fraction, mixed, scientific), else None."""
    if len(text) > LONGEST_NUMBER:
        return None
    if _PLAIN.fullmatch(text):
        return Fraction(text)
    if (match := _DECIMAL.fullmatch(text)) and (match.group(2) or match.group(3)):
        return Fraction(f"{match.group(1)}{match.group(2) or 0}.{match.group(3) or 0}")
    if _THOUSANDS.fullmatch(text) and not text.lstrip("-+").startswith("0"):
        return read_number(text.replace(",", "").replace(" ", ""))
    if (text.count(".") > 1 or "_" in text) and _GROUPED.fullmatch(text):
        return Fraction(text.replace(".", "").replace("_", ""))
    if match := _MIXED.fullmatch(text):
        sign, whole, top, bottom = match.groups()
        if int(bottom) == 0 or int(top) >= int(bottom):
            return None
        value = int(whole) + Fraction(int(top), int(bottom))
        return -value if sign == "-" else value
    if match := _FRACTION.fullmatch(text):
        return Fraction(int(match.group(1)), int(match.group(2))) if int(match.group(2)) else None
    if match := _SCIENTIFIC.fullmatch(text):
        mantissa = read_number(match.group(1))
        return None if mantissa is None else mantissa * Fraction(10) ** int(match.group(2))
    return None
