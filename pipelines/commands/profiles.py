"""`mathloop profiles`: the shipped profiles and their settings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.commands.options import Sets


def profiles(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Profile name or .yaml file.")] = None,
    sets: Sets = None,
) -> None:
    """Lists the profiles; with NAME, prints the settings that differ from the defaults, next to these."""
    from mathloop.errors import BadConfig
    from mathloop.settings import Settings
    from pipelines.profile import changed_fields, load_profile, profile_names

    if name is None:
        if sets:
            raise BadConfig("--set changes a profile; add its NAME")
        width = max(map(len, profile_names()))
        for known in profile_names():
            print(f"{known:{width}}  {load_profile(known).description}")
        return
    print("\n".join(_lines(list(changed_fields(load_profile(name, sets or []), Settings())))))


def _lines(changes: list[tuple[tuple[str, ...], Any, Any]]) -> list[str]:
    """Valid profile YAML, one field per line with its default as a comment."""
    lines: list[str] = []
    above: tuple[str, ...] = ()
    for path, value, default in changes:
        *sections, field = path
        shared = 0
        while shared < min(len(sections), len(above)) and sections[shared] == above[shared]:
            shared += 1
        lines += [f"{'  ' * depth}{sections[depth]}:" for depth in range(shared, len(sections))]
        note = "" if field in ("name", "description") else f"  # default {_yaml(default)}"
        lines.append(f"{'  ' * len(sections)}{field}: {_yaml(value)}{note}")
        above = tuple(sections)
    return lines


def _yaml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)  # JSON is one-line YAML
