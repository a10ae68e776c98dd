"""Step: questions with their answers that documents contain, as documents of their own.

Rules find pairs that are marked as such (Exercise 3 … Solution …; 例1 … 解 …; Q: … A: …). A writer, such as a
prompted model, may find or write further ones: it is passed in, and sees documents without a marked pair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mathloop.corpus.steps import Outcome, run_step
from mathloop.records import Document, read_documents
from mathloop.stages import StageReport, timed


class Pair(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


Writer = Callable[[Sequence[str]], Sequence[Sequence[Pair]]]
"""From texts to the pairs of each, none where it finds or writes none."""

_NUMBER = r"(?:\s*(?:\d+(?:\.\d+)*|[A-Z]|[一二三四五六七八九十]+))?"
_QUESTION = re.compile(
    rf"^[\W_]*(?:(?:problem|exercise|question|example|quiz|q){_NUMBER}\s*[:.)\]]|(?:例题?|习题|问题|题目?|练习){_NUMBER}\s*[:：.．、)])",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER = re.compile(
    rf"^[\W_]*(?:(?:solution|answer|proof|hint|sol|ans|a){_NUMBER}\s*[:.)\]]|(?:解答?|答案?|证明|解析)\s*[:：.．、)])",
    re.IGNORECASE | re.MULTILINE,
)
_LEAST, _MOST = 12, 8000
"""Characters of a question, and of an answer at least 1, and of each at most."""
_WORDS = {"en": ("Question: ", "Answer: "), "zh": ("问题：", "解答：")}


@timed
def run(
    *, documents: Path, out: Path, dropped: Path | None, writer: Writer | None = None, version: str = ""
) -> StageReport:
    """Writes a document per question–answer pair; documents without any are dropped.

    Args:
        writer: asked for pairs of documents in which the rules find none.
        version: what the writer's answers depend on (model, prompt); a change begins a resumed step again.
    """
    return run_step(
        "questions",
        partial(extract, writer=writer),
        partial(read_documents, documents),
        inputs=[documents],
        out=out,
        dropped=dropped,
        settings=version,
    )


def extract(batch: Sequence[Document], writer: Writer | None = None) -> Iterator[Outcome]:
    """Outcomes of the documents, in order."""
    found = [marked_pairs(document.text) for document in batch]
    rest = [place for place, pairs in enumerate(found) if not pairs]
    if writer is not None and rest:
        written = writer([batch[place].text for place in rest])
        for place, pairs in zip(rest, written, strict=True):
            found[place] = [pair for pair in pairs if pair.question.strip() and pair.answer.strip()]
    for document, pairs in zip(batch, found, strict=True):
        if not pairs:
            yield "no question with an answer", document
        question, answer = _WORDS.get(document.language, _WORDS["en"])
        for number, pair in enumerate(pairs, start=1):
            text = f"{question}{pair.question.strip()}\n\n{answer}{pair.answer.strip()}"
            yield "", replace(document, id=f"{document.id}#{number}", text=text, score=None)


def marked_pairs(text: str) -> list[Pair]:
    """The marked questions of a text that are followed by a marked answer before the next question."""
    pairs: list[Pair] = []
    questions = list(_QUESTION.finditer(text))
    ends = [*(match.start() for match in questions), len(text)][1:]
    for match, end in zip(questions, ends, strict=True):
        answer = _ANSWER.search(text, match.end(), end)
        if answer is None:
            continue
        pair = Pair(text[match.end() : answer.start()].strip(), text[answer.end() : end].strip())
        if _LEAST <= len(pair.question) <= _MOST and 1 <= len(pair.answer) <= _MOST:
            pairs.append(pair)
    return pairs
