"""Finds the final answer of a response.

The most reliable marker wins, and among equal ones the last: `<answer>…</answer>`, `\\boxed{}` (unless "the
final answer is $…$" or a line "Answer: …" follows), then `#### 72`, then a sentence with "the answer is" or
"答案是", then bold text, then what the last sentence says. The answer is all that is stated, never a number
found in it: `phrases.py` says which words around it may be left out.
"""

from __future__ import annotations

import re

from mathloop.answers.boxes import OPEN_BOX, last_box, without_denied
from mathloop.answers.chinese_sentences import (
    CONNECTIVES,
    COPULA,
    HAN,
    UNIT,
    in_chinese_sentence,
    in_chinese_text,
)
from mathloop.answers.phrases import (
    BROKEN_FORMULA,
    FORMULA,
    LONGEST_WORDS,
    NUMBER,
    PROSE,
    chosen,
    formulas,
    in_sentence,
    is_cut_off,
    masked,
    stated,
)

LONGEST_SENTENCE = 4_000
"""Characters read after "the answer is", and at the end of a text without such a marker."""
MOST_CUES = 8
LONGEST_PHRASE = 14
"""Characters of a Chinese phrase that may be the answer as a whole, such as 北偏东30°."""

_BLANKS = re.compile(r"[^\S\n]{3,}|\n[^\S\n]*\n\s*")
_SPECIAL = re.compile(r"<\|[^|<>\n]{0,40}\|>.*", re.DOTALL)
_HASHES = re.compile(r"####\s*([^\n]+)")
_CUE = re.compile(
    r"\banswers?\s?\s?(?:\*\*)?\s?(?:(?:would|should|must|will|could)\s)?(?:is|are|was|be|=|[:：])(?!\w)"
    r"|\bcorrect\s(?:option|choice|statement)s?\s?(?:is|are|[:：])|(?:^|\n)[ \t]*A\s?[:：](?=[^\n]*\s{0,3}\Z)"
    r"|答案】|答案(?:应该|应|就)?(?:是|为|选|：|:)|(?:故|应|因此|所以)(?:本题|此题)?选(?!项)|故填"
    r"|(?:^|[\n。])[ \t]*答[ \t]*[:：]",
    re.IGNORECASE,
)
_FINAL = re.compile(r"final answer is[\s:*]*\$", re.IGNORECASE)
_DECLARED = re.compile(r"\n[ \t]*(?:\*\*)?(?:final\s)?answer(?:\*\*)?\s?[:：]\s*(?=\S)", re.IGNORECASE)
"""After the last box and with a formula, or on a line of its own, it replaces the box."""
_CUE_END = re.compile(r"(?:[\s:：*\"]|\\\"|(?:therefore|thus|hence|then|simply)\s)*")
_EXPLAINED = re.compile(r"\s*,\s*(?:where|with|for|in which|as|since|其中)")
_WOULD = re.compile(r"\b(?:would|could|might)\b", re.IGNORECASE)
_DENIED_CUE = re.compile(
    r"n['’]t\s+(?:think|believe)|\bnot\s+(?:true|the\s+case|correct)\b|\bwrong\s+that\b|\bdoubt\b|不认为|并非"
    r"|\b(?:whether|unless|suppose|supposing|assume|assuming)\b|\bmistake\b[^.]{0,40}\b(?:say|think|claim|believe|assume|conclude)"
    r"|\b(?:wrong|incorrect|false)\s+(?:final\s+)?$|假设|假如|有人|有同学|错误的?$",
    re.IGNORECASE,
)
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
_EITHER = re.compile(r"\b(?:or|either|maybe|perhaps|possibly)\b", re.IGNORECASE)
_GIVEN_UP = re.compile(
    r"\bI(?:\s+am|['’]m)?\s+(?:cannot|can['’]t|could\s*n[o'’]t|unable|not\s+sure|do\s*n[o'’]t\s+know|guess)\b"
    r"|\bSorry\b|我不(?:会|知道|确定)",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"\b(?:actually|wait|hmm+|oops|recheck|re-check|on\s+second\s+thought|let\s+me\s+(?:re|double|check"
    r"|correct)|correction"
    r"|I\s+made\s+a\s+mistake|that(?:\s+is|['’]s)\s+(?:wrong|not\s+right|incorrect)|no,)|等等|不对|更正|算错"
    r"|重新(?:计)?算",
    re.IGNORECASE,
)
_INSTEAD = re.compile(r"(?:should|must|ought\s+to)\s+be\b|is\s+(?:actually|really)\b|应该?[是为]")
_RUN_ON = re.compile(r"\n[ \t]*(?:\*\*)?(?:Question|Problem|Q|问题|题目)\s?\d{0,3}\s?[:：]")
_BOLD_END = re.compile(r"\*\*([^*\n]{1,400})\*\*[.。!！]?\s*$")
_BOLD = re.compile(r"\*\*([^*\n]{1,400})\*\*")
_EQUATIONS = re.compile(
    r"\b[a-z]\s?=\s?[-+]?[\d./]{1,30}(?:\s?(?:,|or|and|,\s?(?:or"
    r"|and))\s?[a-z]\s?=\s?[-+]?[\d./]{1,30}){1,9}(?=[.\s]*$)"
)
"""Several solutions at the end of a text: "x = 2 or x = -3"."""
_CHECK = re.compile(
    r"\n[ \t]*(?:\([^()\n]{0,300}(?:\([^()\n]{0,100}\)[^()\n]{0,100}){0,9}\)|\*{0,2}(?:verification"
    r"|check|note)\b.*)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
"""A last paragraph that only checks the answer before it."""
_HOPE = re.compile(r"(?<=[.!\s])\s?I hope (?:it|this) is correct\.?\s*\Z|\s+\Z")
_DISPLAYED = re.compile(r"(\$\$[^$]{1,3000}\$\$|\\\[(?:(?!\\\[).){1,3000}\\\])[.\s]*\Z", re.DOTALL)
"""A formula on lines of its own at the end of a text."""
_SENTENCE_END = re.compile(r"(?<!\\)(?<!\bi\.e)(?<!\be\.g)[.!?](?=\s|\"|\*|$)|[。！？\n]")
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
    text = _without_run_on(text).replace(r"\fbox{", r"\boxed{")
    boxed = "boxed" in text
    if boxed:
        text = without_denied(text)
    if "boxed" in text:
        answer = _after_box(text[text.rfind("boxed") :], language) or last_box(text)
        if answer or OPEN_BOX.search(text):
            return answer  # an unclosed box means that the response was cut off
    body = _BLANKS.sub(_fewer, _SPECIAL.sub("", text) if "<|" in text else text)
    answer = _hashed(body)
    if answer is None:
        answer = _after_cue(body.strip(), language)
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
    if "boxed" in inner or "\n" in inner or _CUE.search(inner):
        return extract_answer(inner.replace("answer>", ""), language)
    return inner or None


def _without_run_on(text: str) -> str:
    """The text without a further question that the model wrote after its answer."""
    for question in _RUN_ON.finditer(text):
        before = text[: question.start()]
        if "boxed" in before or "####" in before or _CUE.search(before):
            return before
    return text


def _after_box(rest: str, language: str) -> str | None:
    """An answer that is declared, or a correction that is made, after the last box."""
    lower = rest.lower()
    if "final answer is" in lower and (later := _FINAL.search(rest)):
        return _after_cue(rest[later.start() :], language)
    if "answer" in lower and (declared := _DECLARED.search(rest)):
        answer = _in_sentence(rest[declared.end() : declared.end() + LONGEST_SENTENCE])
        known = answer and (
            re.fullmatch(r"[^a-zA-Z]*[A-K][^a-zA-Z]*", answer) or NUMBER.match(answer.lstrip("$\\("))
        )
        return answer if known else None
    return (_corrected(rest[rest.find("}") + 1 :]) or None) if _INSTEAD.search(lower) else None


def _hashed(text: str) -> str | None:
    answers = _HASHES.findall(text) if "####" in text else None
    return answers[-1].strip() if answers else None


def _after_cue(text: str, language: str) -> str | None:
    """The answer in the sentence after the last "the answer is"."""
    cues = list(_CUE.finditer(text))
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
        if _DENIED_CUE.search(before) or (_WOULD.search(cue.group()) and _SUPPOSED.search(before)):
            return ""
        rest = text[start : start + LONGEST_SENTENCE]
        answer = _in_sentence(rest)
        if cut_off and not _repeated(text[start:later], answer):
            return cut_off
        later = cue.start()
        if cut_off:  # a text that repeats itself until it is cut off: "The answer is 15. The answer is 1"
            return answer if answer and answer.startswith(cut_off) else cut_off
        if answer and len(cues) > 1 and text.endswith(answer) and cue is cues[-1]:
            cut_off = answer
        elif answer is not None:
            corrected = _corrected(rest[_sentence_end(rest) :]) if cue is cues[-1] else None
            return answer if corrected is None else corrected
    return cut_off


def _corrected(rest: str) -> str | None:
    """What a text after the answer puts in its place, "" if it only takes it back; None if it does not."""
    marker = _CORRECTED.search(rest[:LONGEST_SENTENCE])
    if marker is None:
        return None
    instead = _INSTEAD.search(rest.lower(), marker.start())
    if instead is None:
        return None
    return stated(rest[instead.end() : instead.end() + LONGEST_SENTENCE].split("\n")[0].strip(" .")) or ""


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


def _in_sentence(rest: str) -> str | None:
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
        return "" if not _is_list(sentence) else sentence
    return stated(sentence)


def _is_list(sentence: str) -> bool:
    """Whether "or" only stands between values, as in x = 2 or x = 3."""
    words = [word.lower() for word in re.findall(r"[a-zA-Z]{2,}", re.sub(r"0{2,}", "", masked(sentence)))]
    return bool(words) and set(words) <= {"or", "and"}


def _without_cue(text: str) -> str | None:
    """A formula that opens the text ("$x$, where …"), bold text at its end, or its last sentence's value."""
    if (
        "\n" not in text
        and len(text) <= LONGEST_PHRASE
        and not is_prose(text)
        and not CONNECTIVES.match(text)
        and not text.endswith("。")
    ):
        return text.strip() or None
    opening = FORMULA.match(text)
    if opening and "\n" not in text and _EXPLAINED.match(text, opening.end()):
        return opening.group()
    text = _HOPE.sub("", _CHECK.sub("", text))
    if displayed := _DISPLAYED.search(text):
        return displayed.group(1)
    if (bold_end := _BOLD_END.search(text)) and len(bold_end.group(1).split()) < 5:
        return _in_sentence(CONNECTIVES.sub("", bold_end.group(1)).strip(" :：.。"))
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
            return _in_sentence(inner)
    return _in_last_sentence(text[-LONGEST_SENTENCE:].strip())


def _in_last_sentence(ending: str) -> str | None:
    if BROKEN_FORMULA.search(ending):
        return None
    last = re.split(r"(?:(?<=[.!?])|(?<=[.!?]\$)|(?<=[.!?]\$\$))\s+(?=[A-Z$\\])|\n+", ending)[-1]
    last = CONNECTIVES.sub("", last.strip()).rstrip(".!").replace("**", "")
    values = {found.group() for found in NUMBER.finditer(last)}
    if _EITHER.search(masked(last)) and len(values) > 1 and not _is_list(last):
        return None
    if letters := chosen(last):
        return letters
    value = in_sentence(last)
    return value if value and len(value) <= max(LONGEST_WORDS, len(last)) else None
