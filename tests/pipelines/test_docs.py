"""What users read agrees with the code: the generated page, links, command lines, settings, record fields."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mathloop.records import Document, Problem, Response
from mathloop.registry import Champion
from mathloop.settings import Settings
from mathloop.stages import StageReport
from pipelines import profile as profiles
from pipelines import reference
from pipelines.cli import app
from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {"key=value", "KEY=VALUE"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_the_reference_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "37")
    monkeypatch.setenv("TERMINAL_WIDTH", "37")
    written = reference.FILE.read_text(encoding="utf-8")
    assert written == reference.render(), "docs/reference.md is stale: make docs"


def test_the_reference_has_every_option() -> None:
    sections = _sections(reference.render())
    for name, command in _commands().items():
        listed = [row[0].strip("`").partition(" ")[0] for row in sections[f"mathloop {name}"]]
        shown = [param for param in command.params if not param.hidden]
        assert listed == [param.opts[0] if param.opts[0][0] == "-" else param.metavar for param in shown]


def test_the_reference_has_every_setting_with_its_default() -> None:
    sections = _sections(reference.render())
    silent = profiles.check_profile({"name": "n", "description": "d"}, "silent")
    checked = 0
    for path, kind in _settings(Settings):
        if hasattr(kind, "model_fields") or path in ("name", "description"):
            continue
        *above, name = path.split(".")
        section = ".".join(above) or "Top-level fields"
        shown = {row[0]: row[2] for row in sections.get(section) or sections[above[-1]]}[f"`{name}`"]
        # A section around it may have other defaults than its own; the outermost wins.
        for depth in range(len(above) - 1, 0, -1):
            around = sections.get(".".join(above[:depth])) or sections[above[depth - 1]]
            outer = {row[0]: row[2] for row in around}[f"`{above[depth]}`"]
            other = re.search(rf"[{{ ]{name}: ([^,}}]+)", outer)
            shown = other[1] if other else shown
        default = attrgetter(path)(silent)
        told = shown.strip("`")
        assert told == default if isinstance(default, str) else json.loads(told) == _plain(default), path
        checked += 1
    assert checked > 50


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(file), f"{page.name}: {target}"


@each_page
def test_commands_can_be_called_so(page: Path) -> None:
    for line in _command_lines(page.read_text(encoding="utf-8")):
        name, *arguments = shlex.split(re.sub(r"(?<!=)\[([^\]]*)\]|…", r"\1", line), comments=True)
        if name == "--help":
            continue
        command = _commands().get(name)
        assert command is not None, f"{page.name}: there is no command {line!r}"
        context = command.make_context(name, [], resilient_parsing=True)
        context.resilient_parsing = False
        given, left, _ = command.make_parser(context).parse_args(arguments)
        assert not left, f"{page.name}: {line!r} has too many arguments: {left}"
        profile = given.get("profile") or "laptop"
        if profile.islower() and not profile.endswith(".yaml"):
            profiles.load_profile(
                profile, [text for text in given.get("sets") or () if text not in PLACEHOLDERS]
            )


@each_page
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {path for path, _ in _settings(Settings)}
    sections = {path.partition(".")[0] for path in known if "." in path}
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", page.read_text(encoding="utf-8")):
        is_file = (ROOT / "docs" / name).exists() or name.endswith(
            (".jsonl", ".json", ".yaml", ".md", ".txt")
        )
        if not is_file and name.partition(".")[0] in sections:
            assert name in known, f"{page.name}: no setting {name}"


@pytest.mark.parametrize(
    ("heading", "record"),
    [
        ("## Problem", Problem),
        ("## Response", Response),
        ("## Document", Document),
        ("### Stage reports", StageReport),
        ("### The line of champions", Champion),
    ],
)
def test_records_are_listed_field_by_field(heading: str, record: type[Any]) -> None:
    _, _, section = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition(f"\n{heading}\n")
    listed = re.findall(
        r"^\| `(\w+)` \|", re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE
    )
    assert listed == [field.name for field in fields(record)]


def _commands() -> dict[str, Any]:
    return get_command(app).commands  # type: ignore[attr-defined, no-any-return]


def _sections(page: str) -> dict[str, list[list[str]]]:
    """Heading → the rows of the table below it, without its head."""
    parts = re.split(r"^#+ (.+)$", page, flags=re.MULTILINE)[1:]
    tables = [[line for line in body.splitlines() if line.startswith("| ")][2:] for body in parts[1::2]]
    rows = [[line.strip("| ").split(" | ") for line in table] for table in tables]
    return dict(zip(parts[::2], rows, strict=True))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _settings(model: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, type) of every field and section."""
    for name, field in model.model_fields.items():
        yield above + name, field.annotation
        if hasattr(field.annotation, "model_fields"):
            yield from _settings(field.annotation, f"{above}{name}.")


def _command_lines(text: str) -> Iterator[str]:
    """What follows `mathloop` in code blocks and in inline code, up to a pipe or a redirection."""
    codes = [*FENCE.findall(text), *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]
    for line in "\n".join(codes).replace("\\\n", " ").splitlines():
        for found in re.findall(r"(?:^|[\s/])mathloop +([a-z-][^|<>;&]*)", line):
            yield found.strip()


def _anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them of headings."""
    found: dict[str, int] = {}
    anchors = set()
    for heading in re.findall(
        r"^#{1,6} +(.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    ):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).strip().replace(" ", "-")
        number = found[plain] = found.get(plain, -1) + 1
        anchors.add(f"{plain}-{number}" if number else plain)
    return anchors


def test_the_checks_find_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text in ("`mathloop rum`", "```console\n$ mathloop run --sed 3\n```\n", "`mathloop grade a b`"):
        page.write_text(text, encoding="utf-8")
        with pytest.raises(Exception, match=r"no command|[Nn]o such option|too many"):
            test_commands_can_be_called_so(page)
    page.write_text("`mathloop run --set grpo.stepz=3`", encoding="utf-8")
    with pytest.raises(Exception, match="no such field"):
        test_commands_can_be_called_so(page)
    for text in ("[a](gone.md)", "# One\n[a](#two)"):
        page.write_text(text, encoding="utf-8")
        with pytest.raises(AssertionError, match=r"page\.md"):
            test_links_lead_somewhere(page)
    page.write_text("`grpo.stepz`", encoding="utf-8")
    with pytest.raises(AssertionError, match="no setting"):
        test_settings_that_are_named_exist(page)
