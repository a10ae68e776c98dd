"""Verdicts: whether a prediction equals the gold answer."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from mathloop.answers import deadline, matrices
from mathloop.answers.deadline import Undecided
from mathloop.answers.equivalence import Comparison
from mathloop.answers.extraction import extract_answer
from mathloop.answers.normalization import normalize
from mathloop.answers.numbers import read_number
from mathloop.answers.prover import SECONDS_PER_VERDICT, Prover
from mathloop.answers.reasons import LONGEST_SHOWN, why_not
from mathloop.answers.responses import final_answer
from mathloop.answers.syntax import Apply, Collection, Node, Number, Relation, Symbol, Text, rebuild, walk
from mathloop.answers.tokens import Unreadable
from mathloop.answers.tree import read
from mathloop.answers.units import spelled_out
from mathloop.answers.words import phrase

DECIMAL_PLACES = 6
"""Decimal places that a rounded value of a number without a finite expansion must have."""
LONGEST_CACHED = 300


class Verdict(NamedTuple):
    """Whether an answer is correct, the reason, and the rule that decided."""

    correct: bool
    reason: str
    rule: str


_IDENTICAL = Verdict(True, "identical text", "identical")
_NORMALIZED = Verdict(True, "identical after normalization", "normalized")
_NO_ANSWER = Verdict(False, "no answer was found, or it was taken back, denied or cut off", "empty")
_NO_GOLD = Verdict(False, "the gold answer is empty", "empty")
_SAME_NUMBER = Verdict(True, "the same number", "number")
_CHOICE_WITH_TEXT = re.compile(
    r"(?:(?:\\(?:text\w*|math(?:rm|bf)|bf))?\s*\{)?\(\s*([A-K])\s*\)\}?[\s\\]*\S.*"
    r"|(?:\\(?:text\w*|math(?:rm|bf))\s*\{\s*)?([A-K])\s*[.:、)]\s*\S.*",
    re.DOTALL,
)
_BARE_CHOICE = re.compile(
    r"(?:(?:故?选项?|[Oo]ptions?|[Cc]hoices?)\s*:?\s*)?(?:\\text\w*\s*\{|\\math\w+\s*\{)?\s*\(?\s*"
    r"([A-K](?:(?:[\s,;、和与)]|and|\((?=\s?[A-K]))*[A-K])*)\s*\)?\s*\}?[.:]?"
)
THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_INDIAN = re.compile(r"[-+]?[1-9]\d?(?:,\d\d)+,\d{3}")
"""12,34,567; or three numbers."""
_EITHER_CHOICE = re.compile(
    r"(?:either\s+)?\(?[A-K]\)?(?:\s*(?:,|,?\s*or)\s*\(?[A-K]\)?){1,5}", re.IGNORECASE
)
_TIED = re.compile(r"[1-9]\d{0,2}(?:~\d{3})+")
_ZEROS = re.compile(r"\d,0\d\d")
"""Digits that no list has: 1,000 is one thousand."""
_DECIMAL_COMMA = re.compile(r"([-+]?)(\d+),(\d+)")
_OPENING = re.compile(r"[(\[{]")
_WORD = re.compile(r"[A-Za-z]{3,}")
_REFUSED_CHOICE = re.compile(
    r"(?<![A-Za-z])[A-K](?:\s*[).:、]|\s*\})|\bnot\b|n't|wrong|false|incorrect|不|错|\b(?:maybe|perhaps|possibly|unsure)\b"
    r"|\b(?:or|and)\s+(?:else\s+)?\(?[A-K]\b|或|还是",
    re.IGNORECASE,
)
_DEGREE = re.compile(r"\s*\^\s*\{?\\circ\s*\}?\s*")
_IN_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox)\s*\{([^{}]*)\}")
_SQUEEZED = re.compile(r"\s+")


def verify(
    gold: str,
    prediction: str,
    *,
    places: int = DECIMAL_PLACES,
    strict: bool = True,
    relations_as_sets: bool = True,
    responses: bool = True,
) -> Verdict:
    """Decides whether `prediction` equals `gold`; a text that is a whole response is taken apart first.

    In case of doubt it does not. Symmetric in its arguments; safe in any thread and process; always in
    bounded time. With `places` decimals 0.333333 equals 1/3; `strict=False` allows renamed variables;
    `relations_as_sets=False` refuses `1 < x` for `(1, ∞)`;
    with `responses=False` both are answers, whatever they look like.
    """
    if gold == prediction and gold and not gold.isspace():
        return _IDENTICAL
    given = gold, prediction
    if responses:
        gold, prediction = final_answer(gold), final_answer(prediction)
    left, right = normalize(gold), normalize(prediction)
    if not left or not right:
        left, right = map(normalize, given)
        if left and left == right:
            return _NORMALIZED
        left, right = normalize(gold), normalize(prediction)
    if not right:
        return _NO_ANSWER
    if not left:
        return _NO_GOLD
    if left == right:
        return _NORMALIZED
    value = read_number(left)
    if value is not None and (other := read_number(right)) is not None:
        if value == other:
            return _SAME_NUMBER
        if "/" not in left + right or "." not in left + right:  # else one may be the other one rounded
            return Verdict(False, f"the numbers differ: {_brief(right)}, expected {_brief(left)}", "number")
    choice = _compare_choices(left, right)
    if choice is not None:
        return choice
    if is_word(left) and is_word(right):  # "Amy" is not a product of A, m and y
        same = phrase(left) == phrase(right)
        return Verdict(
            same, "the same word" if same else f"the words differ: {right}, expected {left}", "words"
        )
    return _compare(gold, prediction, places, strict, relations_as_sets)


def verify_response(gold: str, response_text: str) -> Verdict:
    """Extracts the final answer of a whole response and verifies it; a response without one is wrong."""
    answer = extract_answer(response_text)
    return _NO_ANSWER if answer is None else verify(gold, answer)


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _compare_choices(left: str, right: str) -> Verdict | None:
    """Compares choice letters; one side may also have the option's text. None for other answers."""
    one, other = choices(left), choices(right)
    if one and other:
        same = one == other
    else:
        letters, text = (one, right) if one else (other, left)
        if letters and len(letters) > 1 and _EITHER_CHOICE.fullmatch(text):
            return Verdict(False, f"{text} names no choice for certain", "choice")
        letter = explained_choice(text) if letters and len(letters) == 1 else None
        if letter is None:
            return None
        same = letters == frozenset(letter)
    reason = "the same choice" if same else f"the choices differ: {_brief(right)}, expected {_brief(left)}"
    return Verdict(same, reason, "choice")


def explained_choice(text: str) -> str | None:
    """The letter of a normalized answer that is a choice with its text: `(A) 5 m`; None for others."""
    match = _CHOICE_WITH_TEXT.fullmatch(text)
    if match is None or _REFUSED_CHOICE.search(text, match.end(match.lastindex or 0) + 1):
        return None
    return match.group(1) or match.group(2)


def choices(text: str) -> frozenset[str] | None:
    """The letters of a normalized answer that consists of choices only: `(A)`, `B, D`; else None."""
    match = _BARE_CHOICE.fullmatch(text) if len(text) < 60 else None
    if match is None or (text.startswith("(") and "," in text):  # a point (A, C)
        return None
    letters = [mark for mark in match.group(1) if "A" <= mark <= "K"]
    if len(letters) > 1 and max(letters) > "E" and match.group(1).isalpha():
        return None  # FACE is a word
    return frozenset(letters) if len(set(letters)) == len(letters) else None


def _compare(left: str, right: str, places: int, strict: bool, relations_as_sets: bool) -> Verdict:
    prover = Prover()
    comparison = Comparison(places, prover)
    deadline.start(SECONDS_PER_VERDICT)
    matrix = bool(_MATRICES.search(left) or _MATRICES.search(right))
    try:
        for one in readings(left):
            for other in readings(right):
                if not strict:
                    one, other = _renamed(one), _renamed(other)
                if not relations_as_sets and _inequality(other) and not _inequality(one):
                    continue
                if _same(comparison, one, other, matrix):
                    return Verdict(True, _reason(comparison.rule, prover.used), comparison.rule)
    except Undecided as doubt:
        return Verdict(False, f"undecided: {doubt}", "undecided")
    except RecursionError:
        return Verdict(False, "undecided: nested too deeply", "undecided")
    except (ArithmeticError, ValueError):
        return Verdict(False, "undecided: numbers too large to compare", "undecided")
    except Exception as fault:  # an answer must never stop a training run
        return Verdict(False, f"undecided: {type(fault).__name__} while comparing", "fault")
    finally:
        deadline.stop()
    try:
        reason = why_not(readings(left)[0], readings(right)[0], left, right)
    except (Undecided, RecursionError, ArithmeticError, ValueError):
        reason = f"not equal as {_KINDS.get(comparison.rule, comparison.rule)}"
    return Verdict(False, reason, comparison.rule)


_MATRICES = re.compile(r"\^\s?\{?\s?(?:-\s?1|T|\\top|\\intercal|\\mathrm|\\text)|[A-Z]\s?[A-Z][^A-Z]*[-+]")
"""What an answer has where letters may be matrices."""


def _same(comparison: Comparison, one: Node, other: Node, matrix: bool) -> bool:
    if not matrix:
        return comparison.same(one, other)
    if matrices.are_matrices(one, other):
        comparison.rule = "matrices"
        return matrices.equal_matrices(one, other)
    return comparison.same(matrices.without_inverses(one), matrices.without_inverses(other))


def _inequality(node: Node) -> bool:
    return isinstance(node, Relation) and not set(node.operators) & {"=", "~", "in"}


_KINDS = {"expression": "expressions", "collection": "lists, sets or tuples", "relation": "relations",
    "matrices": "expressions of matrices", "quantity": "quantities", "interval": "sets of numbers",
    "structure": "expressions"}  # fmt: skip


def _reason(rule: str, proved: bool) -> str:
    how = ", proved numerically" if proved else ""
    return f"equal as {_KINDS.get(rule, rule)}{how}"


def is_word(text: str) -> bool:
    """Whether a normalized answer is one word of three letters or more."""
    return _WORD.fullmatch(text) is not None


def readings(text: str) -> tuple[Node, ...]:
    """The trees that an answer may mean, at least one; the literal reading comes first.

    Raises `RecursionError` or `ValueError` if it is nested too deeply or contains too long a number.
    """
    return _cached_readings(text) if len(text) <= LONGEST_CACHED else _read_all(text)


def _read_all(raw: str) -> tuple[Node, ...]:
    """The literal reading, then commas read as thousands or as a decimal point; words if it is none."""
    text = normalize(spelled_out(raw) if "\\" in raw else raw)
    try:
        joined = _comma_readings(text)
        if _TIED.fullmatch(raw.strip(" $.")):  # 1~250 is a range, or a thousand with TeX's space
            joined.append(read(re.sub(r"\D", "", raw)))
        return tuple(joined) if joined and _ZEROS.search(text) else (read(text), *joined)
    except Unreadable:
        pass
    text = _DEGREE.sub("度", text)
    if "\\" in text and "\\" not in (plain := _IN_TEXT.sub(r" \1 ", text)):
        text = plain
    return (Text(_SQUEEZED.sub("", text) if "\\" in text or "^" in text else phrase(text)),)


_cached_readings = lru_cache(maxsize=4096)(_read_all)


def _comma_readings(text: str) -> list[Node]:
    if "," not in text:
        return []
    match = _DECIMAL_COMMA.fullmatch(text)
    if match and len(match.group(3)) not in (1, 0 if match.group(2) == "0" else 3):  # 1,2 may be two numbers
        number = read_number(f"{match.group(1)}{match.group(2)}.{match.group(3)}")
        return [] if number is None else [Number(number, len(match.group(3)))]
    if _INDIAN.fullmatch(text):
        return [read(text.replace(",", ""))]
    joined = THOUSANDS.sub(lambda found: found.group().replace(",", ""), text)
    if joined == text or _OPENING.search(text[: text.index(",")]):
        return []
    try:
        return [read(joined)]
    except Unreadable:
        return []


def _renamed(node: Node) -> Node:
    """The tree with its variables named by order of appearance."""
    order: dict[Node, Node] = {}
    for part in walk(node):
        if isinstance(part, Symbol) and len(part.name) == 1 and part.name not in "eifg":
            order.setdefault(part, Symbol(f"variable {len(order)}"))
    return rebuild(node, order) if isinstance(node, Apply | Collection) or order else node
