"""The layouts in which public math data is published: a literal table, the most specific first.

To add one, add a line to `LAYOUTS`: the columns that it is recognized by, and whatever is elsewhere than the
defaults of `Layout` say. A place is a column, a path into one ("reward_model.ground_truth") or a function of
the row; of several places the first that is not empty counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, fields, replace
from typing import Any

from mathloop.errors import BadConfig
from mathloop.problems.sources.places import (
    LETTERED,
    MODEL,
    USER,
    Place,
    Places,
    Row,
    after_context,
    asked,
    chinese_if,
    first_turn,
    in_a_row,
    in_columns,
    instruction,
    or_unknown,
    outer_columns,
    prompt,
    stated_in,
    text_or_turn,
    without_brackets,
    without_dollars,
)

_KEYS = ("label", "answerKey", "correct", "Answer", "answer")
_COMPLETION = text_or_turn("completion", MODEL)
_STATED = ("answer", stated_in("solution"))
_FINAL = (without_dollars("final_answer"), *_STATED)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a published row keeps the parts of a problem."""

    name: str
    needs: tuple[str, ...]
    """Columns that every row has."""
    when: Callable[[Row], bool] | None = None
    """A further condition, where the columns alone do not decide."""
    problem: Places = ("problem", "question")
    answer: Places = "answer"
    """The gold answer; of multiple choice the number (from 0), letter or text of the right choice."""
    choices: Places = ("choices", "options", in_columns)
    solution: Places = "solution"
    id: Places = ("id", "unique_id", "uuid", "ID")
    source: Places = "source"
    language: Places = ("language", "lang")
    level: Places = ("level", "difficulty", "grade")
    subject: Places = ("subject", "family", "type", "problem_type", "topic", "domain", "subfield")

    def columns(self) -> set[str]:
        """The columns that it names."""
        found = set(self.needs)
        for part in PARTS:
            places = getattr(self, part)
            named = places if isinstance(places, tuple) else (places,)
            found |= outer_columns(place for place in named if isinstance(place, str))
        return found


def _columns_of(place: Place, columns: Set[str]) -> Collection[str]:
    """The columns that a place reads; of a function, which may read any, all."""
    if place is in_columns:
        return LETTERED
    return columns if callable(place) else outer_columns([place])


PARTS = tuple(field.name for field in fields(Layout) if field.name not in ("name", "needs", "when"))
_OTHER_NAMES = {"statement": "problem", "difficulty": "level", "family": "subject", "gold": "answer"}
_CHAT = {"source": (), "level": (), "subject": ()}


LAYOUTS: tuple[Layout, ...] = (
    # multiple choice
    Layout("agieval", ("passage", "question", "options", "label"), problem=after_context("passage"),
           answer=("label", "answer"), source=(), language=chinese_if("other.source")),
    Layout("mmlu", ("question", "choices", "answer"), source=()),
    Layout("aqua", ("question", "options", "correct"), answer="correct", solution="rationale"),
    Layout("mathqa", ("Problem", "options", "correct"), problem="Problem", answer="correct",
           solution="Rationale", subject="category"),
    Layout("harp", ("problem", "answer", "answer_choice", "choices"), answer=("answer_choice", "answer"),
           solution="solution_1"),
    Layout("sat", ("question", "options", "Answer"), answer="Answer"),
    Layout("options", ("question", "options"), answer=_KEYS),
    Layout("choices", ("question", "choices"), answer=_KEYS),
    Layout("choice-answer", ("question", "answer", "choice_answer"), answer=("choice_answer", "answer")),
    Layout("gaokao-bench", ("question", "answer", "analysis", "score"), solution="analysis",
           subject="category"),
    # large training sets
    Layout("numinamath-1.5", ("problem", "answer", "question_type", "problem_is_valid")),
    Layout("openr1-math", ("problem", "answer", "generations"), answer=_STATED),
    Layout("openmathinstruct-2", ("problem", "generated_solution", "expected_answer"),
           answer="expected_answer", solution="generated_solution", source="problem_source"),
    Layout("openmathinstruct-1", ("question", "expected_answer"), answer="expected_answer",
           solution="generated_solution"),
    Layout("expected-answer", ("problem", "expected_answer"), answer="expected_answer",
           solution=("generated_solution", "solution")),
    Layout("numinamath-cot", ("problem", "solution", "messages"), answer=_STATED),
    Layout("deepmath", ("question", "final_answer", "r1_solution_1"), answer="final_answer",
           solution="r1_solution_1"),
    Layout("big-math", ("problem", "answer", "llama8b_solve_rate"), level=()),
    Layout("omni-math", ("problem", "answer", "domain", "difficulty"), answer=_STATED),
    Layout("dapo", ("prompt", "reward_model"), problem=prompt, answer="reward_model.ground_truth",
           id="extra_info.index", source="data_source", level=(), subject=()),
    Layout("orz", ("0", "1"), problem="0.value", answer="1.ground_truth.value"),
    Layout("metamath", ("query", "original_question", "response"), problem="query",
           answer=stated_in("response"), solution="response"),
    Layout("alpaca", ("instruction", "output"), problem=instruction, answer=stated_in("output"),
           solution="output"),
    Layout("sharegpt", ("conversations",), problem=first_turn("conversations", USER),
           answer=stated_in(first_turn("conversations", MODEL)), solution=first_turn("conversations", MODEL),
           source=(), level=(), subject=()),
    # benchmarks
    Layout("math-500", ("problem", "solution", "answer", "subject", "level", "unique_id"), answer=_STATED),
    Layout("aime", ("problem", "answer", "url")),
    Layout("aime-capitals", ("Problem", "Answer"), problem="Problem", answer="Answer", solution="Solution"),
    Layout("hendrycks-math", ("problem", "solution", "level", "type"), answer=_STATED),
    Layout("minerva-math", ("problem", "solution", "type", "idx"), answer=_STATED),
    Layout("olympiadbench", ("question", "final_answer", "subfield"), problem=after_context("context"),
           answer=without_dollars("final_answer"), subject="subfield"),
    Layout("cmath", ("question", "golden"), answer="golden"),
    Layout("cmath", ("question", "answer", "grade", "reasoning_step")),
    Layout("gaokao2023en", ("question", "answer", "lang", "source"), answer=or_unknown("answer"), source=()),
    Layout("college-math", ("question", "answer", "data_topic"), subject="data_topic"),
    Layout("svamp", ("Body", "Question"), problem=in_a_row("Body", "Question", stop="."), answer="Answer",
           subject="Type"),
    Layout("letters", ("question", "A", "B", "answer"), solution="explanation"),
    Layout("letters", ("Question", "A", "B", "Answer"), problem="Question", answer="Answer"),
    Layout("theoremqa", ("Question", "Answer"), problem="Question", answer="Answer"),
    Layout("asdiv", ("body", "question", "answer"), problem=in_a_row("body", "question"),
           answer=without_brackets("answer"), subject="solution_type"),
    Layout("simplerl", ("input", "gt_answer"), problem=("question", asked("input")), answer="gt_answer"),
    Layout("mawps", ("input", "target"), problem="input", answer="target"),
    Layout("carp", ("content", "answer", "steps"), problem="content", solution="steps"),
    Layout("mgsm", ("question", "answer_number"), answer="answer_number", solution="answer"),
    Layout("gsm8k", ("question", "answer"), lambda row: "####" in str(row["answer"]), solution="answer"),
    Layout("qwen-harness", ("question", "gt"), answer="gt", solution="gt_cot"),
    # everything else; a column that says that it is the final or the true answer comes before "answer"
    Layout("ground-truth", ("problem", "ground_truth"), answer="ground_truth"),
    Layout("ground-truth", ("question", "ground_truth"), answer="ground_truth"),
    Layout("problem-final-answer", ("problem", "final_answer"), answer=_FINAL),
    Layout("question-final-answer", ("question", "final_answer"), answer=_FINAL),
    Layout("problem-answer", ("problem", "answer"), answer=_STATED),
    Layout("problem-solution", ("problem", "solution"), answer=_STATED),
    Layout("question-answer", ("question", "answer"), answer=_STATED),
    Layout("question-solution", ("question", "solution"), answer=_STATED),
    Layout("query-response", ("query", "response"), problem="query", answer=stated_in("response"),
           solution="response"),
    Layout("chat", ("messages",), problem=first_turn("messages", USER),
           answer=("expected_answer", "ground_truth", "answer", stated_in(first_turn("messages", MODEL))),
           solution=first_turn("messages", MODEL), source=(), level=(), subject=()),
    Layout("prompt-ground-truth", ("prompt", "ground_truth"), problem=prompt, answer="ground_truth"),
    Layout("prompt-answer", ("prompt", "answer"), problem=prompt, answer=_STATED),
    Layout("prompt-solution", ("prompt", "solution"), problem=prompt, answer=stated_in("solution")),
    Layout("prompt-completion", ("prompt", "completion"), problem=prompt, answer=stated_in(_COMPLETION),
           solution=_COMPLETION),
    Layout("user-assistant", ("user", "assistant"), problem="user", answer=stated_in("assistant"),
           solution="assistant"),
    Layout("input-output", ("input", "output"), problem=asked("input"), answer=stated_in("output"),
           solution="output"),
)  # fmt: skip


def recognize(row: Row) -> Layout | None:
    """The first layout of the table that a row fits."""
    for layout in LAYOUTS:
        if all(name in row for name in layout.needs) and (layout.when is None or layout.when(row)):
            return layout
    return None


def narrowed(layout: Layout, columns: Set[str]) -> Layout:
    """A layout without the places that rows with these columns do not have: they are read faster."""
    parts: dict[str, Any] = {}
    for part in PARTS:
        places = getattr(layout, part)
        named = places if isinstance(places, tuple) else (places,)
        parts[part] = tuple(place for place in named if not columns.isdisjoint(_columns_of(place, columns)))
    return replace(layout, **parts)


def by_name(name: str) -> Layout:
    """A layout of the table; raises BadConfig that lists them."""
    found = next((layout for layout in LAYOUTS if layout.name == name), None)
    if found is None:
        known = ", ".join(dict.fromkeys(layout.name for layout in LAYOUTS))
        raise BadConfig(f"problems.layout: there is no layout {name!r}; expected one of {known}")
    return found


def with_fields(layout: Layout | None, named: Mapping[str, str]) -> Layout:
    """A layout, or one that is not in the table, with some parts at the places that the user names.

    Raises:
        BadConfig: a name is no part of a problem.
    """
    parts = {_OTHER_NAMES.get(part, part): place for part, place in named.items()}
    unknown = next((part for part in parts if part not in PARTS), None)
    if unknown is not None:
        known = ", ".join(PARTS)
        raise BadConfig(f"problems.fields: {unknown!r} is no part of a problem; expected {known}")
    name = ", ".join(f"{part}={place}" for part, place in parts.items())
    base = layout or Layout("", (), answer=_STATED)
    return replace(base, name=f"{base.name} with {name}" if base.name else name, **parts)  # type: ignore[arg-type]


COLUMNS: frozenset[str] = frozenset().union(*(layout.columns() for layout in LAYOUTS)) | {
    "body", "Body", "Question", "context", "passage", "prompt", "instruction", "messages", "conversations",
    "completion", "extra_info", "question_type", "problem_is_valid", "solution_is_valid", *LETTERED,
}  # fmt: skip
"""All columns that a layout reads; those that are read by functions are listed."""
