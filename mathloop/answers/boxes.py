"""Boxes of a response: the last one with its neighbors, without those that the response denies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mathloop.answers.retractions import LONGEST_BEFORE, is_temptation, mentions

LONGEST_ANSWER = 20_000
"""Characters read inside a box."""
LONGEST_GAP = 40
"""Characters between two boxes that still belong to one answer ("\\boxed{1} and \\boxed{2}")."""
MOST_BOXES = 24

_FRAME = re.compile(r"\\f(?:rame)?box(?=\s*\{)")
_BARE = (
    r"(?:[0-9A-Za-z+−-]|\((?=[^()\n$]{1,100}\))"
    r"|\\(?:[dtc]?frac|sqrt|pi|text|mathrm|math[bs]f|infty|emptyset|pm|left)(?![A-Za-z])(?:[ ](?=[\d{\\]))?)"
    r"(?:[^\s$\\.,{}]|[.,](?=\d)|,\s?(?=[^()\n$]{1,60}\))|\\[A-Za-z]{1,20}(?:[ ](?=[\d{\\]))?|\\[%$!,;{}]"
    r"|\{[^{}\n$]{0,100}(?:\{[^{}\n$]{0,100}\}[^{}\n$]{0,100}){0,9}\}){0,200}"
)
"""An answer without braces around it: \\boxed 5, \\boxed\\frac12."""
_BOX = re.compile(rf"boxed\s*(\{{|{_BARE})")
_WITH_CONTENT = re.compile(rf"\\boxed\s*(?:\{{|{_BARE})")
OPEN_BOX = re.compile(r"\\f?boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|[和或与及、]")
_WORD = re.compile(r"[a-zA-Z\u4e00-\u9fff]")
_COMMAND = re.compile(r"\\+[a-zA-Z]+|(?<![a-zA-Z])[a-zA-Z](?:_\{?\w+\}?)?\s*=")
_SECOND_BLANK = re.compile(r"第[二三四2-4]个?空|(?<![a-zA-Z])[a-zA-Z]_\{?\w+\}?")
_PART = re.compile(r"(?:\b[Pp]art\s*)?\(\s?(?:[b-h]|[2-9]|ii|iii|iv)\s?\)\s*[:：]?")
"""The mark of a later part of a problem: (b)."""
_SUSPICIOUS = (
    "not", "n't", "n’t", "never", "wrong", "incorrect", "false", "except", "exclud", "other than",
    "anything but", "would", "could", "might", "unless", "than", "exceed", "least", "most", "above", "below",
    "up to", "only", "rather", "instead", "impossible", "rule", "neither", "nor", "write", "give", "put",
    "enter", "return", "report", "invalid", "too ", "fail", "?", "？", "不", "非", "错", "除", "若", "舍",
)  # fmt: skip
"""A box is only denied, or part of an instruction, if one of these is near it."""
_NOT_BEFORE = re.compile(
    r"(?:\b(?:(?:smaller|less|fewer|lower|greater|larger|bigger|higher|more)\s+than|exceeds?|at\s+(?:least|most)"
    r"|above|below"
    r"|up\s+to|(?:wrong|incorrect|false)\s+(?:answer|value|result|choice)\s+(?:is|was|would\s+be)|not|cannot|never|except(?:\s+for)?|excluding|excludes?|unlike|neither|nor|other\s+than"
    r"|anything\s+but"
    r"|rather\s+than|instead\s+of|ruled?\s+out|n['’]t)|不是|并非|不为|不等于|不可能是|排除|除了?)"
    r"(?:\s+(?:be|equal|equal\s+to|get|have|definitely|certainly|possibly|the\s+value"
    r"|the\s+answer))*\s*[$\\(\[\s]*$",
    re.IGNORECASE,
)
_WRONG_AFTER = re.compile(
    r"[$\\)\]\s]*,?\s*(?:(?:which|that|but\s+(?:this|that|it))\s+)?(?:only\s+if\b|unless\b|(?:is|was|would\s+be|seems)\s+(?:\w+\s+)?"
    r"(?:wrong|incorrect|false|not|impossible|invalid|excluded|ruled\s+out)"
    r"|is\s+too\s+(?:small|large|big|high|low|many|few)\b|does\s*(?:not|n['’]t)\s+(?:satisfy|work|fit|hold)\b"
    r"|fails\b|[?？]\s*(?:that|this|it)\s+(?:fails|is\s+too|does\s*(?:not|n['’]t))"
    r"|isn['’]t|can(?:not|['’]t)|[?？]\s*(?:no|wrong|不)|是?(?:错|不对|不正确|不可能|舍去))",
    re.IGNORECASE,
)
_WOULD_BEFORE = re.compile(
    r"\b(?:would|could|might)\b[^.\n]{0,40}$|(?:如果|假如|若)[^。\n]{0,40}$", re.IGNORECASE
)
_BUT_AFTER = re.compile(
    r"[^.!?。！？\n]{0,60}?(?:\bif\b|\bbut\b|\bhowever\b|\bunless\b|\bwere\b|\bhad\b|但|可是)"
    r"|[^.!?\n]{0,40}[.]\s*(?:but|however)\b",
    re.IGNORECASE,
)
_INSTRUCTED = re.compile(
    r"\b(?:write|give|put|enter|return|output|report)\s*(?:(?:your|the)\s+(?:final\s+)?answer\s+(?:in|as"
    r"|within|inside)\s*)?"
    r"[$\\(\[\s]*$",
    re.IGNORECASE,
)
_OPERATOR = re.compile(
    r"(?:(?:^|[$=(])\s?[-−]|[\w)}]\s?[-+*/×÷]\s?|\\(?:cdot|times|div)\s?|\\sqrt\s?\{?|\\frac\s?\{|[\^_]\s?\{?|\\neq?\s?|≠\s?"
    r"|(?:[\w)}]\s?[<>≤≥]|\\(?:leq?|geq?|lt|gt|leqslant|geqslant))\s?)$"
)
_OPENED = tuple("$([=:")
"""No operator ends with one of these; a fast test."""
_OPERATED = re.compile(
    r"\^(?!\s?\{?\s?\\circ)|_|\s?[*/]\s?\d|\s?\\(?:cdot|times|div)\b|\s?\+\s?[\d\\]|[xyzni](?![A-Za-z])|\\pi\b|\\sqrt"
)
_BLANK = re.compile(r"[^\n.]{0,60}?=")
"""2 + □ = 9: the box is what is asked for."""
_CROSSED_OUT = re.compile(r"(?:~~|\\[bx]?cancel\s?\{|\\sout\s?\{)\$?$")
_IF = re.compile(r"\bif\b", re.IGNORECASE)


class Box(NamedTuple):
    """A closed box with content, and where it stands in its text."""

    start: int
    end: int
    content: str


def framed_as_boxed(text: str) -> str:
    """The text with each \\fbox{} and \\framebox{} as a \\boxed{}."""
    return _FRAME.sub(r"\\boxed", text)


def has_box(text: str) -> bool:
    """Whether a box with content, or one that is not closed, is in the text."""
    return _WITH_CONTENT.search(text) is not None


def last_box(text: str, last: Box | None = None) -> str | None:
    """The content of the last box, joined with the boxes just before it ("\\boxed{1} and \\boxed{2}").

    `last` is that box where the caller has it already.
    """
    if last is not None:
        near = text[max(0, last.start - LONGEST_GAP - 2) : last.start]
        if "}" not in near and "boxed" not in near:
            return last.content.strip() or None
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    marked = False
    start = len(text)
    for box_start, box_end, content in _boxes_from_the_end(text):
        if parts and box_end > start:  # around the boxes before: \boxed{\boxed{42}}
            inside = sum(other > box_start and end < box_end for other, end in places)
            parts, places = parts[: len(parts) - inside], places[: len(places) - inside]
            content = _unboxed(content)
        elif parts:
            gap = text[box_end:start]
            if not _joins(gap):
                break
            marked = marked or _PART.search(gap) is not None
        parts.append(content.strip())
        places.append((box_start, box_end))
        start = box_start
    if marked:  # the order of parts (a) and (b) matters
        return "; ".join(reversed(parts))
    return ", ".join(dict.fromkeys(reversed(parts))) or None


def without_denied(text: str) -> tuple[str, Box | None]:
    """The text without last boxes that it calls wrong, or that only say where to write the answer.

    With it comes the last box that stands, None if there is none.
    """
    for box in _boxes_from_the_end(text):  # a cut does not move the boxes before it
        start, end, _ = box
        if is_temptation(text[max(0, start - LONGEST_BEFORE) : start].rstrip("\\f")):
            text = f"{text[:start].rstrip('$')} {text[end:].lstrip('$')}"
            continue
        before, after = text[max(0, start - 60) : start], text[end : end + 80]
        if _is_operand(before[-11:].rstrip("\\f"), after):
            text = f"{text[:start].rstrip('$')} {text[end:].lstrip('$')}"
            continue
        if not mentions((before + after).lower(), _SUSPICIOUS):
            return text, box
        here = before[max(before.rfind("."), before.rfind("\n"), before.rfind("。")) + 1 :]
        instructed = _INSTRUCTED.search(before) and _IF.search(here + after[:40])
        supposed = _WOULD_BEFORE.search(here) and _BUT_AFTER.match(after)
        if not (instructed or supposed or _NOT_BEFORE.search(before) or _WRONG_AFTER.match(after)):
            return text, box
        text = f"{text[:start].rstrip('$')} {text[end:].lstrip('$')}"
    return text, None


def _is_operand(before: str, after: str) -> bool:
    """Whether a box is part of an expression with another value, or crossed out; not if it fills a blank."""
    if ("~~" in before or "cancel" in before or "sout" in before) and _CROSSED_OUT.search(before):
        return True
    operated = before.rstrip()[-1:] not in _OPENED and _OPERATOR.search(before)
    return bool(operated or _OPERATED.match(after)) and not _BLANK.match(after)


def _boxes_from_the_end(text: str) -> Iterator[Box]:
    """Closed boxes with content, last first."""
    start = len(text)
    for _ in range(MOST_BOXES):
        start = text.rfind("boxed", 0, start)
        if start < 0:
            return
        match = _BOX.match(text, start)
        if match is None or not text[max(0, start - 2) : start].endswith(("\\", "\\f")):
            continue
        if match.group(1) != "{":
            yield Box(start, match.end(), match.group(1))
            continue
        close = _closing_brace(text, match.end() - 1)
        if close is not None and not text[match.end() : close].isspace() and close > match.end():
            yield Box(start, close + 1, text[match.end() : close])


def _unboxed(content: str) -> str:
    """The content of a box without the boxes in it, but with what they hold."""
    for _ in range(MOST_BOXES):
        box = next(_boxes_from_the_end(content), None)
        if box is None:
            break
        before = content[: box.start].removesuffix("f").removesuffix("\\")
        content = f"{before}{box.content}{content[box.end :]}"
    return content


def _closing_brace(text: str, opening: int) -> int | None:
    first = text.find("}", opening, opening + LONGEST_ANSWER)
    if "{" not in text[opening + 1 : first] and "\\" not in text[opening:first]:
        return first if first >= 0 else None
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
    words = _COMMAND.sub(" ", _SECOND_BLANK.sub(" ", _PART.sub(" ", gap)))
    return _CONNECTIVE.search(words) is not None or _WORD.search(words) is None
