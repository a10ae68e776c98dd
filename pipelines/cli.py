"""The command line, `mathloop …`: runs a command and reports errors."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import mathloop
from mathloop.errors import BadConfig, MathloopError
from mathloop.remedies import explain
from mathloop.stages import Progress
from pipelines import streams
from pipelines.commands.exiting import INTERRUPTED, fail
from pipelines.commands.table import COMMANDS
from pipelines.paths import check_text

app = typer.Typer(
    help="A math language model that improves itself, in rounds.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
UsageError: Any = typer.BadParameter.__mro__[1]
"""click's UsageError; depending on its version, typer imports click or contains a copy."""
HOME = re.compile(r"^(--[a-z-]+=)?~(?=/|$)")
"""A `~` that shells do not expand: after `--option=`, or in quotes."""

for name, command in COMMANDS.items():
    app.command(name)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mathloop {mathloop.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A math language model that improves itself, in rounds."""


def main() -> None:
    """Runs a command; prints a MathloopError as one line and exits with its code."""
    try:
        streams.prepare()
        _check_call()
        Progress.readable = True
        try:
            code = app(_arguments() or ["--help"], prog_name="mathloop", standalone_mode=False)
        finally:
            sys.stdout.flush()  # while an error can still be reported
    except MathloopError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        fail(explain(error))
    except typer.Abort:
        fail("the input ended", MathloopError.exit_code)
    except UsageError as error:
        usage: Any = error
        command = usage.ctx.command_path if usage.ctx else "mathloop"
        fail(f"{usage.format_message().rstrip('.')}; see {command} --help")
    except Exception as error:
        if not _interrupted(error):
            raise
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: pydantic wraps even that in an error of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _arguments() -> list[str]:
    """The command line's arguments, with `~` expanded."""
    home = str(Path.home())
    return [HOME.sub(lambda match: (match[1] or "") + home, text, count=1) for text in sys.argv[1:]]


def _check_call() -> None:
    """Rejects calls that would fail in every command."""
    try:
        os.getcwd()
    except OSError:
        raise BadConfig("the current folder is gone or cannot be read; change to another one") from None
    for argument in sys.argv[1:]:
        check_text(Path(argument))


if __name__ == "__main__":
    main()
