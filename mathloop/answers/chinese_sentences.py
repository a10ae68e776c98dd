"""The answer that a Chinese sentence states."""

from __future__ import annotations

import re

from mathloop.answers.masking import FORMULA, NUMBER, has_broken_formula, is_cut_off
from mathloop.answers.retractions import is_temptation
from mathloop.answers.statements import is_premise
from mathloop.answers.units import UNITS

LONGEST_WORDS = 30
"""Characters of a sentence without a number that may be the answer as a whole."""
LONGEST_RUN = 300
"""Characters of an expression around a number."""

HAN = re.compile("[\u4e00-\u9fff]")
CONNECTIVES = re.compile(
    r"^(?:(?:因此|所以|故|综上所述|综上|于是|从而|即|答|therefore|thus|so|hence)[，,：:\s]*)+", re.IGNORECASE
)
_SENTENCE = re.compile(r"[。！？；\n]+|;\s")
_CHECK = re.compile("(?:验证|检验|验算|[(（])")
_DOUBT = re.compile(
    "不(?:一定|可能|能|会|应该?|再)?(?:是|为|等于|选|对)|并非|而非|不确定|还是|或许|也许|可能(?!性)|倒数|相反数|绝对值|之间"
    r"|\d\s*(?:到|至|或)\s*\d|[个只人元岁]\s*(?:或|还是)"
)
_LISTED = re.compile(r"(?:\d[\d./°%]*|\$[^$]+\$)\s*(?:或|和)\s*(?:\d|\$)[^\u4e00-\u9fff]*$")
COPULA = re.compile(
    "(?<![因成分作认])为|(?<!不)是|即(?!可)|等于|[填打在]|选(?:择(?![题项])|(?![择项]))|[:：](?!\\d)"
)
"""Words and signs before the value of something."""
_UNITS = "|".join(sorted((unit for unit in UNITS if not unit.isascii()), key=len, reverse=True))
UNIT = re.compile(f"或者?|[和且与、，；每]|{_UNITS}|[个只人本件条张组颗袋棵辆名岁支枚位次种]")
_MEASURED = rf"\d+(?:\.\d+)?\s*(?:平方|立方)?(?:{_UNITS})(?:/(?:{_UNITS}))?"
_QUANTITY = re.compile(rf"[-－]?{_MEASURED}(?:{_MEASURED})*")
_CHOSEN = re.compile(r"选[项择]?\s*([A-H])(?![a-zA-Z])")
_RIGHT = re.compile(
    r"(?<![A-Za-z])([A-H](?:\s?[、,，和]?\s?[A-H]){0,7})\s*(?:这?[一个两三四]?个?(?:选项|选择|说法|结论)|项)?\s*(?:都|均|也)?"
    r"(?:是?正确(?:的|选项|答案)?|是对的|对|符合(?:题意|要求|条件))(?=\s*(?:[，,；;。]|$))"
)
"""C选项正确."""
_SUPPOSED = re.compile("若|假设|假如|如果|只有当|是否|不是|并非|[?？吗]")
_REJECTED = re.compile("不|排除|非|错|误")
_DROPPED = re.compile(r"[，,、]\s*[^，,、。]{1,20}?(?:舍去|不合题意(?:，?舍去)?|不符合题意|是增根)")
_WRONG = re.compile("(?:错误|不正确|不对)的[^，,。]{0,6}$")
_APPLIED = re.compile(
    "(?:^|是|为|等于)(-?[0-9]{1,30}(?:[.][0-9]{1,30})?的(?:倒数|相反数|绝对值|算术平方根|立方根|一半))$"
)
_OF_THE_ANSWER = re.compile("(?:答案|^案)的(?!值)[^，,。]{1,10}[是为]")
_OF_VARIABLE = re.compile(
    r"(?:[A-Za-z]的(?:平方|立方|一半|[\d两二三四五]倍|倒数|相反数|绝对值|个位数?字?)|(?<![\w.])\d+[A-Za-z]|(?<![A-Za-z])[A-Za-z](?:[²³!]|[-+*/]\d{1,9})"
    r"|[A-Za-z][与和加][A-Za-z]的(?:和|差|积|商))\s*$"
)
"""What is not the value itself: 2k是6."""
_FIRST_BLANK = re.compile("第(?:一|1)(?:个)?空")
_LEFT_OVER = re.compile(r"(\d+)[^\d，,。]{0,6}[，,]?[^\d，,。]{0,4}余[^\d，,。余]{0,3}(\d+)")
_NUMERAL = "[零一二两三四五六七八九十百千万]"
_NUMERALS = re.compile(
    f"{_NUMERAL}{{1,20}}分之{_NUMERAL}{{1,20}}|{_NUMERAL}{{2,20}}(?={_UNITS}|[个只人本件条张组颗袋棵辆名岁支枚位次种])"
)
_QUALIFIED = re.compile(
    r"(?:(?:至少|至多|最多|最少|不少于|不多于|多于|少于|高于|低于)(?:有|是|为|需要?|要)?|不是|大于|小于|除以|乘以|趋于|趋近于?|超过|不足|不等于|零下|负|根号"
    r"|不到|将近|接近|除了?|非|第"
    r"|\b(?:not|least|most|than|over|under|except|below|above|between))\s*$",
    re.IGNORECASE,
)
"""Words before a number that change its meaning ("至少10")."""
_BOUND = re.compile(
    r"\s*(?:[个只人本件条张组颗袋棵辆名岁支枚位次种元米][多余](?![边项])|整除|互质|的幂|位数|结尾|开头|之|[个只人本件条张组颗袋棵辆名岁支枚位次种元米]?的一半|以上|以下|以内|以外|左右|上下|出头|多(?![边项])|余(?!弦)|几|来[个人只]|或以上|及以上|成|折|打|万|亿|千(?![克米])|百|"
    r"的(?:倒数|相反数|绝对值|约数|因数|倍数|算术平方根|平方根|立方根|"
    r"平方|立方|一半)|分之|倍的|or more|or less|or fewer)"
)
_RUN = re.compile(r"[\d., ()+*/^:=<>≤≥≠√π|²³!−-]|(?<![A-Za-z'’])[A-Za-z](?![A-Za-z])")
_RUN_ON_RIGHT = re.compile(
    r"[\d., ()+*/^:=<>≤≥≠√π|²³!−-]|(?<=\d)[abcdefijknopqruvwxyz](?![A-Za-z\d])"  # the others may be units
)
_EQUATION = re.compile(r"(?=[^=]*[A-Za-z])(?=[^=]*[\d+*/^√²³!−-])[^=<>≤≥]+=[^=A-Za-z]+")
"""2x = 10 states no value of x."""
_LATIN = re.compile(r"[A-Za-z\\]")
_BLANKS = re.compile(r"[\s.,]")


def in_chinese_text(text: str) -> str | None:
    """The answer in the last sentence of a text, ignoring sentences that only check it."""
    sentences = [each for each in _SENTENCE.split(text) if each.strip()]
    while len(sentences) > 1 and _CHECK.match(sentences[-1].strip()):
        sentences.pop()
    if not sentences or is_premise(sentences[-1].strip()) or is_cut_off(sentences[-1]):
        return None
    return in_chinese_sentence(sentences[-1].strip())


def in_chinese_sentence(sentence: str) -> str | None:
    """The value that the sentence states: a formula, a quantity with its unit, or words."""
    sentence = CONNECTIVES.sub("", sentence.replace("**", "")).strip(' \t"“”')
    if is_temptation(sentence + " "):
        return ""
    chosen = [
        found.group(1)
        for found in _CHOSEN.finditer(sentence)
        if not _REJECTED.search(sentence[max(0, found.start() - 4) : found.start()])
        and not _REJECTED.match(sentence[found.end() : found.end() + 4].lstrip())
    ]
    if chosen:
        return chosen[-1]
    if right := right_letters(sentence):
        return right
    if blank := _FIRST_BLANK.search(sentence):
        return sentence[blank.start() :]
    if division := _LEFT_OVER.search(sentence):
        return f"{division.group(1)}余{division.group(2)}"
    if applied := _APPLIED.search(sentence):
        return applied[1]
    clause = re.split("[，,]", sentence)[-1]
    if _DOUBT.search(clause) or "不确定" in sentence:
        return "" if not _LISTED.search(clause) else clause[_LISTED.search(clause).start() :]  # type: ignore[union-attr]
    *_, copula = [None, *COPULA.finditer(sentence)]
    if copula and (bound := _QUALIFIED.search(sentence, 0, copula.end())):
        return sentence[bound.start() :]
    if _OF_THE_ANSWER.search(sentence) or (copula and _OF_VARIABLE.search(sentence, 0, copula.start())):
        return ""
    tail = sentence[copula.end() :].strip(' "“”') if copula else ""
    if copula and _WRONG.search(sentence[max(0, copula.start() - 12) : copula.start()]):
        return ""
    if tail and not HAN.search(UNIT.sub("", FORMULA.sub("", tail))):
        return tail
    quantities = [found.group() for found in _QUANTITY.finditer(sentence)]
    if quantities and not _is_qualified(sentence, sentence.rfind(quantities[-1]), quantities[-1]):
        return quantities[-1]
    tail = re.split("[)）]", tail)[0]
    if tail and len(tail) <= LONGEST_WORDS and _begins_with_value(tail):
        return tail
    value = last_formula_or_number(sentence)
    if value or any(mark.isdigit() for mark in sentence):
        return value or tail or None
    if numerals := _NUMERALS.findall(sentence):
        return str(numerals[-1])
    words = tail or sentence
    return words if words and len(words) <= LONGEST_WORDS else None


def right_letters(sentence: str) -> str:
    """The letters of C选项正确, or of several in order; empty if the sentence calls none right."""
    found = _RIGHT.findall(sentence)
    if not found or _SUPPOSED.search(sentence):
        return ""
    return "".join(sorted({letter for letters in found for letter in letters} & {*"ABCDEFGH"}))


def _is_qualified(sentence: str, start: int, value: str) -> bool:
    return bool(
        _QUALIFIED.search(sentence, 0, start) or _BOUND.match(sentence, start + len(value)) or start < 0
    )


def _begins_with_value(tail: str) -> bool:
    """Whether a number with words that change it is the whole tail: 零下5度, 10多个, 8的立方根."""
    number = NUMBER.search(tail)
    return number is not None and (
        _BOUND.match(tail, number.end()) is not None or _QUALIFIED.search(tail, 0, number.start()) is not None
    )


def last_formula_or_number(text: str) -> str | None:
    """The last formula or expression around a number, if no word before or after it changes it."""
    if has_broken_formula(text):
        return None
    last, end = None, -1
    for match in FORMULA.finditer(text):
        last, end = match.group(), match.end()
        if _QUALIFIED.search(text, max(0, match.start() - 20), match.start()):
            last = None
    *_, number = [None, *NUMBER.finditer(text, max(end, 0))]
    if number is None:
        return last
    start, end = number.start(), number.end()
    if _QUALIFIED.search(text, max(0, start - 20), start) or _BOUND.match(text, end):
        return None
    return _whole_run(text, start, end)


def _whole_run(text: str, start: int, end: int) -> str | None:
    """The number at a position, or the expression that contains it: `x > 2`, `3x - 2`, `(1, 2)`, `√2`."""
    low, high = start, end
    while low > max(0, start - LONGEST_RUN) and _RUN.match(text, low - 1):
        low -= 1
    while high < min(len(text), end + LONGEST_RUN) and _RUN_ON_RIGHT.match(text, high):
        high += 1
    number, run = text[start:end], text[low:high].strip(" .,")
    if not text[low:start].strip() and _LATIN.match(text, low - 1):
        return None  # sin 2
    value = run.rpartition("=")[2].strip(" .,:*/+^|")
    if value == number.strip() or not value:
        return run if _EQUATION.fullmatch(run) else number
    bare = _BLANKS.sub("", value)
    whole = value.count("(") == value.count(")") and bare not in (_BLANKS.sub("", number), "")
    return value if whole and not re.fullmatch(r"[\d.,\s]+", value) else number
