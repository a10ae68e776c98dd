"""Formulas, numbers and prose within a text."""

from __future__ import annotations

import re
from functools import lru_cache

_INLINE = r"\\\([^\n]{1,3000}?\\\)|(?<!\\)\$(?:[^$\\\n]|\\.){1,3000}(?<!\\)\$"

FORMULA = re.compile(r"\$\$.{1,3000}?\$\$|\\\[.{1,3000}?\\\]|" + _INLINE, re.DOTALL)

BROKEN_FORMULA = re.compile(r"(?<![\\$])\$[ \t]*\n|\\\([ \t]*\n")

"""As in Markdown, inline math does not span lines, so no answer follows such an opening."""

_DOLLAR = re.compile(r"(?<!\\)\$")


def has_broken_formula(text: str) -> bool:
    """Whether a line ends with the opening of a formula; the closing dollar of one is none."""
    for match in BROKEN_FORMULA.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if match.group()[0] == "\\" or len(_DOLLAR.findall(line)) % 2 == 0:
            return True
    return False


_TYPESET = re.compile(
    r"\\(?:text\w*|mbox|mathrm|mathbf|operatorname|begin|end)\s*\{[^{}]*\}(?:\{[lcr|]{1,8}\})?|\\[a-zA-Z]+"
)

PROSE = re.compile(
    r"(?<![\\a-zA-Z])(?!(?:sqrt|sin|cos|tan|log|ln|exp)(?![a-zA-Z])|(?:and|or|pi|am|pm|cm|km|mm|kg|ml)\b)"
    r"[a-zA-Z]{2,}(?![a-zA-Z({])|[\u4e00-\u9fff]{3,}"
)

NUMBER = re.compile(
    r"(?<![\w.])(?:\d+\s?\*?\s?)?sqrt\s?\([^()\n]{1,60}\)(?:\s?/\s?\d+)?"
    r"|(?<![\w.])\d{1,2}:\d{2}(?!\d)(?:\s?[ap]\.?m\b\.?)?"
    r"|(?<![a-zA-Z\d_.])[-+−]?[$€¥£₹]?(?:\d{1,3}(?:[,，]\d{3})+(?!\d)"
    r"|\d+)?(?:[.,]?\d+)(?:\s?/\s?\d+)?(?:\s*[%％])?(?![a-zA-Z]*\d)",
    re.IGNORECASE,
)


LONGEST_CACHED = 2000


def masked(text: str) -> str:
    """The text with its formulas and commands as zeros of the same length."""
    return _cached(text) if len(text) <= LONGEST_CACHED else _masked(text)


def _masked(text: str) -> str:
    text = FORMULA.sub(lambda match: "0" * len(match.group()) if _is_formula(match) else match.group(), text)
    return _TYPESET.sub(lambda match: "0" * len(match.group()), text)


_cached = lru_cache(maxsize=256)(_masked)


def formulas(text: str) -> list[re.Match[str]]:
    """The formulas of a text, without "$5 and paid $" between two amounts of money."""
    return [match for match in FORMULA.finditer(text) if _is_formula(match)]


def _is_formula(match: re.Match[str]) -> bool:
    text = match.group()
    return not text[:1] == "$" != text[1:2] or PROSE.search(_TYPESET.sub("0", text)) is None


_ENDS_OPEN = re.compile(
    r"(?:\b(?:the|an?|of|that|is|are|was|and|or|to|in|with|by|from|for|which|because|since|then|so|but"
    r"|if|we|he|she|it|as|at|on"
    r"|let|have|has|equals|gives|these|this|their|his|her|into|than|when|where|means|therefore|thus|hence)"
    r"|[=+*/×÷<>,:(^\\_&-]|\\(?:times|cdot|div|pm|leq?|geq?)\s?\$?"
    r"|(?<![没只所具])有|等于|得到|(?<![获])得|[，,、](?:则|而|但|即|那么|所以|因此|因为|如果|再|故)|所以|因此|因为|那么|接下来\w{0,6})\s*$",
    re.IGNORECASE,
)


"""Ends of a text that was cut off in the middle of a sentence."""


def is_cut_off(text: str) -> bool:
    """Whether a text ends in the middle of a sentence."""
    text = text[-60:].rstrip().removesuffix("**")
    return _ENDS_OPEN.search(text) is not None
