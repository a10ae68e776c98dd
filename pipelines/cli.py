"""The command line: `mathloop …`. Commands stand in `pipelines.commands`, their order in the help here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import typer

from mathloop.errors import BadConfig, MathloopError
from mathloop.remedies import explain
from pipelines import streams
from pipelines.commands import answering, benchmarks, cluster, data, rounds
from pipelines.commands.ending import end
from pipelines.paths import check_text

app = typer.Typer(
    help="A math language model that improves itself, in rounds.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
UsageError = typer.BadParameter.__mro__[1]
"""Of click, which typer brings along or imports, depending on its version."""

app.command()(rounds.run)
app.command("compile")(cluster.compile_pipelines)
for command in (cluster.submit, cluster.schedule, cluster.rounds, cluster.rollback, cluster.doctor):
    app.command()(command)
for command in (data.grade, data.execute, data.decontaminate):
    app.command()(command)
app.command()(benchmarks.benchmark)
for command in (answering.evaluate, answering.serve, answering.ask):
    app.command()(command)


def main() -> None:
    """Runs a command; what its user can mend, and what mathloop raises, becomes one line and an exit code."""
    try:
        streams.prepare()
        _check_call()
        try:
            code = app(sys.argv[1:] or ["--help"], prog_name="mathloop", standalone_mode=False)
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
