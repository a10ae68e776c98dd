"""Checks that every written statement must pass, whatever its operation; each has a reason in plain words."""

from __future__ import annotations

import re

from mathloop.records import Language
from mathloop.writing.config import WritingConfig
from mathloop.writing.consistency import STRANGER, inconsistent, names_once

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]{2,}")
_OUTSIDE = re.compile(
    r"\b(?:above|previous|original|preceding|given|first|second|two)\s+(?:math\s+|word\s+)?problems?\b"
    r"|\bproblem\s+(?:above|1|2)\b|\b(?:as|is)\s+shown\b|\bin\s+the\s+(?:figure|diagram|graph|table|picture)\b"
    r"|\[asy\]|\\includegraphics|https?://|上题|原题|如图|上述|题目[一二]|下表|上表",
    re.IGNORECASE,
)
_SOLVED = re.compile(
    r"\\boxed|\b(?:the\s+)?(?:final\s+)?answer\s*(?:is\b|:)|\bsolution\s*:|\bstep\s+1\b|(?:答案|解)\s*(?:是|为|[:：])",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"[?？]|\b(?:find|compute|calculate|determine|evaluate|solve|simplify|prove|show|express|how\s+(?:many|much)|"
    r"what)\b|求|计算|多少|几|证明|化简|写出|解方程",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"\b(?:than|as)\s+([A-Z][a-z]+)(?=[.,;?])|比(小[\u4e00-\u9fff])")
"""Somebody with whom a number is compared."""
_SPECIAL = re.compile(r"<\|[^|<>]{1,40}\|>|</?s>")


def wrong_with(statement: str, language: Language, config: WritingConfig) -> str:
    """Why the statement cannot be a problem of this language; empty if nothing is wrong."""
    if len(statement) < config.shortest:
        return "too short"
    if len(statement) > config.longest:
        return "too long"
    if not _is_language(statement, language):
        return "in another language"
    if _SPECIAL.search(statement) or "```" in statement:
        return "it holds markup of a chat or of code"
    if _SOLVED.search(statement):
        return "it states an answer or a solution"
    if _OUTSIDE.search(statement):
        return "not self-contained: it speaks of something that is not there"
    if names_once(statement, (name for pair in _COMPARED.findall(statement) for name in pair if name)):
        return STRANGER
    if not _ASKS.search(statement):
        return "it asks nothing"
    return inconsistent(statement) if config.consistent else ""


def _is_language(statement: str, language: Language) -> bool:
    chinese, latin = len(_CHINESE.findall(statement)), len(_LATIN.findall(statement))
    return chinese > latin if language == "zh" else chinese == 0 and latin > 0
