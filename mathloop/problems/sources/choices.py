"""Multiple choice: reading the choices of a row, its right one, and the one way in which they are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LABEL = re.compile(r"\s*[(（]?([A-Za-z])\s*[)）.．、:：]\s*")
"""The letter before a choice: "(A)5", "A)5", "a. 5"."""
_SMALL = re.compile(r"[(（]?([a-z])[)）.]?")
_LISTED = re.compile(r"(?:^|,)\s*([a-z])\s*\)\s*")
"""Before MathQA's choices: "a ) 38 , b ) 27.675"."""
_LETTERS = re.compile(r"[(（]?([A-Z](?:[\s,，、;]{0,2}[A-Z]){0,9})[)）.]?")
_NUMBER = re.compile(r"([0-9]{1,2})(?:\.0)?")
_BETWEEN = re.compile(r"[^A-Z]+")


def read_choices(value: Any) -> tuple[str, ...]:
    """The choices of a list, an object of letters, or one text ("A) 5 B) 6"); empty if there are none.

    Raises:
        ValueError: with what is wrong.
    """
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]  # ARC's {"text": [...], "label": [...]}
    if isinstance(value, dict):
        given = {key: text for key, text in value.items() if text is not None}
        if sorted(given) != list(LETTERS[: len(given)]):
            raise ValueError("expected the choices' letters A, B, C, … as keys")
        value = [given[letter] for letter in sorted(given)]
    if isinstance(value, str):
        found = inline_choices(value) or _listed(value)
        if not found:
            raise ValueError("expected a list, an object of letters, or a text such as A) 5 B) 6")
        return found
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise ValueError("expected a list of 2 to 26 choices")
    if any(isinstance(each, bool | list | dict) or each is None for each in value):
        raise ValueError("expected a list of texts or numbers")
    texts = [str(each) for each in value]
    labels = "".join(match[1] if match else " " for match in map(_LABEL.match, texts))
    if labels in (LETTERS[: len(texts)], LETTERS[: len(texts)].lower()):
        texts = [_LABEL.sub("", text, count=1) for text in texts]
    return tuple(text.strip() for text in texts)


def read_labels(value: Any) -> tuple[str, ...]:
    """The labels that a row gives its choices itself, as ARC's {"text": […], "label": ["1", "2", …]}.

    Raises:
        ValueError: with what is wrong.
    """
    if not isinstance(value, dict) or not isinstance(value.get("label"), list):
        return ()
    labels = tuple(str(each).strip() for each in value["label"])
    if isinstance(value.get("text"), list) and (
        len(labels) != len(value["text"]) or len({*labels}) < len(labels)
    ):
        raise ValueError("expected one label for each choice, all different")
    return labels


def inline_choices(text: str) -> tuple[str, ...]:
    """The choices that a statement lists itself, "A. 6 B. 7 C. 8"; empty unless three are in order."""
    starts: list[re.Match[str]] = []
    for label in re.finditer(r"(?:(?<=[\s)）。，,.;；])|^)[(（]?([A-Z])\s?[)）.．、:：]\s*", text):
        if label[1] == LETTERS[len(starts)]:
            starts.append(label)
        elif label[1] == "A":
            starts = [label]
    if len(starts) < 3:
        return ()
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return tuple(text[start.end() : end].strip() for start, end in zip(starts, ends, strict=True))


def _listed(text: str) -> tuple[str, ...]:
    starts = list(_LISTED.finditer(text))
    if len(starts) < 2 or "".join(start[1] for start in starts) != LETTERS[: len(starts)].lower():
        return ()
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return tuple(text[start.end() : end].strip() for start, end in zip(starts, ends, strict=True))


def number_of(answer: Any) -> int | None:
    """The number that an answer is: of 2, 2.0, "2" and "2.0", as CSV has it, 2; None of any other."""
    if isinstance(answer, float) and answer.is_integer():
        return int(answer) if abs(answer) < 100 else None
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer
    number = _NUMBER.fullmatch(answer.strip()) if isinstance(answer, str) else None
    return int(number[1]) if number else None


def right_letters(
    answer: Any, choices: Sequence[str], labels: Sequence[str] = (), first: int = 0
) -> str | None:
    """The letter of the right choice, or those of several; of 2, "C", "(C)", a label or a choice's text.

    Args:
        first: the number of choice A, 0 or 1.

    Raises:
        ValueError: the answer is the text of one choice, and the letter or number of another.
    """
    if isinstance(answer, list):
        found = [right_letters(each, choices, labels, first) for each in answer]
        return "".join(sorted(filter(None, found))) if found and all(found) else None
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    text = str(answer).strip()
    if text in labels:
        return LETTERS[labels.index(text)]
    number = number_of(answer)
    at = -1 if number is None else number - first
    counted = LETTERS[at] if 0 <= at < len(choices) else ""
    if counted and not isinstance(answer, str):
        return counted
    exact = LETTERS[choices.index(text)] if choices.count(text) == 1 else ""
    letters = _LETTERS.fullmatch(text)
    several = _BETWEEN.sub("", letters[1]) if letters else ""
    if not all(letter in LETTERS[: len(choices)] for letter in several):
        several = ""
    other = counted or (several if len(several) == 1 else "")
    if exact and other and exact != other:
        kind, remedy = "letter", f"number it from {first}"
        if counted:
            kind, remedy = f"number from {first}", "write its letter"
        where = f"the text of choice {exact} and the {kind} of choice {other}"
        raise ValueError(f"{text!r} is {where}; which is right? {remedy}")
    small, labeled = _SMALL.fullmatch(text), _LABEL.match(text)
    letter = small[1].upper() if small else labeled[1] if labeled else ""
    stated = letter if letter in LETTERS[: len(choices)] else ""
    return exact or several or other or stated or None


def shown(statement: str, choices: Sequence[str], language: str) -> str:
    """A statement with its choices below, as the Qwen2.5-Math harness writes them."""
    listed = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, choices, strict=False))
    return f"{statement}\n{'选项' if language == 'zh' else 'Answer Choices'}: {listed}"
