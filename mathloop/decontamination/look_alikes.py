"""Characters that hide a copy: invisible ones, and Cyrillic and Greek letters that look like Latin ones.

NFKC already maps full-width and mathematical letters. Cyrillic letters are always replaced; Greek ones, which
are also variables, only in a text that has them in a word with Latin letters, αpple but not sinα, or has a
capital that no variable is, since it is written as the Latin one: Α, not Ω.
"""

from __future__ import annotations

import re

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    "\U000e0100-\U000e01ef]+"
)
"""The Unicode category Cf, fillers and variation selectors."""
_ALWAYS = """
    аa вb еe кk мm нh оo рp сc тt уy хx іi јj ѕs һh ԁd ԛq ԝw ѵv ӏl АA ВB ЕE КK МM НH ОO РP СC ТT УY ХX ІI ЈJ
    ЅS ҺH ԀD ԚQ ԜW ѴV ӀL οo ΟO ιi ΙI ɑa ɡg ıi օo սu հh ոn ՕO
"""
_GREEK = """
    οo αa βb γy εe ηn ιi κk νv ρp σo τt υu χx ωw ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX
"""


def _table(pairs: str) -> dict[int, str]:
    return {ord(pair[0]): pair[1] for pair in pairs.split()}


_LETTERS, _GREEK_LETTERS = _table(_ALWAYS), _table(_GREEK)
LATIN = _LETTERS | _GREEK_LETTERS
"""For `str.translate`: Latin letters for all that look like them."""
_MASKED = re.compile(f"[{''.join(map(chr, _LETTERS))}]")
_MASKED_GREEK = re.compile(f"[{''.join(map(chr, _GREEK_LETTERS))}]")
_WORD = re.compile(rf"(?<![A-Za-z])[A-Za-z]*{_MASKED_GREEK.pattern}[A-Za-z{_MASKED_GREEK.pattern[1:]}*")
_STRANGE = re.compile(f"{_INVISIBLE.pattern[:-2]}{''.join(map(chr, LATIN))}]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_LATIN = re.compile(r"[A-Za-z]+")
_FUNCTIONS = "sin cos tan cot sec csc log ln lg exp lim arcsin arccos arctan sinh cosh tanh"
_NAMES = frozenset(_FUNCTIONS.split())
"""They may stand right before a Greek variable."""
_LONG = 7
"""Letters of a word in turns Latin and Greek that is no product of variables: Εναlυατe."""


def looks_strange(text: str) -> bool:
    """Whether a text may have invisible characters or look-alikes; most texts have none."""
    return any(map(_STRANGE.search, _NOT_ASCII.findall(text)))


def visible(text: str) -> str:
    """The text without characters that are not shown."""
    return _INVISIBLE.sub("", text)


def unmasked(text: str) -> str:
    """The text with Latin letters in place of those that look like them."""
    if _MASKED_GREEK.search(text) and any(map(_is_masked, _WORD.findall(text))):
        return text.translate(LATIN)
    return text.translate(_LETTERS) if _MASKED.search(text) else text


def _is_masked(word: str) -> bool:
    parts = [part for part in _LATIN.findall(word) if part.lower() not in _NAMES]
    greek = _LATIN.sub("", word)
    if not parts:
        return any(map(str.isupper, greek))
    if len(parts) > 1 and len(word) >= _LONG:
        return True
    # Single letters and names of points go together with variables: xα, ABα.
    return greek.isupper() or "ο" in greek or any(len(part) > 1 and not part.isupper() for part in parts)
