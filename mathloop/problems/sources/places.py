"""Where a row keeps a part of a problem: columns, paths into them, and functions of the row."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from mathloop.answers import extract_answer
from mathloop.answers.boxes import framed_as_boxed, has_box, last_box

Row: TypeAlias = dict[str, Any]
Place: TypeAlias = str | Callable[[Row], Any]
Places: TypeAlias = Place | tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A place: what a function makes of one column."""

    column: str
    change: Callable[[Any], Any]

    def __call__(self, row: Row) -> Any:
        """What it makes of this row's column."""
        return self.change(row.get(self.column))


USER, MODEL = ("user", "human"), ("assistant", "gpt", "model")
"""Names of the two roles in conversations."""
HAN = re.compile(r"[\u4e00-\u9fff]")
_STATED = re.compile(r"(?:(?<!no )answer is|答案是|答案为|答案[:：]|Answer:)", re.IGNORECASE)
_SENTENCE = re.compile(r"[A-Za-z\d)\]}$%][.!?](?=\s+[A-Z\\$]|\s*$)|[。！？]")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[\u4e00-\u9fff]")
_MATH = re.compile(r"\$+[^$]*\$+")
_BRACKETS = re.compile(r"\(.*?\)")
_IN_DOLLARS = re.compile(r"\$+([^$]+)\$+\.?")
_ASKED = re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)
_LISTED = re.compile(r"""\[\s*(['"])(.*)\1\s*\]""", re.DOTALL)
_ESCAPED = re.compile(r"""\\[\\'"]""")
_LONGEST_BARE = 60
_DIGIT = re.compile(r"\d")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[\u4e00-\u9fff=]|[.]\s")
_WRAPPERS = (
    (
        "Solve the following math problem step by step. The last line of your response should be of the form "
        "Answer: $Answer",
        '\n\nRemember to put your answer on its own line after "Answer:".',
    ),
    ("", " Let's think step by step and output the final answer within \\boxed{}."),
    ("", ' Let\'s think step by step and output the final answer after "####".'),
    ("", "\nPlease reason step by step, and put your final answer within \\boxed{}."),
    ("", " Please reason step by step, and put your final answer within \\boxed{}."),
)
"""Beginnings (up to the next blank line) and ends of public prompts around a statement."""


def values_at(row: Row, places: Places) -> Iterator[Any]:
    """The values at each of the places that is there and not empty."""
    for place in places if isinstance(places, tuple) else (places,):
        value = place(row) if callable(place) else value_at(row, place)
        if value is not None and value != "" and value != []:
            yield value


def value_at(row: Row, place: str) -> Any:
    """The value of a column, or of a path into one ("reward_model.ground_truth"); None if there is none."""
    if place in row or "." not in place:
        return row.get(place)
    value: Any = row
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def has_place(row: Row, place: str) -> bool:
    """Whether a row has a column, or a path into one, be it empty."""
    if place in row or "." not in place:
        return place in row
    *outer, last = place.split(".")
    inner = value_at(row, ".".join(outer)) if outer else row
    return isinstance(inner, dict) and last in inner


def outer_columns(places: Iterable[str]) -> set[str]:
    """The columns that may hold these: each of its own name, and that of the start of a path."""
    return {name for place in places if place for name in (place, place.partition(".")[0])}


def turns(conversation: Any, roles: tuple[str, ...]) -> list[str]:
    """The texts that one of `roles` says in a list of turns, in either of the two usual spellings."""
    found = []
    for turn in conversation if isinstance(conversation, list) else ():
        if isinstance(turn, dict) and turn.get("role", turn.get("from")) in roles:
            text = turn.get("content", turn.get("value"))
            if isinstance(text, list):  # parts, as in OpenAI's messages: [{"type": "text", "text": "…"}]
                parts = [part.get("text") for part in text if isinstance(part, dict)]
                text = "\n".join(part for part in parts if isinstance(part, str)) or None
            found += [text] if isinstance(text, str) else []
    return found


def first_turn(column: str, roles: tuple[str, ...]) -> Callable[[Row], Any]:
    """A place: the first text that one of `roles` says in this column's conversation."""
    return lambda row: next(iter(turns(row.get(column), roles)), None)


def text_or_turn(column: str, roles: tuple[str, ...]) -> Callable[[Row], Any]:
    """A place: this column's text, or the first one that one of `roles` says in its conversation."""

    def read(row: Row) -> Any:
        text = row.get(column)
        return text if isinstance(text, str) else next(iter(turns(text, roles)), None)

    return read


def stated_in(place: Place) -> Callable[[Row], Any]:
    """A place: the final answer that the worked solution at `place` states, or that is all of it."""

    def read(row: Row) -> Any:
        text = next(values_at(row, place), None)
        if not isinstance(text, str):
            return None
        return final_answer(text) or (text.strip() if _is_bare(text) else None)

    return read


def _is_bare(solution: str) -> bool:
    """Whether a solution is a number or formula alone, "5" or "$\\frac12$", as TRL's examples have it."""
    short = len(solution) <= _LONGEST_BARE and "\n" not in solution.strip()
    return short and _DIGIT.search(solution) is not None and _PROSE.search(solution) is None


def final_answer(worked: str) -> str | None:
    """The answer that a worked solution states: after ####, in its last box, or in a sentence."""
    if "####" in worked:
        return worked.rpartition("####")[2].strip().partition("\n")[0].strip() or None
    boxed = framed_as_boxed(worked)
    if has_box(boxed):
        return last_box(boxed)
    return extract_answer(worked) if _STATED.search(worked) else None


def is_worked(answer: str) -> bool:
    """Whether an answer is a worked solution: two sentences of 25 words (Chinese: signs), or three of 12.

    Formulas are no words. Of the gold answers of 22 public sets only ones of CollegeMath are such prose.
    """
    if len(answer) < 30:
        return False
    sentences, words = len(_SENTENCE.findall(answer)), len(_WORD.findall(_MATH.sub(" ", answer)))
    return words >= (25 if sentences == 2 else 12) and sentences > 1


def states_answer(text: str) -> bool:
    """Whether a sentence of the text says that something is the answer."""
    return ("nswer" in text or "答案" in text or "NSWER" in text) and _STATED.search(text) is not None


def listed(text: str) -> list[str] | None:
    """The answers of a list that is written as text, '["1", "2"]' or "['1', '2']"; None if it is none."""
    match = _LISTED.fullmatch(text.strip())
    if match is None:
        return None
    if "\\" in _ESCAPED.sub("", match[2]):  # LaTeX as it is, of whose \frac \f is no escape
        return None if match[1] in match[2] else [match[2]]
    try:
        found = ast.literal_eval(match[0])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if all(isinstance(each, str) for each in found) else None


def unwrapped(text: str) -> str:
    """A statement without a public prompt around it."""
    for start, end in _WRAPPERS:
        if text.startswith(start) and text.rstrip().endswith(end.rstrip()):
            inner = text.rstrip().removesuffix(end.rstrip())
            return inner.partition("\n\n")[2].strip() if start else inner.strip()
    return text


def prompt(row: Row) -> Any:
    """The question of a prompt for reinforcement learning, which is a text or a conversation."""
    text = row.get("prompt")
    text = text if isinstance(text, str) else next(iter(turns(text, USER)), None)
    return unwrapped(text) if text else None


def asked(column: str) -> Callable[[Row], Any]:
    """A place: the first question of a conversation or of a text in Qwen's chat format, or the text."""

    def read(row: Row) -> Any:
        text = row.get(column)
        if isinstance(text, list):
            return next(iter(turns(text, USER)), text)
        user = _ASKED.search(text) if isinstance(text, str) else None
        return unwrapped(user[1].strip()) if user else text

    return read


_LETTERED = tuple(
    tuple(pattern.format(letter) for letter in "ABCDEFGHIJ") for pattern in ("{}", "option_{}", "choice_{}")
)
_LETTERED += tuple(tuple(name.lower() for name in names) for names in _LETTERED[1:])
LETTERED = tuple(name for names in _LETTERED for name in names)
"""Columns with a choice each."""


def in_columns(row: Row) -> Any:
    """A place: the choices that are in a column each, as C-Eval's A, B, C, D."""
    for names in _LETTERED:
        if names[0] in row and names[1] in row:
            found = [row[name] for name in takewhile(row.__contains__, names)]
            return None if all(each is None or each == "" for each in found) else found
    return None


def instruction(row: Row) -> Any:
    """Alpaca's instruction, with its input below."""
    return _below(row.get("instruction"), row.get("input"))


def after_context(column: str) -> Callable[[Row], Any]:
    """A place: the question, with the text that it is about above."""
    return lambda row: _below(row.get(column), row.get("question"))


def _below(first: Any, second: Any) -> Any:
    given = [text for text in (first, second) if isinstance(text, str) and text.strip()]
    return "\n".join(given) if given else (first if second is None else second)


def in_a_row(*columns: str, stop: str = "") -> Callable[[Row], Any]:
    """A place: a statement in several columns; `stop` closes all but the last."""

    def read(row: Row) -> Any:
        texts = [row.get(column) for column in columns]
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                return text
        *before, last = (str(text).strip() for text in texts)
        closed = (text if text.endswith(stop) else f"{text}{stop}" for text in before)
        return " ".join([*closed, last])

    return read


def without_brackets(column: str) -> Changed:
    """A place: ASDiv's answer without its unit: "9 (apples)"."""
    return Changed(column, lambda text: _BRACKETS.sub("", text).strip() if isinstance(text, str) else text)


def without_dollars(column: str) -> Changed:
    """A place: a list of answers, each without the dollars around it.

    One with several formulas, "$69$,$84$", keeps them all: their dollars are not a pair around it.
    """

    def bare(answer: Any) -> Any:
        around = _IN_DOLLARS.fullmatch(answer.strip()) if isinstance(answer, str) else None
        return around[1] if around else answer

    return Changed(column, lambda found: [*map(bare, found)] if isinstance(found, list) else found)


def or_unknown(column: str) -> Changed:
    """A place: an answer that is empty where nobody knows it; 0 is an answer."""
    return Changed(column, lambda found: "unknown" if found is None or found in ("", []) else found)


def chinese_if(place: str) -> Callable[[Row], Any]:
    """A place: Chinese if another field of the row is; a formula alone has no language."""
    return lambda row: "zh" if HAN.search(str(value_at(row, place))) else None
