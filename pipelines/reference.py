"""Generates docs/reference.md from the code: commands, options, exit codes, every field of a profile."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from mathloop.errors import MathloopError, UserError
from mathloop.settings import SECTIONS, Settings
from pipelines.cli import app
from pipelines.commands.exiting import INTERRUPTED
from pipelines.profile import load_profile, profile_names

FILE = Path(__file__).parents[1] / "docs" / "reference.md"
INTRO = (
    "Generated from the code by `python -m pipelines.reference` (`make docs`): edit the code, not this page."
)
EXIT_CODES = {
    0: "Success, also for a round that does not promote its challenger.",
    MathloopError.exit_code: "A stage failed, `doctor` found something missing, or something else broke.",
    UserError.exit_code: "An error in options, settings, files or the store; the message says how to fix it.",
    INTERRUPTED: "Stopped by Ctrl-C; in a round also by SIGTERM or a closed terminal.",
}
PROFILES = """A profile is a YAML file with the fields and sections below; `--set section.field=value`
overrides a field. Missing fields have the defaults below, also in nested sections. `extends: laptop` starts
from another profile. `mathloop profiles NAME` prints what a profile changes."""
KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}


def render() -> str:
    """The whole page; it depends only on the code and the shipped profiles."""
    profiles = [load_profile(name) for name in profile_names()]
    blocks = ["# Reference", INTRO, "## Commands", *_commands(), "## Exit codes"]
    blocks.append(_table(("code", "when"), ((str(code), meaning) for code, meaning in EXIT_CODES.items())))
    blocks += ["## Profiles", PROFILES]
    blocks.append(
        _table(("profile", "description"), ((f"`{one.name}`", one.description) for one in profiles))
    )
    blocks += ["### Top-level fields", _fields(Settings)]
    nested: dict[str, Any] = {}
    for name in SECTIONS:
        model: Any = Settings.model_fields[name].annotation
        blocks += _section(name, model)
        nested |= _inner(model)
        nested |= {item.__name__.lower(): item for item in _listed(model)}
    for model in list(nested.values()):
        nested |= _inner(model)
        nested |= {item.__name__.lower(): item for item in _listed(model)}
    blocks += ["## Nested sections", "These defaults apply unless a section above has its own."]
    blocks += [block for name, model in nested.items() for block in _section(name, model)]
    return "\n\n".join(blocks) + "\n"


def _inner(model: Any) -> dict[str, Any]:
    """The sections inside a section."""
    return {key: field.annotation for key, field in model.model_fields.items() if _is_section(field)}


def _commands() -> Iterator[str]:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        usage, rows = ["mathloop", name], []
        for param in (param for param in command.params if not param.hidden):
            metavar = param.metavar or param.name.upper()
            flag = getattr(param, "is_flag", False)
            option = param.opts[0] if flag else f"{param.opts[0]} {metavar}"
            word = metavar if param.param_type_name == "argument" else option
            usage.append((word if param.required else f"[{word}]") + ("…" if param.multiple else ""))
            shown = not flag and isinstance(param.default, str | int | float)
            default = f"`{param.default}`" if shown else ""
            rows.append((f"`{word}`", "required" if param.required else default, param.help))
        yield f"### mathloop {name}"
        yield inspect.cleandoc(command.help)
        yield f"```console\n$ {' '.join(usage)}\n```"
        if rows:
            yield _table(("option", "default", "description"), rows)


def _section(name: str, model: type[BaseModel]) -> tuple[str, str, str]:
    return f"### {name}", inspect.cleandoc(model.__doc__ or ""), _fields(model)


def _fields(model: type[BaseModel]) -> str:
    rows = (
        (f"`{name}`", *_described(name, field))
        for name, field in model.model_fields.items()
        if model is not Settings or name not in SECTIONS
    )
    return _table(("field", "type", "default", "description"), rows)


def _described(name: str, field: FieldInfo) -> tuple[str, str, str]:
    """Type, default and description; for a nested section, only what differs from its own defaults."""
    model: Any = field.annotation
    if _is_section(field):
        return f"section [{name}](#{name})", f"`{_changed(field.default)}`", inspect.cleandoc(model.__doc__)
    bounds = [(sign, getattr(rule, key, None)) for key, sign in BOUNDS.items() for rule in field.metadata]
    kind = ", ".join([_kind(model), *(f"{sign} {bound:.15g}" for sign, bound in bounds if bound is not None)])
    default = field.default if isinstance(field.default, str) else json.dumps(field.default, default=str)
    return kind, "required" if field.is_required() else f"`{default}`", field.description or ""


def _changed(section: BaseModel) -> str:
    """`{field: value, section: {field: value}}` of what differs from the section's own defaults."""
    own = type(section)()
    changed = ((key, value) for key, value in section if value != getattr(own, key))
    told = (f"{key}: {_changed(value) if isinstance(value, BaseModel) else value}" for key, value in changed)
    return f"{{{', '.join(told)}}}"


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(hint) if choice != "")
    if get_origin(hint) is dict:
        return f"section of: name → {_kind(get_args(hint)[1])}"
    if get_origin(hint) is UnionType:
        return " or ".join("null" if choice is NoneType else _kind(choice) for choice in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"section [{hint.__name__.lower()}](#{hint.__name__.lower()})"
    return f"list of: {_kind(get_args(hint)[0])}" if get_origin(hint) is tuple else KINDS[hint]


def _listed(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Sections in a list, or optional sections, of a section."""
    for field in model.model_fields.values():
        for item in get_args(field.annotation):
            if isinstance(item, type) and issubclass(item, BaseModel):
                yield item


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.default, BaseModel)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    lines = (" | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in row) for row in cells)
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
    print(FILE)
