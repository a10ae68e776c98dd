"""Just enough of a Dockerfile's grammar to ask what it does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.paths import ROOT

IMAGES = ROOT / "images"
DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))


@dataclass
class Stage:
    """One FROM and what follows it."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)
    """Keyword in upper case, and the rest on one line."""

    def all(self, keyword: str) -> list[str]:
        return [rest for found, rest in self.instructions if found == keyword]


def instructions(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(keyword.upper(), rest) for keyword, rest in split]


def stages(path: Path) -> list[Stage]:
    found: list[Stage] = []
    for keyword, rest in instructions(path):
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].instructions.append((keyword, rest))
    return found


def arguments(path: Path) -> dict[str, str]:
    """Every ARG of the file with its default."""
    pairs = [rest.partition("=") for keyword, rest in instructions(path) if keyword == "ARG"]
    return {name: value for name, _, value in pairs}


def environment(stage: Stage) -> dict[str, str]:
    words = [word for rest in stage.all("ENV") for word in rest.split()]
    return dict(word.split("=", 1) for word in words)


def is_exec_form(rest: str) -> bool:
    try:
        words = json.loads(rest)
    except json.JSONDecodeError:
        return False
    return isinstance(words, list) and all(isinstance(word, str) for word in words)
