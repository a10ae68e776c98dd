"""The command line: `mathloop …`, and how a command ends that was refused."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import typer

from mathloop.errors import BadConfig, MathloopError
from mathloop.remedies import explain
from pipelines import streams
from pipelines.commands.ending import end
from pipelines.commands.table import COMMANDS
from pipelines.paths import check_text

app = typer.Typer(
    help="A math language model that improves itself, in rounds.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
UsageError: Any = typer.BadParameter.__mro__[1]
"""Of click, which typer brings along or imports, depending on its version."""
HOME = re.compile(r"^(--[a-z-]+=)?~(?=/|$)")
"""What a shell leaves as it is: `~` after `--option=`, or in quotes."""

for name, command in COMMANDS.items():
    app.command(name)(command)


def main() -> None:
    """Runs a command; an error of mathloop's own becomes one line and an exit code."""
    try:
        streams.prepare()
        _check_call()
        try:
            code = app(_arguments() or ["--help"], prog_name="mathloop", standalone_mode=False)
        finally:
            sys.stdout.flush()  # while a refusal can still be told
    except MathloopError as error:
        end(str(error), error.exit_code)
    except OSError as error:
        end(explain(error))
    except typer.Abort:
        end("the input ended", MathloopError.exit_code)
    except UsageError as error:
        asked: Any = error
        command = asked.ctx.command_path if asked.ctx else "mathloop"
        end(f"{asked.format_message().rstrip('.')}; see {command} --help")
    sys.exit(code or 0)


def _arguments() -> list[str]:
    """The command line's arguments, `~` in them the home folder."""
    home = str(Path.home())
    return [HOME.sub(lambda match: (match[1] or "") + home, text, count=1) for text in sys.argv[1:]]


def _check_call() -> None:
    """Refuses what would go wrong in every command."""
    try:
        os.getcwd()
    except OSError:
        raise BadConfig("the current folder is gone or closed; go to another") from None
    for argument in sys.argv[1:]:
        check_text(Path(argument))


if __name__ == "__main__":
    main()
