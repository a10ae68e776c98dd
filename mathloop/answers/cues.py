"""The answer in the sentence after a cue: "the answer is", 答案是."""

from __future__ import annotations

import re

from mathloop.answers.chinese_sentences import (
    HAN,
    UNIT,
    in_chinese_sentence,
)
from mathloop.answers.masking import BROKEN_FORMULA, FORMULA, NUMBER, PROSE, formulas, masked
from mathloop.answers.phrases import stated
from mathloop.answers.retractions import is_denied, is_temptation, taken_back
from mathloop.answers.statements import sets_aside

INSTEAD = re.compile(r"(?:should|must|ought\s+to)\s+be\b|is\s+(?:actually|really)\b|应该?[是为]")


LONGEST_SENTENCE = 4_000

"""Characters read after "the answer is", and at the end of a text without such a marker."""

MOST_CUES = 8

CUE = re.compile(
    r"\banswers?\s?\s?(?:\*\*)?\s?(?:(?:would|should|must|will|could)\s)?(?:is|are|was|be|=|[:：])(?!\w)"
    r"|\bcorrect\s(?:option|choice|statement)s?\s?(?:is|are|[:：])|(?:^|\n)[ \t]*A\s?[:：](?=[^\n]*\s{0,3}\Z)"
    r"|答案】|答案(?:应该|应|就)?(?:是|为|选|：|:)|(?:故|(?<!不)应|因此|所以)(?:本题|此题)?选(?:择(?![题项])|(?![择项]))|故填"
    r"|(?:^|[\n。])[ \t]*答[ \t]*[:：]",
    re.IGNORECASE,
)

_CUE_END = re.compile(r"(?:[\s:：*\"]|\\\"|(?:therefore|thus|hence|then|simply)\s)*")

_WOULD = re.compile(r"\b(?:would|could|might)\b", re.IGNORECASE)

_DENIED_CUE = re.compile(
    r"n['’]t\s+(?:think|believe)|\bnot\s+(?:true|the\s+case|correct)\b|\bwrong\s+that\b|\bdoubt\b|不认为|并非"
    r"|\b(?:whether|unless|suppose|supposing|assume|assuming)\b|\bmistake\b[^.]{0,40}\b(?:say|think|claim|believe|assume|conclude)"
    r"|\b(?:wrong|incorrect|false)\s+(?:final\s+)?$|假设|假如|有人|有同学|错误的?$",
    re.IGNORECASE,
)

_OF_THE_ANSWER = re.compile(
    r"\b(?:(?<!value\s)of|for|twice|thrice|half|double|triple|times|plus|minus)\s+(?:the|our|this|that)\s+(?:final\s+|correct\s+)?$"
    r"|\b(?:old|previous|earlier|former|tentative|preliminary|outdated)\s+$|\bbefore\s+the\s+correction\b|\b(?:nobody|no\s+one)\s"
    r"|\b(?:false|wrong|untrue|mistaken)\s+(?:that|to)\b|\b(?:can['’]t|cannot|do\s+not|don['’]t)\s+see\s+(?:why|how)\b|\bwonder\b|\bhad\s+we\b"
    r"|(?<!我)(?<!我们)(?:认为|以为|觉得)",
    re.IGNORECASE,
)
"""Words before "the answer is" by which it speaks of something else, or that nobody vouches for."""

_HENCE = re.compile(r"\b(?:so|thus|hence|therefore)\b|所以|因此|故", re.IGNORECASE)

_BUT_NOT_SO = re.compile(r"[^。.\n]{0,60}[，,]\s*(?:但|可是|然而|but\b)")

_DENIAL = re.compile(
    r"\banswers?\s+(?:is(?:n['’]t|\s+(?:definitely\s+|certainly\s+)?not(?![^.]{1,60}\bbut\b))|can(?:not|['’]t)|could\s*(?:not"
    r"|n['’]t))\b"
    r"|答案(?:一定|肯定|绝对|应该)?(?:不|并非)",
    re.IGNORECASE,
)

_REFUSING = re.compile(
    r"\s*(?:not|never|anything\s+but|less|more|fewer|greater|smaller|larger|at\s+(?:least|most)|over"
    r"|under|above|below)\b"
    r"|\s*(?:不(?:是|为|等于|一定|可能|会|能)|并非|大于|小于|至少|至多)",
    re.IGNORECASE,
)

_CONTRAST = re.compile(r"\s*not\s+[^.,]{1,60}?,?\s+but\s+(?:rather\s+)?([^.\n]{1,80})", re.IGNORECASE)

_SUPPOSED = re.compile(r"\bif\b|如果|假如|若", re.IGNORECASE)

_HEDGE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|unless|otherwise|if|between)\b|不确定|还是|或|可能(?!性)",
    re.IGNORECASE,
)

_CORRECTED = re.compile(
    r"\b(?:actually|wait|hmm+|oops|recheck|re-check|on\s+second\s+thought|let\s+me\s+(?:re|double|check"
    r"|correct)|correction"
    r"|I\s+made\s+a\s+mistake|that(?:\s+is|['’]s)\s+(?:wrong|not\s+right|incorrect)|no,)|等等|不对|更正|算错"
    r"|重新(?:计)?算",
    re.IGNORECASE,
)

_SENTENCE_END = re.compile(r"(?<!\\)(?<!\bi\.e)(?<!\be\.g)[.!?](?=\s|\"|\*|$)|[。！？\n]")


def after_cue(text: str, language: str) -> str | None:
    """The answer in the sentence after the last "the answer is"."""
    cues = list(CUE.finditer(text))
    cues.sort(
        key=lambda cue: (not cue.group().isascii()) == (language == "zh")
    )  # stable: keeps the order within a language
    denials = [denial.start() for denial in _DENIAL.finditer(text)]
    if denials and denials[-1] >= max((cue.start() for cue in cues), default=0):
        return ""
    cut_off: str | None = None
    later = len(text)
    for cue in reversed(cues[-MOST_CUES:]):
        start = _CUE_END.match(text, cue.end()).end()  # type: ignore[union-attr]  # it matches the empty string
        before = _before_in_sentence(text, cue.start())
        if (
            _DENIED_CUE.search(before)
            or _OF_THE_ANSWER.search(before)
            or sets_aside(before)
            or (_SUPPOSED.search(before) and not _HENCE.search(before) and _BUT_NOT_SO.match(text, start))
            or is_temptation(before + cue.group())
            or (_WOULD.search(cue.group()) and _SUPPOSED.search(before))
        ):
            return ""
        rest = text[start : start + LONGEST_SENTENCE]
        answer = in_first_sentence(rest)
        if cut_off and not _repeated(text[start:later], answer):
            return cut_off
        later = cue.start()
        if cut_off:  # a text that repeats itself until it is cut off: "The answer is 15. The answer is 1"
            return answer if answer and answer.startswith(cut_off) else cut_off
        if answer and len(cues) > 1 and text.endswith(answer) and cue is cues[-1]:
            cut_off = answer
        elif answer is not None:
            if answer and is_denied(rest.partition(answer)[2]):
                return ""
            instead = corrected(rest[_sentence_end(rest) :], answer) if cue is cues[-1] else None
            return answer if instead is None else instead
    return cut_off


def corrected(rest: str, answer: str = "") -> str | None:
    """What a text after the answer puts in its place, "" if it only takes it back; None if it does not."""
    marker = _CORRECTED.search(rest[:LONGEST_SENTENCE])
    if marker is None:
        return taken_back(rest, answer)
    found = [*INSTEAD.finditer(rest.lower()[: len(rest)], marker.start())][-MOST_CUES:]
    if not found:
        return taken_back(rest, answer)
    for instead in reversed(found):
        value = stated(rest[instead.end() : instead.end() + LONGEST_SENTENCE].split("\n")[0].strip(" ."))
        if value and any(mark.isdigit() or mark in "\\$" for mark in value):
            return value
    return stated(rest[found[0].end() : found[0].end() + LONGEST_SENTENCE].split("\n")[0].strip(" .")) or ""


def _before_in_sentence(text: str, position: int) -> str:
    """The part of the sentence before a position, at most 80 characters."""
    before = text[max(0, position - 80) : position]
    return re.split(r"[.!?。！？\n]\s*", before)[-1]


def _repeated(between: str, answer: str | None) -> bool:
    """Whether the text between two cues is just the first one's answer."""
    rest = between.replace(answer or "", "", 1).strip(" \n.。$*")
    return bool(answer) and rest.lower() in ("", "so the", "the", "the final", "so", "所以", "最终")


def _sentence_end(rest: str) -> int:
    """Where the first sentence ends; a period inside a formula does not end it."""
    formula = FORMULA.match(rest)
    begin = formula.end() if formula else 0
    end = _SENTENCE_END.search(rest, begin)
    while end is not None and "$" in rest[begin : end.start()]:
        spanning = FORMULA.search(rest, begin)
        if spanning is None or spanning.start() > end.start():
            break
        begin = spanning.end()
        end = _SENTENCE_END.search(rest, begin)
    return end.start() if end else len(rest)


def in_first_sentence(rest: str) -> str | None:
    """The answer in the first sentence of `rest`, which follows "the answer is"."""
    if BROKEN_FORMULA.match(rest):
        return None
    if contrast := _CONTRAST.match(rest):
        return stated(contrast[1])
    if _REFUSING.match(rest) or rest[_sentence_end(rest) :][:1] == "?":
        return ""
    formula = FORMULA.match(rest)
    sentence = rest[: _sentence_end(rest)].replace("**", "").strip(' \t"')
    prose = masked(sentence)
    if not PROSE.search(prose) and not (NUMBER.search(prose) and HAN.match(UNIT.sub("", prose))):
        return sentence
    if HAN.search(prose) and not formula:
        return in_chinese_sentence(sentence) if HAN.search(sentence) else sentence
    values = {found.group() for found in formulas(sentence)} or {n.group() for n in NUMBER.finditer(sentence)}
    if len(values) > 1 and _HEDGE.search(re.sub(r"\b[a-z]\s?=", "", prose)) and PROSE.search(prose):
        return "" if not is_list(sentence) else sentence
    return stated(sentence)


def is_list(sentence: str) -> bool:
    """Whether "or" only stands between values, as in x = 2 or x = 3."""
    words = [word.lower() for word in re.findall(r"[a-zA-Z]{2,}", re.sub(r"0{2,}", "", masked(sentence)))]
    return bool(words) and set(words) <= {"or", "and"}
