"""What can be deleted of local runs, with sizes, and what is lost by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mathloop.errors import BadConfig
from mathloop.files import disk
from pipelines.local.folder import RunFolder, read_done, read_json

MODELS = ("*.safetensors", "*.bin", "*.pt")
"""Files that make a folder a model's weights."""
LAST_STAGES = {
    "improvement-round": "judgment",
    "evaluation": "evaluation",
    "pretraining": "base-publication",
    "model-import": "base-publication",
    "data": "decontamination",
    "writing": "writing",
    "written-corpus": "written-corpus",
}
"""Pipeline → the stage that ends it."""


@dataclass(frozen=True)
class Removable:
    """A folder that can go."""

    run: RunFolder
    path: Path
    kind: str
    """`checkpoints`, `models` or `run`."""
    size: int
    """Bytes."""


def removable(runs: Iterable[RunFolder], *, models: bool, whole: bool) -> Iterator[Removable]:
    """What can go of these runs.

    A stage that has finished needs its work folder no more: its checkpoints. `models` adds the weights that
    stages of a finished run left; resuming it makes them again. `whole` takes finished runs altogether. A run
    that is not finished loses nothing but checkpoints of its finished stages.
    """
    for run in runs:
        if whole and is_finished(run):
            yield Removable(run, run.path, "run", size_of(run.path))
            continue
        for marker in sorted(run.stages.glob("*/done.json")):
            work, done = marker.parent / "work", read_done(marker.parent)
            if done is None or any(str(path).startswith("work/") for path in done["outputs"]):
                continue  # a stage may leave its output where it made it
            if work.is_dir() and (size := size_of(work)):
                yield Removable(run, work, "checkpoints", size)
        if models and is_finished(run):
            for folder in sorted(
                path for path in run.stages.glob("*/*") if path.is_dir() and path.name != "work"
            ):
                if any(next(folder.glob(form), None) for form in MODELS):
                    yield Removable(run, folder, "models", size_of(folder))


def remove(run: RunFolder, chosen: Collection[Path], *, models: bool, whole: bool) -> Iterator[Removable]:
    """Deletes what can still go of the run's chosen folders, and yields each one that is gone.

    Raises:
        BadConfig: a process works on the run.
        StorageRefused: the disk refuses.
    """
    if not run.path.is_dir():
        return  # another process has deleted it
    with run.locked():  # it may have been resumed since the folders were listed
        for found in removable([run], models=models, whole=whole):
            if found.path in chosen:
                with disk(found.path):
                    shutil.rmtree(found.path)
                    if found.kind == "checkpoints":
                        found.path.mkdir()
                yield found


def is_finished(run: RunFolder) -> bool:
    """Whether the last stage of the run's pipeline has ended; of a pipeline without a known one: no."""
    last = LAST_STAGES.get(str((read_json(run.path / "run.json") or {}).get("pipeline")))
    return last is not None and read_done(run.stages / last) is not None


def size_of(folder: Path) -> int:
    """Bytes of all files below; a link counts as nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                path = Path(root, name)
                total += 0 if path.is_symlink() else path.stat().st_size
    return total


def find_runs(names: Iterable[str], runs: Path) -> list[RunFolder]:
    """The runs with these ids or folders, or all below `runs`; raises BadConfig."""
    wanted = list(names)
    if wanted:
        return [RunFolder.find(name, runs) for name in wanted]
    found = sorted(path.parent for path in runs.glob("*/run.json"))
    if not found:
        raise BadConfig(f"there are no runs in {runs}/; change to the folder that has them, or name one")
    return [RunFolder(path) for path in found]
