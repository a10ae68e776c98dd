"""Solved examples for few-shot prompts: shipped sets in `few_shot`, or a user's file.

A set is a YAML file with `examples`; a user's file may also be JSON, or hold a list of [problem, solution]
pairs, or several such lists by name: FILE#NAME.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mathloop.errors import BadConfig
from mathloop.problems.sources.choices import shown
from mathloop.records import Language, Mode
from mathloop.validation import closest, first_mistake
from mathloop.yaml_values import read_any

FOLDER = Path(__file__).parent / "few_shot"
_FILES = (".yaml", ".yml", ".json")


class Example(BaseModel):
    """One solved problem."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problem: str = Field(min_length=1, description="Statement, without its choices")
    choices: tuple[str, ...] = Field((), description="Choices, in the order of their letters")
    solution: str = Field(min_length=1, description="CoT solution, which ends in the answer")
    tir: str = Field("", description="Solution with Python and its output; empty: none for TIR")


class ExampleSet(BaseModel):
    """Examples, and the words around them in a text prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name, or the user's file")
    language: Language = Field("en", description="Language of the examples")
    question: str = Field("Question:", min_length=1, description="Word before each problem")
    answer: str = Field("Answer:", min_length=1, description="Word before each solution")
    examples: tuple[Example, ...] = Field(min_length=1, description="The solved problems")

    @property
    def has_tir(self) -> bool:
        """Whether its examples have TIR solutions."""
        return all(example.tir for example in self.examples)

    def shots(self, count: int, mode: Mode) -> list[tuple[str, str]]:
        """(statement, solution) of the first `count` examples. Raises BadConfig where there are fewer."""
        if count > len(self.examples):
            raise BadConfig(
                f"few-shot set {self.name} has {len(self.examples)} examples, and {count} shots are set: "
                "lower shots, or add examples"
            )
        chosen = self.examples[:count]
        if mode == "tir" and not self.has_tir:
            raise BadConfig(
                f"few-shot set {self.name} has no TIR solutions: ask a base model in CoT alone, or add "
                "`tir` to examples of your own"
            )
        return [
            (
                shown(one.problem, one.choices, self.language) if one.choices else one.problem,
                one.tir if mode == "tir" else one.solution,
            )
            for one in chosen
        ]


def example_sets() -> list[str]:
    """Names of the shipped sets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@lru_cache(maxsize=64)
def load_examples(name_or_path: str) -> ExampleSet:
    """A shipped set by name, or a user's file; FILE#NAME is one list of a file with several.

    Raises:
        BadConfig: there is no such set or file, or it is none (one line).
    """
    file, _, part = name_or_path.partition("#")
    is_file = file.endswith(_FILES)
    path = Path(file).expanduser() if is_file else FOLDER / f"{file}.yaml"
    if not file or not path.is_file():
        known = example_sets()
        listed = f"known: {', '.join(known)}, or a .yaml or .json file"
        raise BadConfig(f"no few-shot set {name_or_path!r}{closest(name_or_path, known)}; {listed}")
    where = name_or_path if is_file else path.name
    values = read_any(path, where)
    if part:
        values = _part(values, part, where)
    if isinstance(values, list):
        values = {"examples": [_pair(value, number, where) for number, value in enumerate(values, 1)]}
    if not isinstance(values, dict) or "examples" not in values:
        found = f" (choose one with #NAME: {', '.join(map(str, values))})" if isinstance(values, dict) else ""
        raise BadConfig(f"{where}: expected `examples`, or a list of [problem, solution] pairs{found}"[:400])
    try:
        return ExampleSet.model_validate({"name": name_or_path, **values})
    except ValidationError as error:
        raise BadConfig(first_mistake(error, ExampleSet).line(where)) from None


def _part(values: Any, name: str, where: str) -> Any:
    if not isinstance(values, dict) or name not in values:
        known = ", ".join(map(str, values)) if isinstance(values, dict) else "it is no object"
        raise BadConfig(f"{where}: no list of this name in the file; found {known}"[:400])
    return values[name]


def _pair(value: Any, number: int, where: str) -> Any:
    if isinstance(value, dict):
        return value
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(text, str) for text in value):
        raise BadConfig(f"{where}: example {number}: expected [problem, solution], two texts")
    return {"problem": value[0], "solution": value[1]}
