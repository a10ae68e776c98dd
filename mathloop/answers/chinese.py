"""Rewrites Chinese phrases (不小于10, 根号3, 长为6米) as formulas."""

from __future__ import annotations

import re

from mathloop.answers.words import chinese_integer

_NUMERAL = r"(?:\d+(?:\.\d+)?|[零一二两三四五六七八九十百]+)"
_BLANK = re.compile(
    r"(?:^|[\s,;、.]*)第(?:[一二三四五六]|\d)(?:个)?空(?:应|答案)?(?:填写?)?(?:为|是)?\s*[:：]?\s*"
)
_ROOT = re.compile(rf"(?:({_NUMERAL})倍)?根号下?\s*\(?({_NUMERAL})\)?")
_ROOT_PART = re.compile(rf"({_NUMERAL})分之(\\sqrt\{{\d+(?:\.\d+)?\}})")
_ANSWER = re.compile("^(?:最终|正确)?的?(?:答案|选项)(?:应?(?:该)?(?:是|为|选))?:?\\s*")
_BLANK_NUMBER = re.compile(r"第([一二三四五六]|\d)个?空")
_MIXED = re.compile(r"(\d)又(\d+\s*/\s*\d+|\\frac)")
_COMPARED = (
    (re.compile("(?:大于|多于|高于)(?:或|或者)?等于|不(?:小于|少于|低于)|至少(?:为|是)?|≥"), r" \ge "),
    (re.compile("(?:小于|少于|低于)(?:或|或者)?等于|不(?:大于|超过|多于|高于)|至多(?:为|是)?|≤"), r" \le "),
    (re.compile("(?<!不)(?:大于|超过|多于|高于)"), " > "),
    (re.compile("(?<!不)(?:小于|少于|低于)"), " < "),
    (re.compile("不等于|不为(?=[-\\d])"), r" \ne "),
)
_SIGNED = re.compile(r"(正负|负)(?=[\d\\a-z])")
_FILLER = re.compile(
    r"^(?:恰好|正好|刚好|恰|一共|总共|共|只有|即|应?填|应?为)(?:有|是|为)?(?=[-\d\\(①-⑳零一二两三四五六七八九十])"
)
_IS_ROOT = re.compile("(?<=[\\d})])是(?:原|该|此|这个)?(?:分式)?方程的(?:解|根)$")
_CURVE = re.compile(
    r"^(?:椭圆|圆|直线|抛物线|双曲线|函数|曲线|轨迹)?的?(?:标准|一般)?(?:方程|解析式|表达式|关系式)?(?:为|是|:)?\s*"
    r"(?=[a-zA-Z\d(\\{][^\u4e00-\u9fff]*=)"
)
_NAMED = re.compile(
    r"(^|[,;、]\s*|且|和)([\u4e00-\u9fff]{1,8}?)(?:为|是|等于)\s*(?=[-\d\\(\[{a-z正负]|[零一二两三四五六七八九十])"
)
_MEASURED = re.compile(
    r"(^|[,;、]\s*|且|和)(长|宽|高|底|边长|半径|直径|周长|面积|体积|表面积|棱长|最大值|最小值|值|概率|速度|"
    r"平均数|中位数|众数|方差|极差|标准差)(?=[-\d\\])"
)
_QUADRANT_LIST = re.compile("^第?[一二三四](?:象限)?(?:[、,和或及\\s]+第?[一二三四](?:象限)?)+$")
_PER = re.compile(
    r"^每(小时|分钟|分|秒|天|时)(?:行驶|行|走|跑|飞行)?(\d+(?:\.\d+)?)\s*([\u4e00-\u9fffa-z]{1,4})$"
)
_OTHER = re.compile("[不没未非无或]|可能|一定|相反|倒数|平方|立方|一半|应$")
"""A phrase with one of these does not name the value itself."""
_HALF = re.compile(rf"^(?:({_NUMERAL})个)?半(小时|天|年|月|周|千克|公斤|斤|吨|米|升)$")
_AND_HALF = re.compile(rf"^({_NUMERAL})(个|倍|小时|天|年|千克|公斤|斤|吨|米|升)半$")
_TENTHS = re.compile(r"^([一二三四五六七八九]|\d)成([一二三四五六七八九]|\d|)$")
_DISCOUNT = re.compile(r"^打?([一二三四五六七八九]|\d)([一二三四五六七八九]|\d|)折$")


def rewrite(text: str) -> str:
    """The normalized answer with its Chinese phrases as formulas."""
    if "空" in text and _BLANK.match(text):
        numbers = [_digits(number) for number in _BLANK_NUMBER.findall(text)]
        if numbers != sorted(numbers):
            return text
        text = _BLANK.sub(";", text).strip("; ")
    text = _IS_ROOT.sub("", _ANSWER.sub("", text))
    text = _MIXED.sub(r"\1 \2", text)
    if "根号" in text:
        text = _ROOT.sub(_root, text)
        text = _ROOT_PART.sub(lambda match: rf"\frac{{{match[2]}}}{{{_digits(match[1])}}}", text)
    for pattern, relation in _COMPARED:
        text = pattern.sub(relation.replace("\\", r"\\"), text)
    text = _SIGNED.sub(lambda match: r"\pm " if match[1] == "正负" else "-", text).strip()
    text = _FILLER.sub("", text)
    if "象限" in text:
        text = _QUADRANT_LIST.sub(_quadrants, text)
    if "=" in text:
        text = _CURVE.sub("", text)
    text = _NAMED.sub(_named, text)
    text = _MEASURED.sub(lambda match: rf"{match[1]}\text{{{match[2]}}}=", text)
    if match := _PER.match(text):
        return f"{match[2]}{match[3]}/{match[1]}"
    if (match := _HALF.match(text)) or (match := _AND_HALF.match(text)):
        return f"{_digits(match[1] or '0')}.5{match[2]}"
    if match := _TENTHS.match(text):
        return f"{_digits(match[1])}{_digits(match[2] or '0')}%"
    if match := _DISCOUNT.match(text):
        return f"{_digits(match[1])}{_digits(match[2] or '0')}%"
    return text


def _root(match: re.Match[str]) -> str:
    return rf"{_digits(match[1]) if match[1] else ''}\sqrt{{{_digits(match[2])}}}"


def _named(match: re.Match[str]) -> str:
    before, name = match[1], match[2]
    return match[0] if _OTHER.search(name) else rf"{before}\text{{{name}}}="


def _quadrants(match: re.Match[str]) -> str:
    return ", ".join(f"第{mark}象限" for mark in match[0] if mark in "一二三四")


def _digits(numeral: str) -> str:
    value = chinese_integer(numeral)
    return numeral if value is None else str(value)
