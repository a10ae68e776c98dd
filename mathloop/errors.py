"""One tree of errors, and which of them the user can fix.

MathloopError            every error that mathloop raises on purpose; exit code 1
├── UserError            one clear line: what is wrong, what was expected, what to do; exit code 2
│   ├── BadConfig        a profile, a --set or a stage's config
│   ├── BadData          a row, file or data set that cannot be read
│   ├── BadModel         a model folder or package that is missing or not what a stage needs
│   ├── StorageRefused   a disk or bucket that refuses to read or write
│   │   └── StorageAway  a bucket's server that does not answer or fails; later it may work
│   └── Corrupt          stored data that is not what was written
├── ChampionMoved        another round promoted its champion first; nothing was changed
├── SandboxError         the sandbox itself failed, not the code that ran in it
├── TrainingDiverged     loss, gradient or KL is not finite
└── Interrupted          SIGTERM stopped a training, which can be resumed; exit code 143
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self


class MathloopError(Exception):
    """Base of every error that mathloop raises on purpose."""

    exit_code = 1

    def to_row(self) -> dict[str, Any]:
        """Itself as JSON values, for another process."""
        return {"type": type(self).__name__, "message": str(self), "exit_code": self.exit_code}

    @staticmethod
    def from_row(row: dict[str, Any]) -> MathloopError:
        """The error of `to_row`; its message already names the place."""
        kind: Any = globals().get(row["type"], MathloopError)
        error: MathloopError = kind(row["message"])
        error.exit_code = row["exit_code"]
        return error


class UserError(MathloopError):
    """A mistake that the user can fix; they see its message, one line."""

    exit_code = 2


class BadConfig(UserError):
    """A profile, a `--set key=value` or a stage's config is not valid."""


class BadData(UserError):
    """A data file cannot be used.

    `row` counts from 1, like line numbers in an editor; `field` is the column's name.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        row: int | None = None,
        field: str | None = None,
    ) -> None:
        self.path, self.row, self.field = path, row, field
        where = [str(path)] if path is not None else []
        where += [f"row {row}"] if row is not None else []
        if field is not None:
            where += [f"field {field if len(field) <= 60 else field[:57] + '...'!r}"]
        super().__init__(f"{', '.join(where)}: {message}" if where else message)

    def bare(self) -> Self:
        """Itself, for a list of errors: without the traceback, whose frames hold the row."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class BadModel(UserError):
    """A model folder, package or pointer is missing or not what the stage needs."""


class StorageRefused(UserError):
    """A disk or bucket refused: not found, no permission, no space, no answer."""


class StorageAway(StorageRefused):
    """A bucket's server did not answer or failed; the same request may work later."""


class Corrupt(UserError):
    """The data read is not the data written; the user restores it or chooses another store."""


class ChampionMoved(MathloopError):
    """Another run promoted a champion first; this one changed nothing."""


class SandboxError(MathloopError):
    """The sandbox itself failed. Code that fails inside it is a result, not an error."""


class Interrupted(MathloopError):
    """A training was asked to stop, and wrote a checkpoint first."""

    exit_code = 143


class TrainingDiverged(MathloopError):
    """A loss, gradient norm or KL divergence is not finite; training stopped without saving the model."""
