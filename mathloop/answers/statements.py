"""Sentences that state an answer without a number: "Options A and B are correct", "The function is even"."""

from __future__ import annotations

import re

_CHOSEN = re.compile(
    r"\b(?:options?|choices?|statements?)\s+(\(?[A-K]\)?(?:(?:\s*,\s*|\s+and\s+)\(?[A-K]\)?)*)\s+(?:is|are)\s+(?:the\s+)?"
    r"(?:correct|right|true)|\b(?:match(?:es)?|corresponds?\s+to)\s+(?:answer\s+)?(?:option|choice)\s+\(?((?-i:[A-K]))\)?(?=[\s.]*$)"
    r"|\b(?:choose|select|pick|go\s+with)\s+(?:option\s+|choice\s+)?\(?([A-K])\)?(?![a-zA-Z])",
    re.IGNORECASE,
)

_RIGHT = re.compile(
    r"(?:.*[,;]\s*(?=(?:so|thus|hence|therefore)\b))?(?:(?:so|thus|hence|therefore|then|clearly|only)\b[,:]?\s+)*(\(?(?-i:[A-K])\)?(?:(?:\s*,\s*|,?\s+and\s+)\(?(?-i:[A-K])\)?)*)"
    r"\s+(?:is|are)\s+(?:thus\s+|therefore\s+)?(?:correct|the\s+(?:only\s+)?(?:right|correct|true)\s+(?:answer|option|choice|one|statement)s?)"
    r"(?=\s*(?:$|[,.!]|\b(?:because|since|as|here)\b))",
    re.IGNORECASE,
)
"""A sentence that begins with the letters: "Thus, (C) is the right answer"."""

_DECLINED = re.compile(r"\b(?:not|never|cannot|n['’]t|neither|nor)\b[^.]{0,30}$", re.IGNORECASE)

_GUESSED = re.compile(
    r"\b(?:if|unless|guess|guessing|between|maybe|perhaps|possibly|unsure|were)\b", re.IGNORECASE
)


def chosen(sentence: str) -> str | None:
    """The letters of "Options A and B are correct" or "I choose B"; None where there are none."""
    match = _RIGHT.match(sentence) or _CHOSEN.search(sentence)
    if match is None or _DECLINED.search(sentence, 0, match.start()) or _GUESSED.search(sentence):
        return None
    return next((letters for letters in match.groups() if letters), None)


_NOT_SO = re.compile(
    r"\b(?:can['’]t|cannot|could\s*n['’]t|must\s+not|may|might|could)\s+be\b|\b(?:is|are|was)(?:n['’]t|\s+never)\s+\S{1,20}$|\bnever\s+equals?\b"
    r"|\banything\s+but\b|\bmore\s+or\s+less\b|^\W*(?:perhaps|maybe|possibly)\b",
    re.IGNORECASE,
)


_SET_ASIDE = re.compile(
    r"\b(?:without|ignor(?:e|ed|ing)|disregard(?:ing|ed)?|neglect(?:ing|ed)?|drop(?:ping|ped)?)\s+(?:(?:the|this|that|these|all)\s+)+"
    r"(?:\w+\s+)?(?:constraint|condition|restriction|requirement)s?\b|(?:不考虑|忽略|去掉)[^，,。]{0,8}(?:条件|限制)",
    re.IGNORECASE,
)


def is_unsure(sentence: str) -> bool:
    """Whether a sentence denies the value that it ends with, or holds it for possible or set aside."""
    return _NOT_SO.search(sentence) is not None or sets_aside(sentence)


def sets_aside(sentence: str) -> bool:
    """Whether a sentence is about another problem: "Without the constraint, the answer is 7"."""
    return _SET_ASIDE.search(sentence) is not None


_DENIED_ABROAD = re.compile(
    r"(?:\bno\s+(?:es|son|era|fue|será|vale|da)\b|\bn['’]\w+\s+(?:pas|jamais)\b|\bne\s+\w+\s+(?:pas|jamais)\b|\bnon\s+(?:è|e['’]|sono|vale)"
    r"|\b(?:nicht|kein(?:e[rnms]?)?|nunca|jamás|não|niet|geen|inte|ikke|nie|není|nem|không|bukan|ei\s+ole|не|δεν|ليس)\b)"
    r"[^!?。;,]{0,40}$|(?:ではな|じゃな|ではありませ|でない|아니|değil|नहीं|نیست)[^。.!?]{0,12}[.。!?]?\s*$",
    re.IGNORECASE,
)


def is_denied_abroad(text: str) -> bool:
    """Whether a text ends with the denial of a value in a language other than English and Chinese."""
    return _DENIED_ABROAD.search(text[-120:]) is not None


_PREMISE = re.compile(
    r"\W*(?:(?:let|assume|suppose|given|consider|denote)\b|(?:we|you)\s+(?:are|were)\s+(?:given|told)\b|the\s+(?:problem|question)\s+(?:says|states"
    r"|asks|gives)\b|(?:we\s+)?(?:need|want|have)\s+to\s+(?:find|compute|show|determine)\b|(?:question|problem)\s?\d{0,3}\s?:|已知|设|假设|令|题目|题中|问题)"
    r"[^,，;；]*$|[^.]{0,60}\bwe\s+(?:start|begin)\s+with\b",
    re.IGNORECASE,
)


def is_premise(sentence: str) -> bool:
    """Whether a sentence says what is given or asked: "Let x = 12", 已知n=12."""
    return _PREMISE.match(sentence) is not None


_SAYS = re.compile(
    r"(?:the|so|thus|hence|therefore|it|he|she|this|that)\b[^.?]{0,60}?\b(?:is|are|was)\s+(?:an?\s+|the\s+)?(\w+(?:\s\w+)?)$",
    re.IGNORECASE,
)

_UNSURE = re.compile(
    r"\b(?:whether|if|not|or|no|never|unclear|maybe|perhaps|possibly)\b|n['’]t", re.IGNORECASE
)


def adjective(sentence: str) -> str | None:
    """The even of "The function is even"."""
    match = _SAYS.fullmatch(sentence.strip(" ."))
    if match is None or _UNSURE.search(sentence) or any(mark.isdigit() for mark in sentence):
        return None
    return match[1]
