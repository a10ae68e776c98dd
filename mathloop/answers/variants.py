"""Variants of one answer: solutions of systems as points, one name for an integer, conditions in brackets."""

from __future__ import annotations

import re

_OR = re.compile(r"\s*,?\s*(?:\\text\s*\{\s*or\s*\}|\bor\b|或者?)\s*")
_AND = re.compile(r"\s*(?:,|\\text\s*\{\s*and\s*\}|\band\b|\\q?quad|且)\s*")
_ASSIGNED = re.compile(r"([a-z])\s*=\s*([^=<>,;±]{1,100})")
_INTEGER = re.compile(r"(?<![a-zA-Z\\])([lmnt])\s*\\in\s*(?:\\math(?:bb|bf|rm)\s*\{?\s*)?Z(?![a-zA-Z])")
_PARAMETER = re.compile(r"(?<![a-zA-Z\\])k(?![a-zA-Z])")
_BAR = r"(?:\\mid|\\vert|\||:)"
_FAMILY = re.compile(
    rf"\\\{{\s*(?:x\s*{_BAR}\s*x\s*=\s*)?([^=<>,;|:{{}}]{{1,100}}?)\s*(?:{_BAR}|,)"
    r"\s*([klmnt]\s*\\in\s*(?:\\math(?:bb|bf|rm)\s*\{?\s*)?Z\s*\}?)\s*\\\}"
)
"""{2kπ : k ∈ Z} and {x | x = 2kπ, k ∈ Z}."""
_BOUND = r"(?:<|>|\\(?:[lg]eq?(?:slant)?|neq?|[lg]t)(?![a-z]))"
_CONDITION = re.compile(
    rf"\A(.*[\w}}])\s*\(\s*((?:-?\d[\d.]*\s*{_BOUND}\s*)?[a-z]\s*{_BOUND}\s*-?[\d.\\a-z{{}}]{{1,30}})\s*\)"
)
"""y = 2x + 1 (x > 0)."""
_REALS = re.compile(
    r"(^|\\in\s*)\\math(?:bb|bf)\s*\{?\s*R\s*\}?\s*(?:(\^\s*\{?\s*\+\s*\}?|_\s*\{\s*>\s*0\s*\})|\^\s*\{?\s*-\s*\}?)\s*$"
)
_DESCRIBED = re.compile(
    r"^(?:\\text\s*\{\s*)?the\s+(?:line|circle|ellipse|parabola|hyperbola|plane|curve|equation)\s*\}?\s*(?=[^=a-z]*[a-z][^=]*=)",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\\text(?:bf|it|rm)?\s*\{([^{}\\]*(?:,|\b(?:and|or)\b)[^{}\\]*)\}")


def usual(text: str) -> str:
    """A normalized answer in the form that the rest of the reading expects."""
    if text.startswith("\\text") and (listed := _LISTED.fullmatch(text)):
        text = listed[1].strip()
    if "=" in text:
        if "or" in text or "或" in text:
            text = _as_points(text)
        if text.endswith(")"):
            text = _CONDITION.sub(r"\1, \2", text)
        if "the " in text:
            text = _DESCRIBED.sub("", text)
    if "\\in" in text and "Z" in text:
        text = _FAMILY.sub(r"\1, \2", text)
        letters = {match[1] for match in _INTEGER.finditer(text)}
        if len(letters) == 1 and not _PARAMETER.search(text):
            text = re.sub(rf"(?<![a-zA-Z\\]){letters.pop()}(?![a-zA-Z])", "k", text)
    if "R" in text and "\\math" in text:
        text = _REALS.sub(
            lambda found: rf"{found[1]}{'(0,' if found[2] else '(-'}\infty{')' if found[2] else ',0)'}", text
        )
    return text


def _as_points(text: str) -> str:
    """x = 1, y = 2 or x = 2, y = 1 as (1, 2), (2, 1); any other text as it is."""
    parts = _OR.split(text)
    if len(parts) < 2:
        return text
    points: list[dict[str, str]] = []
    for part in parts:
        found = [_ASSIGNED.fullmatch(piece.strip()) for piece in _AND.split(part.strip(" ()"))]
        values = {match[1]: match[2] for match in found if match}
        if None in found or len(values) < max(2, len(found)) or "\\pm" in part:
            return text
        points.append(values)
    names = sorted(points[0])
    if any(sorted(point) != names for point in points):
        return text
    if ord(names[-1]) - ord(names[0]) != len(names) - 1:
        names = list(points[0])  # x and p have no natural order
    return ", ".join(f"({', '.join(point[name] for name in names)})" for point in points)
