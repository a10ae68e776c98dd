"""Tasks that the programs of our jobs' pods get from their environment."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mathloop.errors import BadConfig
from mathloop.validation import first_mistake

T = TypeVar("T", bound=BaseModel)


def parse(variable: str, text: str, model: type[T]) -> T:
    """The task in an environment variable, or the settings in it. Raises BadConfig, one line."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        line = first_mistake(error, model).line(variable)
        raise BadConfig(f"{line}; launch the step again") from None
