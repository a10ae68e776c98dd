"""Numbers and common phrases in words, English and Chinese."""

from __future__ import annotations

import re
from fractions import Fraction

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TIES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ENGLISH = {word: value for value, word in enumerate(_SMALL)} | {
    word: 10 * (index + 2) for index, word in enumerate(_TIES)
}
_SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = (
    "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"
)  # fmt: skip
_PARTS = {word: value + 3 for value, word in enumerate(_ORDINALS)} | {
    "half": 2, "halve": 2, "quarter": 4, "hundredth": 100, "thousandth": 1000, "millionth": 10**6,
}  # fmt: skip
_PLACES = {"first": 1, "second": 2} | {word: value + 3 for value, word in enumerate(_ORDINALS)}
_DIGITS = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10**4, "亿": 10**8}
_CHINESE = re.compile("[零〇一二两三四五六七八九十百千万亿]+")
_CHINESE_DECIMAL = re.compile("([零〇一二两三四五六七八九十百千]+)点([零〇一二三四五六七八九]+)")
_CHINESE_FRACTION = re.compile("(负?)(?:(.+?)又)?(.+?)分之(.+)")
_SCALED = re.compile(
    r"([-+]?\d+(?:,\d{3})*(?:\.\d+)?)\s*(百万|千万|百亿|千亿|万|亿|百|千|(?:dozen|hundred|thousand|million|billion"
    r"|trillion)s?)",
    re.IGNORECASE,
)
_MIXED_SCALES = re.compile(r"(?:\d+(?:\.\d+)?[零]?(?:[千百]?[万亿]|[千百]))+\d*")
_SCALE_STEP = re.compile(r"(\d+(?:\.\d+)?)([千百]?[万亿]|[千百])?")
_PHRASES = {
    "全体实数": "all real numbers", "任意实数": "all real numbers", "一切实数": "all real numbers",
    "实数集": "all real numbers", "real numbers": "all real numbers", "all reals": "all real numbers",
    "全体整数": "all integers", "整数集": "all integers", "set of integers": "all integers",
    "set of all integers": "all integers", "自然数集": "all natural numbers",
    "有理数集": "all rational numbers",
    "set of all real numbers": "all real numbers", "set of real numbers": "all real numbers",
    "是": "yes", "对": "true", "正确": "true", "错": "false", "错误": "false", "否": "no", "不是": "no",
    "不对": "false", "不正确": "false",
    "无解": "no solution", "方程无解": "no solution", "no solutions": "no solution",
    "空集": "empty set", "\\emptyset": "empty set", "\\varnothing": "empty set",
    "不存在": "does not exist", "dne": "does not exist", "奇数": "odd", "偶数": "even",
    "第1象限": "quadrant i", "第2象限": "quadrant ii", "第3象限": "quadrant iii", "第4象限": "quadrant iv",
    "第一象限": "quadrant i", "first quadrant": "quadrant i", "第二象限": "quadrant ii",
    "second quadrant": "quadrant ii", "第三象限": "quadrant iii", "third quadrant": "quadrant iii",
    "第四象限": "quadrant iv", "fourth quadrant": "quadrant iv", "undefined": "undefined",
    "无意义": "undefined", "东": "east", "南": "south", "西": "west", "北": "north", "真": "true",
    "假": "false", "星期一": "monday", "星期二": "tuesday", "星期三": "wednesday", "星期四": "thursday",
    "星期五": "friday", "星期六": "saturday", "星期日": "sunday", "星期天": "sunday",
    "无穷大": "infinity", "无理数": "irrational", "有理数": "rational", "椭圆": "ellipse",
    "no real solutions": "no real solution", "no real roots": "no real solution",
    "no real root": "no real solution", "无实数根": "no real solution",
    "infinitely many": "infinitely many solutions", "infinite solutions": "infinitely many solutions",
    "无数解": "infinitely many solutions", "无数个解": "infinitely many solutions",
    "无穷多解": "infinitely many solutions", "limit does not exist": "does not exist",
    "limit dne": "does not exist", "极限不存在": "does not exist",
    "圆": "circle", "双曲线": "hyperbola", "抛物线": "parabola", "直线": "line",
}  # fmt: skip
_REWRITTEN = (
    (re.compile("没有"), "无"),
    (re.compile("[周礼]拜?(?=[一二三四五六日天]$)"), "星期"),
    (re.compile("(?<=[分要])(?:而不|非)"), "不"),
    (re.compile("又不"), "也不"),
    (re.compile("充分必要"), "充要"),
    (re.compile("(?<=[分要])条件$"), ""),
    (
        re.compile(
            "^(?:原|该|此|这个?|本)?(?:分式|一元二次)?(?:方程组?|不等式组?|命题|说法|结论|判断|题)(?:是|为)?(?=[无有错正不真假])"
        ),
        "",
    ),
    (re.compile("^(?:四边形|三角形|图形|它|这|该|此)是(?=[\u4e00-\u9fff]{2})"), ""),
    (re.compile("^(?:是|为|向|互相|相互|保持|一个|只有)(?=[\u4e00-\u9fff])(?!的$)"), ""),
    (re.compile("^一个(?=[\u4e00-\u9fff])"), ""),
    (re.compile("^不存在(?:这样|符合|满足|这种).*$"), "不存在"),
    (re.compile("(?<=[\u4e00-\u9fff])(?:了|的)$"), ""),
    (re.compile("无数多"), "无数"),
    (re.compile("无实(?:数)?(?:根|解)"), "无实数根"),
    (re.compile("正三角形"), "等边三角形"),
    (re.compile("命题$"), ""),
    (re.compile("°"), "度"),
)
"""Chinese variants with the same meaning."""
_ORDINAL = re.compile(r"(\d{1,9})(?:st|nd|rd|th)")
_ARTICLE = re.compile(
    r"^there\s+(?:is|are)\s+(?:an?\s+)?|^(?:on\s+|in\s+)?(?:the|a|an)\s+|^(?:on|in)\s+(?=\w)"
)
_MEANT = re.compile(r"[\d∉∈<>=]")
_NOISE = re.compile(r"[\s,.;:!?\"'“”()\-]+")


def phrase(text: str) -> str:
    """Words in comparable form: one spelling for both languages, no case, article or punctuation."""
    if _MEANT.search(text):  # signs, points and brackets next to numbers have a meaning
        words = re.sub(r"\s+", " ", text.lower()).strip(" .,;:!。")
    else:
        words = _NOISE.sub(" ", text.lower()).strip()
    if not words.isascii():
        for pattern, replacement in _REWRITTEN:
            words = pattern.sub(replacement, words)
    words = _ARTICLE.sub("", _PHRASES.get(words, words))
    return _PHRASES.get(words, words)


_SUBJECT = re.compile("^(?:(?:四边形|三角形|图形|△)\\s*[a-z]{1,5}|[a-z△∠]{1,5})\\s*是(?=[\u4e00-\u9fff]{2})")


def without_subject(words: str) -> str:
    """△ABC是直角三角形 as 直角三角形."""
    return _SUBJECT.sub("", words)


def read_words(text: str) -> Fraction | None:
    """The value of a number in words ("three quarters", "三又二分之一", "百分之十", "3万"), else None."""
    if len(text) > 80:
        return None
    text = text.strip()
    if match := _SCALED.fullmatch(text):
        return Fraction(match.group(1).replace(",", "")) * scale_of(match.group(2))
    if text.isascii():
        if match := _ORDINAL.fullmatch(text.lower()):
            return Fraction(match.group(1))
        return _english(text.lower())
    if _MIXED_SCALES.fullmatch(text):
        return _mixed_scales(text)
    if match := _CHINESE_FRACTION.fullmatch(text):
        sign, whole, bottom, top = match.groups()
        whole_value = chinese_integer(whole) if whole else 0
        bottom_value, top_value = chinese_integer(bottom), chinese_integer(top)
        if bottom_value and top_value is not None and whole_value is not None:
            value = whole_value + Fraction(top_value, bottom_value)
            return -value if sign else value
        return None
    if match := _CHINESE_DECIMAL.fullmatch(text):
        whole_part, places = chinese_integer(match.group(1)), match.group(2)
        digits = "".join(str(_DIGITS[mark]) for mark in places)
        return None if whole_part is None else Fraction(f"{whole_part}.{digits}")
    if text in ("一半", "半"):
        return Fraction(1, 2)
    negative = text.startswith("负")
    value_or_none = chinese_integer(text.removeprefix("负"))
    return None if value_or_none is None else Fraction(-value_or_none if negative else value_or_none)


def scale_of(word: str) -> int:
    """The factor of `万`, `千万`, `million`, `dozens`."""
    if not word.isascii():
        factor = 1
        for mark in word:
            factor *= (_TENS | _LARGE)[mark]
        return factor
    word = word.lower().removesuffix("s")
    return 100 if word == "hundred" else _SCALES[word]


def _mixed_scales(text: str) -> Fraction | None:
    """3亿5000万, 2万5千: steps of falling size."""
    total, ceiling = Fraction(0), None
    for digits, scale in _SCALE_STEP.findall(text.replace("零", "")):
        size = scale_of(scale) if scale else 1
        value = Fraction(digits) * size
        if ceiling is not None and value >= ceiling:
            return None
        total, ceiling = total + value, size
    return total


def chinese_integer(text: str) -> int | None:
    """`三百零五` → 305, None if it is not a Chinese integer; also reads plain digits."""
    if text.isascii() and text.isdigit() and len(text) < 30:
        return int(text)
    if not _CHINESE.fullmatch(text):
        return None
    if len(text) > 2 and text[-1] in _DIGITS and text[-2] in "百千万亿":  # 一百五 is 150
        unit = (_TENS | _LARGE)[text[-2]]
        before = chinese_integer(text[:-1])
        return None if before is None else before + _DIGITS[text[-1]] * unit // 10
    total = section = digit = 0
    for mark in text:
        if mark in _DIGITS:
            if digit:  # a sequence of digits: 二〇二四
                return (
                    int("".join(str(_DIGITS[each]) for each in text))
                    if all(m in _DIGITS for m in text)
                    else None
                )
            digit = _DIGITS[mark]
        elif mark in _TENS:
            section += (digit or 1) * _TENS[mark]
            digit = 0
        else:
            total = (total + section + digit) * 10**8 if mark == "亿" else total + (section + digit) * 10**4
            section = digit = 0
    return total + section + digit


def _english(text: str) -> Fraction | None:
    words = re.sub(r"\s+|(?<=[a-z])-(?=[a-z])", " ", text).replace(" and a half", " and one half").split(" ")
    negative = words[0] in ("negative", "minus")
    words = words[1:] if negative else words
    if not words:
        return None
    value = _english_value(words)
    return -value if negative and value is not None else value


def _english_value(words: list[str]) -> Fraction | None:
    part = words[-1].removesuffix("s")
    if part in _PARTS and len(words) > 1:
        head = words[:-1]
        if "and" in head:
            split = len(head) - 1 - head[::-1].index("and")
            whole, top = _english_integer(head[:split]), _english_integer(head[split + 1 :])
            return None if whole is None or top is None else whole + Fraction(top, _PARTS[part])
        top = 1 if head in (["a"], ["an"]) else _english_integer(head)
        return None if top is None else Fraction(top, _PARTS[part])
    if len(words) == 1 and (place := _PLACES.get(words[0])):
        return Fraction(place)
    value = _english_integer(words)
    return None if value is None else Fraction(value)


def _english_integer(words: list[str]) -> int | None:
    """`two hundred and five thousand` → 205,000; None for words in another order ("two and three")."""
    if len(words) == 1 and words[0].isdigit() and len(words[0]) < 20:
        return int(words[0])
    total = section = 0
    ceiling = 10**15
    before = ""
    for word in words:
        if word in _ENGLISH:
            value = _ENGLISH[word]
            room = 100 if value >= 10 else 10
            if (
                section % room
                or (before in _ENGLISH and before not in _TIES)
                or (value == 0 and len(words) > 1)
            ):
                return None
            section += value
        elif word == "hundred":
            if section >= 100:
                return None
            section = (section or 1) * 100
        elif word in _SCALES:
            if _SCALES[word] >= ceiling:
                return None
            ceiling = _SCALES[word]
            total += (section or 1) * ceiling
            section = 0
        elif word != "and" or before not in ("hundred", *_SCALES):
            return None
        before = word
    return total + section if words and before != "and" else None
