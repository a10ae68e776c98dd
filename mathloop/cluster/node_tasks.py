"""Tasks that the programs of our jobs' pods get from their environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mathloop.errors import BadConfig
from mathloop.validation import first_mistake

T = TypeVar("T", bound=BaseModel)
C = TypeVar("C", bound=BaseModel)


def read_task(
    variable: str, text: str, model: type[T], config: Callable[[T], tuple[type[C], str]]
) -> tuple[T, C]:
    """The task in an environment variable, and the settings in it.

    Args:
        config: the model of the settings in a task, and these as JSON.

    Raises:
        BadConfig: one of the two does not fit its model.
    """
    checked: type[BaseModel] = model
    try:
        task = model.model_validate_json(text)
        checked, given = config(task)
        return task, checked.model_validate_json(given)
    except ValidationError as error:
        line = first_mistake(error, checked).line(variable)
        raise BadConfig(f"{line}; launch the step again") from None
