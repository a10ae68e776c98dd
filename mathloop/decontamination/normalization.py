"""Reduces a text to the tokens that two spellings of one problem share.

The text is normalized to NFKC and lower case, without invisible characters and with Latin letters for those
that only look so. Apostrophes inside words and thousands separators are removed; punctuation, symbols and
LaTeX commands separate tokens; names of functions and Greek letters stay, in any notation. The tokens are
words, numbers (1,000 is 1000; 2x is 2 and x; 3.14 is one) and ideographs, one token per character. `tokens`
handles one text; `tokenization` a batch, as hashes, with the same result.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from mathloop.decontamination.look_alikes import looks_strange, unmasked, visible

_FUNCTIONS = "sin cos tan cot sec csc log ln lg exp lim max min gcd lcm det mod"
FUNCTIONS = _FUNCTIONS.split()
GREEK = {
    chr(code): name.removeprefix("GREEK SMALL LETTER ").lower()
    for code in range(0x3B1, 0x3CA)
    if len((name := unicodedata.name(chr(code))).split()) == 4
} | {"λ": "lambda", "ς": "sigma"}
KEPT_COMMANDS = {name: name for name in (*FUNCTIONS, *GREEK.values())}
KEPT_COMMANDS |= {f"var{name}": name for name in GREEK.values()}
"""LaTeX commands that are kept as words → the token that each becomes."""
APOSTROPHES = "’ʼ"
"""Replaced by the ASCII apostrophe."""
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"[^\W\d_{IDEOGRAPHS}{''.join(GREEK)}\U00010000-\U0010ffff]"
_FRACTION = re.compile(r"(\\(?:[dtc]?frac|[dt]?binom))\s*(\d)(\d)")
_DRAWING = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|,\\!)(?=\d{3}(?!\d))")
IN_TUPLES = ",.+-− "
"""Characters besides digits in a tuple or interval, whose commas separate no thousands."""
REACH = 64
"""Characters before and after a comma in which its brackets are looked for."""
_APOSTROPHE = re.compile(rf"(?<={_LETTER})'(?={_LETTER})")
_TOKEN = re.compile(rf"(\\?)(\d+(?:\.\d+)*|[{IDEOGRAPHS}]|[{''.join(GREEK)}]|{_LETTER}+)")


class Span(NamedTuple):
    """A token and its position in the normalized text."""

    token: str
    start: int
    end: int


def normalize(text: str) -> str:
    """NFKC and lower case, with one kind of apostrophe; \\frac12 becomes \\frac 1 2, drawings are removed."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        for apostrophe in APOSTROPHES:
            text = text.replace(apostrophe, "'")
        if not text.isascii() and looks_strange(text):
            # Without what is between them, a letter and its accent are one.
            text = unmasked(unicodedata.normalize("NFKC", visible(text)))
    if "[asy]" in text:
        text = _DRAWING.sub(" ", text)
    if "\\" in text:
        text = _FRACTION.sub(r"\1 \2 \3 ", text)
    return text.lower()


def is_plain(text: str) -> bool:
    """Whether `normalize` only changes its case."""
    return text.isascii() and "\\" not in text and ("[" not in text or "[asy]" not in text)


def compact(normal: str) -> str:
    """A normalized text without apostrophes inside words and without thousands separators."""
    plain = _THOUSANDS.sub(_separator, normal) if "," in normal else normal
    return _APOSTROPHE.sub("", plain) if "'" in plain else plain


def _separator(comma: re.Match[str]) -> str:
    return "," if comma[0] == "," and _in_tuple(comma.string, comma.start()) else ""


def _in_tuple(text: str, comma: int) -> bool:
    """Whether brackets around a comma enclose numbers only: [-500,500] and (5,100), unlike (1,000 people)."""
    start = comma - 1
    while start >= max(0, comma - REACH) and (text[start].isdecimal() or text[start] in IN_TUPLES):
        start -= 1
    end = comma + 1
    while end < min(len(text), comma + REACH) and (text[end].isdecimal() or text[end] in IN_TUPLES):
        end += 1
    opened = start >= 0 and (text[start] in "([" or text[max(0, start - 1) : start + 1] == "\\{")
    return opened and (text[end : end + 1] in (")", "]") or text[end : end + 2] in ("\\r", "\\}"))


def spans(plain: str) -> list[Span]:
    """The tokens of a compacted text with their positions."""
    found = []
    for match in _TOKEN.finditer(plain):
        backslash, token = match.groups()
        if backslash and token.isalpha() and token not in GREEK and not _is_ideograph(token):
            if (kept := KEPT_COMMANDS.get(token)) is None:
                continue
            token = kept
        found.append(Span(GREEK.get(token, token), match.start(2), match.end(2)))
    return found


def tokens(text: str) -> tuple[str, ...]:
    """The words, numbers and ideographs of `text`, in order."""
    return tuple(span.token for span in spans(compact(normalize(text))))


def _is_ideograph(token: str) -> bool:
    return len(token) == 1 and re.fullmatch(f"[{IDEOGRAPHS}]", token) is not None
