"""Templates: the prompts of an operation, versioned, each with the parser of what it asks for."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mathloop.errors import BadConfig
from mathloop.records import Language, Problem
from mathloop.validation import closest, first_mistake
from mathloop.writing.operations import OPERATIONS, Operation
from mathloop.writing.parsing import PARSERS
from mathloop.yaml_values import odd_value, read

FOLDER = Path(__file__).parent / "templates"
_FIELD = re.compile(r"(?<![\\A-Za-z}])\{([a-z_]{3,})\}")
"""A field of a prompt. The braces of \\frac{…}{…} are none."""


class Template(BaseModel):
    """How a model is asked for an operation, and how its text is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The file's name")
    version: int = Field(ge=1, description="Raised with every change of the prompts")
    operation: str = Field(description="The operation, which decides what is checked")
    parser: str = Field(description="How the problem is read out of the text")
    prompts: dict[Language, str] = Field(
        min_length=1, description="Language of the parent → prompt, with a {field} per parent"
    )
    families: tuple[str, ...] = Field((), description="Families of the parents; empty: all")
    back: str = Field("", description="Prompt that translates a written {problem} back; empty: not checked")

    @property
    def does(self) -> Operation:
        """The operation."""
        return OPERATIONS[self.operation]

    def takes(self, parent: Problem) -> bool:
        """Whether the problem may be a parent. One with choices may not: its answer is a letter."""
        known = not self.families or parent.family in self.families
        return known and parent.language in self.prompts and not parent.choices

    def prompt(self, language: Language, parents: tuple[Problem, ...]) -> str:
        """The prompt for these parents, one per field of the operation."""
        fields = zip(self.does.fields, parents, strict=True)
        return _filled(self.prompts[language], {name: one.problem for name, one in fields})

    def back_prompt(self, statement: str) -> str:
        """The prompt that translates a statement back."""
        return _filled(self.back, {"problem": statement})

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.operation not in OPERATIONS:
            raise ValueError(
                f"operation: no operation {self.operation!r}{closest(self.operation, list(OPERATIONS))}; "
                f"known: {', '.join(OPERATIONS)}"
            )
        if self.parser not in PARSERS:
            raise ValueError(
                f"parser: no parser {self.parser!r}{closest(self.parser, list(PARSERS))}; "
                f"known: {', '.join(PARSERS)}"
            )
        for language, prompt in self.prompts.items():
            _check_fields(f"prompts.{language}", prompt, self.does.fields)
        if self.back:
            _check_fields("back", self.back, ("problem",))
        return self


def _filled(prompt: str, values: dict[str, str]) -> str:
    """In one pass: a statement may itself hold what looks like a field."""
    return _FIELD.sub(lambda found: values[found[1]], prompt).strip()


def _check_fields(place: str, prompt: str, needed: tuple[str, ...]) -> None:
    found = set(_FIELD.findall(prompt))
    fields = ", ".join(f"{{{name}}}" for name in needed) or "no field"
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{place}: the field {{{missing[0]}}} is missing; this prompt needs {fields}")
    if unknown := sorted(found - set(needed)):
        raise ValueError(f"{place}: there is no field {{{unknown[0]}}}; this prompt takes {fields}")


def template_names() -> list[str]:
    """Names of the shipped templates."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def is_file(name: str) -> bool:
    """Whether a template's name is that of a user's file."""
    return name.endswith((".yaml", ".yml"))


@lru_cache(maxsize=64)
def load_template(name: str) -> Template:
    """A shipped template by name, or a user's file.

    Raises:
        BadConfig: there is no such template, or it is not valid: one line with file and field.
    """
    path = Path(name).expanduser() if is_file(name) else FOLDER / f"{name}.yaml"
    if not name or not path.is_file():
        known = template_names()
        raise BadConfig(
            f"no template {name!r}{closest(name, known)}; known: {', '.join(known)}, or a .yaml file"
        )
    where = name if is_file(name) else path.name
    values = read(path, where)
    if odd := odd_value(values):
        raise BadConfig(f"{where}: {'.'.join(odd[0])}: {odd[1]}")
    try:
        return Template.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise BadConfig(first_mistake(error, Template).line(where)) from None
