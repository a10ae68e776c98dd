"""Reads settings from YAML into plain values; errors are one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from mathloop.errors import BadConfig
from mathloop.validation import SHOWN, cut

DEEPEST, MOST = 20, 10_000
"""Limits on nesting levels and number of values; YAML aliases can be recursive."""


_REPLACED = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, a date, 1:30 and 010 are text, and a duplicate key is an error."""

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]  # the stubs call it an instance's
        first: [(tag, form) for tag, form in forms if tag not in _REPLACED]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, ArithmeticError):
            # The text does not fit its tag, such as !!int abc.
            problem = f"{cut(str(node.value))!r} is not of type {node.tag.rpartition(':')[2]}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(problem=f"{twice[0]!r} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


# As in YAML 1.2: in 1.1, which PyYAML reads, 010 is eight and 1:30 is ninety.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def parse(text: str) -> Any:
    """One YAML value; raises only yaml.YAMLError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="nested too deep") from None


def read(path: Path, shown: str) -> dict[str, Any]:
    """Reads a file of settings; a BadConfig names the file as `shown`."""
    values = read_any(path, shown)
    if not isinstance(values, dict):
        raise BadConfig(f"{shown}: expected fields such as `name: …` and sections such as `grpo:`")
    return values


def read_any(path: Path, shown: str) -> Any:
    """Reads a file with any YAML value, which JSON is too; a BadConfig names the file as `shown`."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadConfig(f"{shown}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except yaml.reader.ReaderError as error:
        raise BadConfig(f"{shown}: not text (character {error.position}: {error.reason})") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise BadConfig(f"{shown}:{line} not valid YAML: {error.problem}") from None


def odd_value(values: Mapping[str, Any]) -> tuple[tuple[str, ...], str] | None:
    """The path of the first value that no setting allows, with the reason; None if there is none."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), values)]
    seen = 0
    while todo:
        names, value = todo.pop()
        seen += 1
        if len(names) > DEEPEST or seen > MOST:
            return names[:2], "too deep or too long; is it an alias of a section around it?"
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or _odd_text(key):
                    return names, f"expected names of fields, found {ascii(key)[:SHOWN]}"
            todo += [((*names, key), inner) for key, inner in reversed(list(value.items()))]
        elif isinstance(value, list):
            todo += [((*names, str(index)), inner) for index, inner in reversed(list(enumerate(value)))]
        elif isinstance(value, str):
            if wrong := _odd_text(value):
                return names, f"expected text, found {wrong}"
        elif isinstance(value, int | float):  # a bool is an int
            if not abs(value) < 2**63:  # nor of "not a number"
                return names, "expected a finite number below 2^63"
        elif value is not None:
            return names, f"expected a number, text, list or section, found a {type(value).__name__}"
    return None


def _odd_text(text: str) -> str:
    if "\0" in text:
        return "a NUL character"
    return "half a surrogate pair" if any("\ud800" <= letter <= "\udfff" for letter in text) else ""
