"""Finds the final answer of a response.

The most reliable marker wins, and among equal ones the last: `\\boxed{}` (unless "the final answer is $…$"
follows), then `#### 72`, then a sentence with "the answer is" or "答案是", then bold text, then the last
formula or number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mathloop.answers.units import UNITS

LONGEST_ANSWER = 20_000
"""Characters read inside a box."""
LONGEST_SENTENCE = 4_000
"""Characters read after "the answer is", and at the end of a text without such a marker."""
MOST_CUES = 8
LONGEST_GAP = 40
"""Characters between two boxes that still belong to one answer ("\\boxed{1} and \\boxed{2}")."""
MOST_BOXES = 24

_BOX = re.compile(r"boxed\s*(\{|[0-9A-Za-z+-][^\s$\\.,{}]*)")
_OPEN_BOX = re.compile(r"\\f?boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|[和或与及、]")
_WORD = re.compile(r"[a-zA-Z\u4e00-\u9fff]")
_COMMAND = re.compile(r"\\+[a-zA-Z]+|(?<![a-zA-Z])[a-zA-Z](?:_\{?\w+\}?)?\s*=")
_SPECIAL = re.compile(r"<\|[^|<>\n]{0,40}\|>.*", re.DOTALL)
_HASHES = re.compile(r"####\s*([^\n]+)")
_CUE = re.compile(
    r"\banswers?\s*(?:\*\*)?\s*(?:is|are|was|be|=|[:：])(?!\w)"
    r"|\bcorrect\s+(?:option|choice|statement)s?\s*(?:is|are|[:：])|(?:^|\n)[ \t]*A\s*[:：](?=[^\n]*\s*\Z)"
    r"|答案】|答案(?:应该|应|就)?(?:是|为|选|：|:)|(?:故|应|因此|所以)选(?!项)|故填"
    r"|(?:^|[\n。])[ \t]*答[ \t]*[:：]",
    re.IGNORECASE,
)
_FINAL = re.compile(r"final answer is[\s:*]*\$", re.IGNORECASE)
"""After the last box and with a formula, it replaces the box."""
_CUE_END = re.compile(r"(?:[\s:：*\"]|\\\"|(?:therefore|thus|hence|then|simply)\s)*")
_INLINE = r"\\\([^\n]{1,3000}?\\\)|(?<!\\)\$(?:[^$\\\n]|\\.){1,3000}(?<!\\)\$"
_MATH = re.compile(r"\$\$.{1,3000}?\$\$|\\\[.{1,3000}?\\\]|" + _INLINE, re.DOTALL)
BROKEN_INLINE = re.compile(r"(?<![\\$])\$[ \t]*\n|\\\([ \t]*\n")
"""As in Markdown, inline math does not span lines, so no answer follows such an opening."""
_EXPLAINED = re.compile(r"\s*,\s*(?:where|with|for|in which|as|since|其中)")
_CONNECTIVES = re.compile(
    r"^(?:(?:因此|所以|故|综上所述|综上|于是|从而|即|答|therefore|thus|so|hence)[，,：:\s]*)+", re.IGNORECASE
)
_HAN = re.compile("[\u4e00-\u9fff]")
_CHINESE_SENTENCE = re.compile(r"[。！？；\n]+|;\s")
_SUSPICIOUS = (
    "not", "n't", "n’t", "never", "wrong", "incorrect", "false", "?", "？", "不", "非", "错",
    "write", "give", "put", "enter", "return", "report",
)  # fmt: skip
"""A box is only denied, or part of an instruction, if one of these is near it."""
_NOT_BEFORE = re.compile(
    r"(?:\bnot|n['’]t(?:\s+be)?|\bnever|不是|并非|不为|不等于|不可能是)\s*(?:equal\s+to\s*)?[$\\(\[\s]*$",
    re.IGNORECASE,
)
_WRONG_AFTER = re.compile(
    r"[$\\)\]\s]*(?:(?:is|was)\s+(?:wrong|incorrect|false|not)|isn['’]t|[?？]\s*(?:no|wrong|不)|是?(?:错|不对|不正确))",
    re.IGNORECASE,
)
_INSTRUCTED = re.compile(
    r"\b(?:write|give|put|enter|return|output|report)\s*(?:(?:your|the)\s+(?:final\s+)?answer\s+(?:in|as|within|inside)\s*)?"
    r"[$\\(\[\s]*$",
    re.IGNORECASE,
)
_IF = re.compile(r"\bif\b", re.IGNORECASE)
_DENIED_CUE = re.compile(
    r"n['’]t\s+(?:think|believe)|\bnot\s+(?:true|the\s+case|correct)\b|\bwrong\s+that\b|\bdoubt\b|不认为|并非",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\banswers?\s+(?:is(?:n['’]t|\s+(?:definitely\s+|certainly\s+)?not)|can(?:not|['’]t)|could\s*(?:not|n['’]t))\b"
    r"|答案(?:一定|肯定|绝对|应该)?(?:不|并非)",
    re.IGNORECASE,
)
_REFUSING = re.compile(
    r"\s*(?:not|never|anything\s+but|less|more|fewer|greater|smaller|larger|at\s+(?:least|most)|over|under|above|below)\b"
    r"|\s*(?:不(?:是|为|等于|一定|可能|会|能)|并非|大于|小于|至少|至多)",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|unless|otherwise|if)\b|不确定|还是|或|可能(?!性)", re.IGNORECASE
)
_EITHER = re.compile(r"\b(?:or|either|maybe|perhaps|possibly)\b", re.IGNORECASE)
_GIVEN_UP = re.compile(
    r"\bI(?:\s+am|['’]m)?\s+(?:cannot|can['’]t|could\s*n[o'’]t|unable|not\s+sure|do\s*n[o'’]t\s+know|guess)\b"
    r"|\bSorry\b|我不(?:会|知道|确定)",
    re.IGNORECASE,
)
_NUMBER_SUFFIX = re.compile(
    r"(?:\s+\d+\s*/\s*\d+|\s?:\s?\d+|\s?\^\s?\{?\d+\}?|[a-zA-Z](?![a-zA-Z])|\s?(?:million|billion|thousand|hundred|trillion)\b)+",
    re.IGNORECASE,
)
"""Text after a number that belongs to it: 3 1/2, 5:3, 5^2, 5x, 5 million."""
_RUN = re.compile(r"[\d., ()+*/^:=<>≤≥√π|−-]|(?<![A-Za-z'’])[A-Za-z](?![A-Za-z])")
_RUN_ON_RIGHT = re.compile(r"[\d., ()+*/^:=<>≤≥√π|−-]")
_DOUBT = re.compile(
    "不(?:一定|可能|能|会|应该?|再)?(?:是|为|等于|选|对)|并非|而非|不确定|还是|或许|也许|可能(?!性)|倒数|相反数|绝对值|之间"
    r"|\d\s*(?:到|至|或)\s*\d|[个只人元岁]\s*(?:或|还是)"
)
_RUN_ON = re.compile(r"\n[ \t]*(?:\*\*)?(?:Question|Problem|Q|问题|题目)\s*\d{0,3}\s*[:：]")
_CHINESE_CHECK = re.compile("(?:验证|检验|验算|[(（])")
_LISTED = re.compile(r"(?:\d[\d./°%]*|\$[^$]+\$)\s*(?:或|和)\s*(?:\d|\$)[^\u4e00-\u9fff]*$")
_COPULA = re.compile("(?<![因成分作认])为|(?<!不)是|即(?!可)|等于|[填打在]|选(?!项)|[:：](?!\\d)")
"""Words and signs before the value of something."""
_UNITS = "|".join(sorted((unit for unit in UNITS if not unit.isascii()), key=len, reverse=True))
_CHINESE_UNIT = re.compile(f"或者?|[和且与、，；每]|{_UNITS}|[个只人本件条张组颗袋棵辆名岁支枚位次种]")
_MEASURED = rf"\d+(?:\.\d+)?\s*(?:平方|立方)?(?:{_UNITS})(?:/(?:{_UNITS}))?"
_CHINESE_QUANTITY = re.compile(rf"[-－]?{_MEASURED}(?:{_MEASURED})*")
_SECOND_BLANK = re.compile(r"第[二三四2-4]个?空|(?<![a-zA-Z])[a-zA-Z]_\{?\w+\}?")
_CHOSEN = re.compile(r"选项?\s*([A-H])(?![a-zA-Z])")
_REJECTED = re.compile("不|排除|非|错|误")
_FIRST_BLANK = re.compile("第(?:一|1)(?:个)?空")
_LEFT_OVER = re.compile(r"(\d+)[^\d，,。]{0,6}[，,]?[^\d，,。]{0,4}余[^\d，,。余]{0,3}(\d+)")
_NUMERAL = "[零一二两三四五六七八九十百千万]"
_NUMERALS = re.compile(
    f"{_NUMERAL}+分之{_NUMERAL}+|{_NUMERAL}{{2,}}(?={_UNITS}|[个只人本件条张组颗袋棵辆名岁支枚位次种])"
)
LONGEST_PHRASE = 14
"""Characters of a Chinese phrase that may be the answer as a whole, such as 北偏东30°."""
LONGEST_WORDS = 30
"""Characters of a sentence without a number that may be the answer as a whole."""
_BOLD_END = re.compile(r"\*\*([^*\n]+)\*\*[.。!！]?\s*$")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_NUMBER = re.compile(
    r"(?<![\w.])(?:\d+\s?\*?\s?)?sqrt\s?\([^()\n]{1,60}\)(?:\s?/\s?\d+)?|(?<![\w.])\d{1,2}:\d{2}(?!\d)(?:\s?[ap]\.?m\b\.?)?|(?<![a-zA-Z\d_.])[-+−]?[$€¥£]?(?:\d{1,3}(?:[,，]\d{3})+(?!\d)|\d+)?(?:[.,]?\d+)(?:\s?/\s?\d+)?(?:\s*[%％])?(?![a-zA-Z]*\d)",
    re.IGNORECASE,
)
_EQUATIONS = re.compile(
    r"\b[a-z]\s*=\s*[-+]?[\d./]+(?:\s*(?:,|or|and|,\s*(?:or|and))\s*[a-z]\s*=\s*[-+]?[\d./]+)+(?=[.\s]*$)"
)
"""Several solutions at the end of a text: "x = 2 or x = -3"."""
_CHECK = re.compile(
    r"\n[ \t]*(?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)|\*{0,2}(?:verification|check|note)\b.*)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
"""A last paragraph that only checks the answer before it."""
_SENTENCE_END = re.compile(r"(?<!\\)[.!?](?=\s|\"|\*|$)|[。！？\n]")
_PROSE = re.compile(
    r"(?<![\\a-zA-Z])(?!sqrt|sin|cos|tan|log|ln|(?:and|or|pi|am|pm|cm|km|mm|kg|ml)\b)[a-zA-Z]{2,}(?![a-zA-Z({])"
    r"|[\u4e00-\u9fff]{3,}"
)
_QUALIFIED = re.compile(
    r"(?:\b(?:not|least|most|than|over|under|except|below|above|between)|不是|至少|至多|最多|最少|大于|小于|超过|不足|不等于)\s*$",
    re.IGNORECASE,
)
"""Words before a number that change its meaning ("at least 10")."""
_BOUND = re.compile(r"\s*(?:以上|以下|以内|以外|左右|或以上|及以上|or more|or less|or fewer)")
_SENTENCE_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}|[\u4e00-\u9fff]{2,}")
_MATHEMATICS = frozenset("\\^_=<>&{}|!")
_TYPESET = re.compile(r"\\(?:text\w*|mbox|mathrm|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+")


def extract_answer(text: str, language: str = "en") -> str | None:
    """The final answer of a response as written, or None if the text has none.

    Cues of both languages are always recognized, since models mix them; `language` ("en" or "zh") matters
    only where both occur: the last cue of that language wins.
    """
    if "think>" in text:
        text = text.rpartition("</think>")[2] if "</think>" in text else text.partition("<think>")[0]
    text = _without_run_on(text).replace(r"\fbox{", r"\boxed{")
    boxed = "boxed" in text
    if boxed:
        text = _without_denied(text)
    if "boxed" in text:
        later = _FINAL.search(text, text.rfind("boxed"))
        answer = (_after_cue(text[later.start() :], language) if later else None) or last_box(text)
        if answer or _OPEN_BOX.search(text):
            return answer  # an unclosed box means that the response was cut off
    body = _SPECIAL.sub("", text) if "<|" in text else text
    answer = _hashed(body)
    if answer is None:
        answer = _after_cue(body.strip(), language)
    if answer is None and not boxed:
        answer = _without_cue(body.strip())
    return answer or None


def _without_run_on(text: str) -> str:
    """The text without a further question that the model wrote after its answer."""
    for question in _RUN_ON.finditer(text):
        before = text[: question.start()]
        if "boxed" in before or "####" in before or _CUE.search(before):
            return before
    return text


def _without_denied(text: str) -> str:
    """The text without last boxes that it calls wrong, or that only say where to write the answer."""
    for start, end, _ in _boxes_from_the_end(text):  # a cut does not move the boxes before it
        before, after = text[max(0, start - 60) : start], text[end : end + 40]
        near = (before + after).lower()
        if not any(mark in near for mark in _SUSPICIOUS):
            break
        sentence = before[max(before.rfind("."), before.rfind("\n")) + 1 :] + after
        instructed = _INSTRUCTED.search(before) and _IF.search(sentence)
        if not (instructed or _NOT_BEFORE.search(before) or _WRONG_AFTER.match(after)):
            break
        text = f"{text[:start].rstrip('$')} {text[end:].lstrip('$')}"
    return text


def is_prose(text: str) -> bool:
    """Whether the text is a sentence that may contain an answer, rather than an unreadable answer."""
    outside = _TYPESET.sub(" ", _MATH.sub(" ", text))
    if _HAN.search(outside):
        return len(_HAN.findall(outside)) >= LONGEST_PHRASE or _COPULA.search(outside) is not None
    words = len(_SENTENCE_WORD.findall(outside))
    return words >= 8 or (words >= 1 and not any(mark in _MATHEMATICS for mark in outside))


def last_box(text: str) -> str | None:
    """The content of the last box, joined with the boxes just before it ("\\boxed{1} and \\boxed{2}")."""
    parts: list[str] = []
    start = len(text)
    for box_start, box_end, content in _boxes_from_the_end(text):
        if parts and not _joins(text[box_end:start]):
            break
        parts.append(content.strip())
        start = box_start
    return ", ".join(dict.fromkeys(reversed(parts))) or None


def _boxes_from_the_end(text: str) -> Iterator[tuple[int, int, str]]:
    """Closed boxes with content, as (start, end, content), last first."""
    start = len(text)
    for _ in range(MOST_BOXES):
        start = text.rfind("boxed", 0, start)
        if start < 0:
            return
        match = _BOX.match(text, start)
        if match is None or not text[:start].endswith(("\\", "\\f")):
            continue
        if match.group(1) != "{":
            yield start, match.end(), match.group(1)
            continue
        close = _closing_brace(text, match.end() - 1)
        if close is not None and not text[match.end() : close].isspace() and close > match.end():
            yield start, close + 1, text[match.end() : close]


def _closing_brace(text: str, opening: int) -> int | None:
    depth = 0
    for match in _BRACE.finditer(text, opening, opening + LONGEST_ANSWER):
        mark = match.group()
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return None


def _joins(gap: str) -> bool:
    if len(gap) > LONGEST_GAP:
        return False
    words = _COMMAND.sub(" ", _SECOND_BLANK.sub(" ", gap))
    return _CONNECTIVE.search(words) is not None or _WORD.search(words) is None


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
        if _DENIED_CUE.search(_before_in_sentence(text, cue.start())):
            return ""
        answer = _in_sentence(text[start : start + LONGEST_SENTENCE])
        if cut_off and not _repeated(text[start:later], answer):
            return cut_off
        later = cue.start()
        if cut_off:  # a text that repeats itself until it is cut off: "The answer is 15. The answer is 1"
            return answer if answer and answer.startswith(cut_off) else cut_off
        if answer and len(cues) > 1 and text.endswith(answer) and cue is cues[-1]:
            cut_off = answer
        elif answer is not None:
            return answer
    return cut_off


def _before_in_sentence(text: str, position: int) -> str:
    """The part of the sentence before a position, at most 80 characters."""
    before = text[max(0, position - 80) : position]
    return re.split(r"[.!?。！？\n]\s*", before)[-1]


def _repeated(between: str, answer: str | None) -> bool:
    """Whether the text between two cues is just the first one's answer."""
    rest = between.replace(answer or "", "", 1).strip(" \n.。$*")
    return bool(answer) and rest.lower() in ("", "so the", "the", "the final", "so", "所以", "最终")


def _in_sentence(rest: str) -> str | None:
    """The answer in the first sentence of `rest`: a formula at its start, else the last one in it."""
    if BROKEN_INLINE.match(rest):
        return None
    if _REFUSING.match(rest):
        return ""
    formula = _MATH.match(rest)
    begin = formula.end() if formula else 0
    end = _SENTENCE_END.search(rest, begin)
    while (
        end is not None
        and _MATH.search(rest, begin, end.start() + 1) is None
        and "$" in rest[begin : end.start()]
    ):
        spanning = _MATH.search(rest, begin)  # a period inside a formula does not end the sentence
        if spanning is None or spanning.start() > end.start():
            break
        begin = spanning.end()
        end = _SENTENCE_END.search(rest, begin)
    sentence = rest[: end.start() if end else len(rest)].replace("**", "").strip(' \t"')
    prose = _TYPESET.sub(" ", _MATH.sub("", sentence))
    if not _PROSE.search(prose) and not (_NUMBER.search(prose) and _HAN.match(_CHINESE_UNIT.sub("", prose))):
        return sentence
    if _HAN.search(sentence) and not formula:
        return _in_chinese_sentence(sentence)
    values = {found.group() for found in _MATH.finditer(sentence)} or {
        n.group() for n in _NUMBER.finditer(sentence)
    }
    if len(values) > 1 and _HEDGE.search(prose):
        return ""
    if formula:
        return formula.group()
    number = _NUMBER.match(sentence)
    if number:
        more = _NUMBER_SUFFIX.match(sentence, number.end())
        return sentence[: more.end() if more else number.end()]
    return _last_formula_or_number(sentence) or (sentence if len(sentence) <= 80 else None)


def _without_cue(text: str) -> str | None:
    """A formula that opens the text ("$x$, where …"), bold text at its end, or its last formula or number."""
    if "\n" not in text and len(text) <= LONGEST_PHRASE and not is_prose(text):
        return text.strip() or None
    opening = _MATH.match(text)
    if opening and "\n" not in text and _EXPLAINED.match(text, opening.end()):
        return opening.group()
    text = _CHECK.sub("", text)
    if (bold_end := _BOLD_END.search(text)) and len(bold_end.group(1).split()) < 5:
        return _in_sentence(_CONNECTIVES.sub("", bold_end.group(1)).strip(" :：.。"))
    last_line = text.rstrip()[text.rstrip().rfind("\n") + 1 :]
    if _HAN.search(last_line):
        return _in_last_chinese_sentence(last_line[-LONGEST_SENTENCE:])
    if _GIVEN_UP.search(text[-300:]):
        return None
    if solutions := _EQUATIONS.search(text[-LONGEST_SENTENCE:]):
        return solutions.group()
    bold = _BOLD.findall(text, max(0, text.rfind("\n\n")))
    if bold:
        inner = bold[-1].strip(" :：.")
        if not _PROSE.search(inner) or _NUMBER.search(inner):
            return _in_sentence(inner)
    ending = text[-LONGEST_SENTENCE:]
    last_sentence = re.split(r"[.!?\n]\s+", ending.strip())[-1]
    if (
        _EITHER.search(last_sentence)
        and len({found.group() for found in _NUMBER.finditer(last_sentence)}) > 1
    ):
        return None
    return _last_formula_or_number(ending)


def _in_last_chinese_sentence(text: str) -> str | None:
    """The answer in the last sentence of a text, ignoring sentences that only check it."""
    sentences = [each for each in _CHINESE_SENTENCE.split(text) if each.strip()]
    while len(sentences) > 1 and _CHINESE_CHECK.match(sentences[-1].strip()):
        sentences.pop()
    return _in_chinese_sentence(sentences[-1].strip()) if sentences else None


def _in_chinese_sentence(sentence: str) -> str | None:
    """The value that the sentence states: a formula, a quantity with its unit, or words."""
    sentence = _CONNECTIVES.sub("", sentence.replace("**", "")).strip(' \t"“”')
    chosen = [
        found.group(1)
        for found in _CHOSEN.finditer(sentence)
        if not _REJECTED.search(sentence[max(0, found.start() - 4) : found.start()])
        and not _REJECTED.match(sentence[found.end() : found.end() + 4].lstrip())
    ]
    if chosen:
        return chosen[-1]
    if blank := _FIRST_BLANK.search(sentence):
        return sentence[blank.start() :]
    if division := _LEFT_OVER.search(sentence):
        return f"{division.group(1)}余{division.group(2)}"
    clause = re.split("[，,]", sentence)[-1]
    if _DOUBT.search(clause) or "不确定" in sentence:
        return "" if not _LISTED.search(clause) else clause[_LISTED.search(clause).start() :]  # type: ignore[union-attr]
    *_, copula = [None, *_COPULA.finditer(sentence)]
    tail = sentence[copula.end() :].strip(' "“”') if copula else ""
    if tail and not _HAN.search(_CHINESE_UNIT.sub("", _MATH.sub("", tail))):
        return tail
    quantities = [found.group() for found in _CHINESE_QUANTITY.finditer(sentence)]
    if quantities and not _QUALIFIED.search(sentence, 0, sentence.rfind(quantities[-1])):
        return quantities[-1]
    value = _last_formula_or_number(sentence)
    if value or any(mark.isdigit() for mark in sentence):
        return value or tail or None
    if numerals := _NUMERALS.findall(sentence):
        return str(numerals[-1])
    words = tail or sentence
    return words if words and len(words) <= LONGEST_WORDS else None


def _last_formula_or_number(text: str) -> str | None:
    if BROKEN_INLINE.search(text):
        return None
    last, end = None, -1
    for last_match in _MATH.finditer(text):
        last, end = last_match.group(), last_match.end()
        if _QUALIFIED.search(text, max(0, last_match.start() - 20), last_match.start()):
            last = None
    for match in _NUMBER.finditer(text, max(end, 0)):
        start, end = match.start(), match.end()
        last = _whole_run(text, start, end)
        if _QUALIFIED.search(text, max(0, start - 20), start) or _BOUND.match(text, end):
            last = None
    return last


def _whole_run(text: str, start: int, end: int) -> str:
    """The number at a position, or the expression that contains it: `x > 2`, `3x - 2`, `(1, 2)`, `√2`."""
    low, high = start, end
    while low > 0 and _RUN.match(text, low - 1):
        low -= 1
    while high < len(text) and _RUN_ON_RIGHT.match(text, high):
        high += 1
    number, run = text[start:end], text[low:high].strip(" .,")
    value = run.rpartition("=")[2].strip(" .,:*/+^|")
    if value == number.strip() or not value:
        return number
    bare = re.sub(r"[\s.,]", "", value)
    whole = value.count("(") == value.count(")") and bare not in (re.sub(r"[\s.,]", "", number), "")
    return value if whole and not re.fullmatch(r"[\d.,\s]+", value) else number
