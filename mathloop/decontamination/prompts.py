"""Prompts around a question: "Solve the following problem … Put your answer in \\boxed{}."."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate

from mathloop.decontamination.batches import Passage

HINTS = (
    *("nswer", "step", "roblem", "uestion", "boxed", "ssistant", "nstruction", "xpert", "INST", "<|", "Q:"),
    *("答", "题", "步"),
)
_EDGE = 48
"""A prompt has one of the hints among as many first or last characters of a row's first text. The compiled
filter looks for the ASCII ones."""
_CUT = re.compile(
    r"(?<=[.!?。！？:：])\s+|(?<=[。！？：])|\s*\n\s*|\s*<\|[^|<>\n]{1,40}\|>\s*|\s*\[/?INST\]\s*|(?<=[$)\]}])\s+(?=[A-Z])"
    r"|\s+(?=(?:Please|Put\s+your|Enclose|Let's\s+think|Return\s+your|Give\s+your)\b)"
)
"""Between sentences, lines and the marks of a chat template."""
_ASCII_CUT = re.compile(rf"(?=[\s<\[])(?:{_CUT.pattern})")
"""The same for ASCII, faster: most characters begin none of these."""
_LABEL = re.compile(
    r"[#*\s]*(?:(?:math(?:ematics)?\s+)?(?:problem|question|task|exercise)(?:\s+statement)?|Q|user|human|题目|问题)"
    r"\s*\d*\s*[*]*\s*[:：]\s*[*]*\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d|[=+<>^√]|\$[^$]*\$")
"""A sentence with a number or formula is part of the question."""
_BOX = re.compile(r"\$?\\+boxed\s*(?:\{[^{}]*\})?\$?|\$?\\+box\b\$?|\*\*|\$\\+text\{[^{}]*\}\$|\$Answer\b")
_KINDS = r"(?:problems?|questions?|tasks?|exercises?)"
_ROLES = r"(?:assistant|expert|mathematician|teacher|tutor|ai|student|model|solver|professor)"
_HEADS = r"(?:instruction|input|response|answer|solution|output|system|user|assistant|human|a|q)"
_MARKED = re.compile(
    r"""
    (?=[bcefgprstwy逐一分最答解写推详])(?:
    \bstep[-\s](?:by[-\s]|at\s+a\s+)(?:step|time)\b | \bchain\s+of\s+thought\b | \bboxed\b
    | \bfinal\s+(?:answer|result)\b | \byour\s+(?:final\s+)?(?:response|answer)\b
    | \b(?:put|enclose|place|give|present|box|wrap|state|end|return)\b.*\banswer\b
    | \bthe\s+answer\s+(?:should|must)\b
    | 逐步|一步一步|一步步|分步|最终答案|最后答案|答案放|答案写|解题过程|写出过程|推理过程
    | 详细(?:解答|步骤|过程))
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""What makes any sentence an instruction."""
_INSTRUCTION = re.compile(
    rf"""
    (?:please\s+)?(?:solve|answer|consider|read|work\s+(?:out|through))\s+(?:carefully\s+)?
      (?:the\s+following|the|this|these|that)\b[^:.]*\b{_KINDS}\b.*
    | (?:here|below|following)\s+is\b.*\b(?:{_KINDS}|instruction)\b.*
    | (?:you\s+are|as)\s+an?\s+(?:\w+\s+){{0,4}}{_ROLES}\b.*
    | (?:let's|let\s+us|please)\s+(?:think|reason|show|explain|be|make)\b.* | please\s+\w+(?:\s+\w+){{0,4}}
    | (?:think|reason|explain|show)\b.*\b(?:carefully|reasoning|work|steps?|detail|thoroughly)\b.*
    | write\s+a\s+response\b.* | (?:good\s+luck|thank(?:s|\s+you)|hi|hello|hey)\b.{{0,40}}
    | [\#*\s]*(?:math(?:ematics)?\s+)?(?:{_KINDS}|{_HEADS})(?:\s+statement)?\s*\d*[*\s]*[:：]?[*\s]*
    | 请?(?:解答|回答|解决|完成|求解|阅读)(?:以下|下面|下列|这道|这个|如下).*
    | 你是.*(?:家|助手|老师|专家|模型).* | (?:题目|问题|解答?|答案?|回答)\s*[:：]?
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""Whole sentences that are instructions."""
_LONGEST = 400
"""Characters of an instruction; a longer sentence is not one."""
_MOST = 12
"""Sentences of a prompt before and after the question."""
_LONGEST_TEXT = 20_000


def hinted(texts: Sequence[str]) -> set[int]:
    """The texts that may have a prompt around them."""
    edges = [text[:_EDGE] + text[-_EDGE:] for text in texts]
    return set(_containing(edges, HINTS))


def _containing(texts: Sequence[str], words: Sequence[str]) -> Iterator[int]:
    """The texts that contain one of the words, with one pass over all of them per word."""
    joined = "\n".join(texts)
    ends = list(accumulate(map(len, texts), lambda end, size: end + size + 1, initial=0))[1:]
    for word in words:
        place = joined.find(word)
        while place >= 0:
            text = bisect(ends, place)
            yield text
            place = joined.find(word, ends[text])


def questions(passages: Sequence[Passage]) -> list[Passage]:
    """The bare questions of those statements of a row that have a prompt around them."""
    found = []
    for passage in passages:
        if passage.is_statement and (text := without_prompt(passage.text)) != passage.text:
            found.append(passage._replace(text=text))
    return found


def without_prompt(text: str) -> str:
    """The question without the instructions around it; the text if it has none or is nothing else."""
    if len(text) > _LONGEST_TEXT:
        return text
    cut = _ASCII_CUT if text.isascii() else _CUT
    cuts = [match.span() for match in cut.finditer(text)]
    pieces = list(
        zip([0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(text)], strict=True)
    )
    pieces = [(start, end) for start, end in pieces if text[start:end].strip()]
    first, last = 0, len(pieces)
    while first < last and first < _MOST and _is_instruction(text[slice(*pieces[first])]):
        first += 1
    while first < last and len(pieces) - last < _MOST and _is_instruction(text[slice(*pieces[last - 1])]):
        last -= 1
    if first == last:
        return text
    start, end = pieces[first][0], pieces[last - 1][1]
    label = _LABEL.match(text, start, end)
    question = text[label.end() if label and label.end() < end else start : end]
    return text if question.strip() == text.strip() else question


def _is_instruction(sentence: str) -> bool:
    if len(sentence) > _LONGEST:
        return False
    if any(mark in sentence for mark in "\\*$"):  # a box has one of them
        sentence = _BOX.sub(" boxed ", sentence)
    bare = sentence.strip()
    if _NUMBER.search(bare) is not None:
        return False
    return _MARKED.search(bare) is not None or _INSTRUCTION.fullmatch(bare) is not None
