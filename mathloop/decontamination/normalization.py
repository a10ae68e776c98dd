"""Reduces a text to the tokens that two spellings of one problem share."""

from __future__ import annotations

import re
import unicodedata

_FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "ln",
        "lg",
        "exp",
        "lim",
        "max",
        "min",
        "gcd",
        "lcm",
        "det",
        "mod",
    ]
)
_GREEK = {
    chr(code): name.removeprefix("GREEK SMALL LETTER ").lower()
    for code in range(0x3B1, 0x3CA)
    if len((name := unicodedata.name(chr(code))).split()) == 4
} | {"λ": "lambda"}
_COMMAND = re.compile(r"\\([a-z]+)")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|,\\!)(?=\d{3}(?!\d))")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])['’ʼ](?=[^\W\d_])")
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"\d+(?:\.\d+)?|[{_IDEOGRAPH}]|[^\W\d_{_IDEOGRAPH}]+")


def tokens(text: str) -> tuple[str, ...]:
    """The words, numbers and ideographs of `text`, in order.

    NFKC and lowercase first; punctuation, symbols and LaTeX commands go, names of functions and Greek letters
    stay. Words and numbers are whole tokens (1,000 is 1000, 2x is 2 and x); Chinese is one token a character.
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    plain = _THOUSANDS.sub("", plain)
    plain = _COMMAND.sub(_command, plain)
    plain = _APOSTROPHE.sub("", plain)
    plain = "".join(f" {_GREEK[c]} " if c in _GREEK else c for c in plain)
    return tuple(_TOKEN.findall(plain))


def _command(found: re.Match[str]) -> str:
    name = found[1]
    name = name.removeprefix("var") if name.startswith("var") else name
    return f" {name} " if name in _FUNCTIONS or name in _GREEK.values() else " "
