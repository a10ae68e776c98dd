"""Finds the final answer of a response.

The most reliable marker wins, and among equal ones the last: `<answer>…</answer>`, `\\boxed{}` (unless "the
final answer is $…$" or a line "Answer: …" follows), then `#### 72`, then a sentence with "the answer is" or
"答案是", then bold text, then what the last sentence says. The answer is all that is stated, never a number
found in it: `phrases.py` says which words around it may be left out.
"""

from __future__ import annotations

import re

from mathloop.answers.boxes import OPEN_BOX, framed_as_boxed, last_box, without_denied
from mathloop.answers.chinese_sentences import (
    CONNECTIVES,
    COPULA,
    HAN,
    in_chinese_text,
    right_letters,
)
from mathloop.answers.cues import (
    CUE,
    INSTEAD,
    LONGEST_SENTENCE,
    after_cue,
    corrected,
    in_first_sentence,
    is_list,
)
from mathloop.answers.masking import FORMULA, NUMBER, PROSE, has_broken_formula, is_cut_off, masked
from mathloop.answers.normalization import normalize
from mathloop.answers.numbers import read_number
from mathloop.answers.objects import json_answer
from mathloop.answers.phrases import LONGEST_WORDS, in_sentence
from mathloop.answers.retractions import is_temptation, may_be_taken_back, taken_back
from mathloop.answers.statements import chosen, is_denied_abroad, is_premise, is_unsure

LONGEST_PHRASE = 14
"""Characters of a Chinese phrase that may be the answer as a whole, such as 北偏东30°."""

_BLANKS = re.compile(r"[^\S\n]{3,}|\n[^\S\n]*\n\s*")
_SPECIAL = re.compile(r"<\|[^|<>\n]{0,40}\|>.*", re.DOTALL)
_HASHES = re.compile(r"####\s*([^\n]+)")
_FINAL = re.compile(r"final answer is[\s:*]*\$", re.IGNORECASE)
_DECLARED = re.compile(r"\n[ \t]*(?:\*\*)?(?:final\s)?answer(?:\*\*)?\s?[:：]\s*(?=\S)", re.IGNORECASE)
"""After the last box and with a formula, or on a line of its own, it replaces the box."""
_EXPLAINED = re.compile(r"\s*,\s*(?:where|with|for|in which|as|since|其中)")
_EITHER = re.compile(r"\b(?:or|either|maybe|perhaps|possibly)\b", re.IGNORECASE)
_GIVEN_UP = re.compile(
    r"\bI(?:\s+am|['’]m)?\s+(?:cannot|can['’]t|could\s*n[o'’]t|unable|not\s+sure|do\s*n[o'’]t\s+know|guess)\b"
    r"|\bSorry\b|我不(?:会|知道|确定)",
    re.IGNORECASE,
)
_RUN_ON = re.compile(r"\n[ \t]*(?:\*\*)?(?:Question|Problem|Q|问题|题目)\s?\d{0,3}\s?[:：]")
_ANSWERED = ("boxed", "####", "nswer", "correct", "答", "选", "填", "a:", "a：", "a :", "a ：")
"""One of these is in every answer before such a line."""
_BOLD_END = re.compile(r"\*\*([^*\n]{1,400})\*\*[.。!！]?\s*$")
_BOLD = re.compile(r"\*\*([^*\n]{1,400})\*\*")
_EQUATIONS = re.compile(
    r"\b[a-z]\s?=\s?[-+]?[\d./]{1,30}(?:\s?(?:,|or|and|,\s?(?:or"
    r"|and))\s?[a-z]\s?=\s?[-+]?[\d./]{1,30}){1,9}(?=[.\s]*$)"
)
"""Several solutions at the end of a text: "x = 2 or x = -3"."""
_VERB = re.compile(r"\b(?:is|are|was|be)\b")
_OPEN_ITEM = re.compile(r"(?:^|\n)[ \t]*\d{1,2}[.)][^\n]+\n[ \t]*\d{1,2}[.)]\s*\Z")
"""A list that was cut off after the number of an item."""
_ONE_WORD = re.compile(r"[A-Za-z]{2,20}[.!]?")
_CHECK = re.compile(
    r"\n[ \t]*(?:\([^()\n]{0,300}(?:\([^()\n]{0,100}\)[^()\n]{0,100}){0,9}\)|\*{0,2}(?:verification"
    r"|check|note)\b.*)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
"""A last paragraph that only checks the answer before it."""
_HOPE = re.compile(r"(?<=[.!\s])\s?I hope (?:it|this) is correct\.?\s*\Z|\s+\Z")
_DISPLAYED = re.compile(r"(\$\$[^$]{1,3000}\$\$|\\\[(?:(?!\\\[).){1,3000}\\\])[.\s]*\Z", re.DOTALL)
"""A formula on lines of its own at the end of a text."""
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}|[\u4e00-\u9fff]{2,}")
_MATHEMATICS = frozenset("\\^_=<>&{}|!")


def extract_answer(text: str, language: str = "en") -> str | None:
    """The final answer of a response as written, or None if the text has none.

    Cues of both languages are always recognized, since models mix them; `language` ("en" or "zh") matters
    only where both occur: the last cue of that language wins.
    """
    if "think>" in text:
        text = text.rpartition("</think>")[2] if "</think>" in text else text.partition("<think>")[0]
    if "answer>" in text or "ANSWER>" in text:
        return _tagged(text, language)
    if '"' in text and (given := json_answer(text)) is not None:
        return given or None
    text = framed_as_boxed(_without_run_on(text))
    boxed = "boxed" in text
    box = None
    if boxed:
        text, box = without_denied(text)
    if "boxed" in text:
        answer = _after_box(text[text.rfind("boxed") :], language)
        after = "" if answer or not box else text[box.end :]
        if after and may_be_taken_back(after) and (left := _left_after_box(text, after)) is not None:
            return left or None
        answer = answer or (_stated_later(text, after) if after else None) or last_box(text, box)
        if answer or OPEN_BOX.search(text):
            return answer  # an unclosed box means that the response was cut off
    body = _BLANKS.sub(_fewer, _SPECIAL.sub("", text) if "<|" in text else text)
    answer = _hashed(body)
    if answer is None:
        answer = after_cue(body.strip(), language)
    if answer is None and not boxed:
        answer = _without_cue(body.strip())
    return answer or None


def is_prose(text: str) -> bool:
    """Whether the text is a sentence that may contain an answer, rather than an unreadable answer."""
    outside = re.sub(r"(?<![\d.])0{2,}", " ", masked(text))
    if HAN.search(outside):
        return len(HAN.findall(outside)) >= LONGEST_PHRASE or COPULA.search(outside) is not None
    words = len(_WORD.findall(outside))
    return words >= 8 or (words >= 1 and not any(mark in _MATHEMATICS for mark in outside))


def _fewer(blanks: re.Match[str]) -> str:
    return "\n\n" if "\n" in blanks.group() else "  "


def _tagged(text: str, language: str) -> str | None:
    """The content of the last answer tag; none if it was cut off."""
    lower = text.lower()
    last, end = lower.rfind("<answer>"), lower.rfind("</answer>")
    if last < 0:
        return extract_answer(text.replace("answer>", "").replace("ANSWER>", ""), language)
    if last > end:
        return None
    inner = text[last + len("<answer>") : end].strip()
    if "boxed" in inner or "\n" in inner or CUE.search(inner):
        return extract_answer(inner.replace("answer>", ""), language)
    return inner or None


def _without_run_on(text: str) -> str:
    """The text without a further question that the model wrote after its answer."""
    lower = text.lower()
    answered = min((place for mark in _ANSWERED if (place := lower.find(mark)) >= 0), default=len(text))
    for question in _RUN_ON.finditer(text, answered):
        before = text[: question.start()]
        if "boxed" in before or "####" in before or CUE.search(before):
            return before
    return text


def _after_box(rest: str, language: str) -> str | None:
    """An answer that is declared, or a correction that is made, after the last box."""
    lower = rest.lower()
    if "final answer is" in lower and (later := _FINAL.search(rest)):
        return after_cue(rest[later.start() :], language)
    if "answer" in lower and (declared := _DECLARED.search(rest)):
        answer = in_first_sentence(rest[declared.end() : declared.end() + LONGEST_SENTENCE])
        known = answer and (
            re.fullmatch(r"[^a-zA-Z]*[A-K][^a-zA-Z]*", answer) or NUMBER.match(answer.lstrip("$\\("))
        )
        return answer if known else None
    return (corrected(rest[rest.find("}") + 1 :]) or None) if INSTEAD.search(lower) else None


def _stated_later(text: str, after: str) -> str | None:
    """Another number that "the answer is" says after the last box; None if it says the same or no number."""
    if not ("nswer" in after or "答" in after) or not CUE.search(after):
        return None
    stated, boxed = (
        read_number(normalize(value or "")) for value in (after_cue(after, "en"), last_box(text))
    )
    if stated is None or boxed is None or stated == boxed:
        return None
    return str(stated) if stated.denominator == boxed.denominator == 1 else None


def _left_after_box(text: str, after: str) -> str | None:
    """What is left of the last box if the text after it takes it back; None if it stands."""
    left = taken_back(after, last_box(text) or "")
    return left if left is None else left or after_cue(after, "en") or ""


def _hashed(text: str) -> str | None:
    answers = _HASHES.findall(text) if "####" in text else None
    return answers[-1].strip() if answers else None


def _without_cue(text: str) -> str | None:
    """A formula that opens the text ("$x$, where …"), bold text at its end, or its last sentence's value."""
    if len(text) <= LONGEST_PHRASE and (letters := right_letters(text)):
        return letters
    if (
        "\n" not in text
        and len(text) <= LONGEST_PHRASE
        and not is_prose(text)
        and not CONNECTIVES.match(text)
        and not text.endswith("。")
        and not _VERB.search(text)
        and not is_premise(text)
    ):
        return text.strip() or None
    if _ONE_WORD.fullmatch(text):
        return text.strip(" .!")
    if _OPEN_ITEM.search(text):
        return None
    opening = FORMULA.match(text)
    if opening and "\n" not in text and _EXPLAINED.match(text, opening.end()):
        return opening.group()
    text = _HOPE.sub("", _CHECK.sub("", text))
    if is_denied_abroad(text):
        return None
    if displayed := _DISPLAYED.search(text):
        return displayed.group(1)
    if (bold_end := _BOLD_END.search(text)) and len(bold_end.group(1).split()) < 5:
        return in_first_sentence(CONNECTIVES.sub("", bold_end.group(1)).strip(" :：.。"))
    last_line = text.rstrip()[text.rstrip().rfind("\n") + 1 :]
    if HAN.search(last_line):
        return in_chinese_text(last_line[-LONGEST_SENTENCE:])
    if _GIVEN_UP.search(text[-300:]) or is_cut_off(text):
        return None
    if solutions := _EQUATIONS.search(text[-LONGEST_SENTENCE:]):
        return solutions.group()
    bold = _BOLD.findall(text, max(0, text.rfind("\n\n")))
    if bold:
        inner = bold[-1].strip(" :：.")
        if not PROSE.search(masked(inner)) or NUMBER.search(inner):
            return in_first_sentence(inner)
    return _in_last_sentence(text[-LONGEST_SENTENCE:].strip())


def _in_last_sentence(ending: str) -> str | None:
    if has_broken_formula(ending):
        return None
    last = re.split(r"(?:(?<=[.!?])|(?<=[.!?]\$)|(?<=[.!?]\$\$))\s+(?=[A-Z$\\])|\n+", ending)[-1]
    last = CONNECTIVES.sub("", last.strip()).rstrip(".!").replace("**", "")
    either = _EITHER.search(masked(last)) and not is_list(last)
    if either and len({found.group() for found in NUMBER.finditer(last)}) > 1:
        return None
    if is_premise(last) or is_unsure(last) or is_temptation(last + " "):
        return None
    if letters := chosen(last):
        return letters
    value = in_sentence(last)
    return value if value and len(value) <= max(LONGEST_WORDS, len(last)) else None
