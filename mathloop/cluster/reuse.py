"""Reuse of earlier runs' results through KFP's cache, but never of results that were deleted.

KFP (2.17) reuses the outputs of a task with the same image, command and inputs. It checks neither the task's
environment nor its bucket, so it notices neither a new version of our code nor a deleted artifact. Artifacts
count by id, so that a task whose input was made again runs again too. It is therefore enough to give a run's
first tasks one more input, the cache key made here, which changes with everything that KFP does not see.

To notice deleted artifacts, every task appends a list of its output files to a log in the champions' store,
which lives longer than KFP's bucket. Before a run uses a key, all files of earlier runs with that key are
looked up; if one is missing, the key gets another epoch, and results of those runs are not reused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mathloop.errors import Corrupt, StorageRefused
from mathloop.lines import parse_object
from mathloop.storage import Store, Taken, open_store
from mathloop.storage.keys import KeyNames
from mathloop.storage.s3 import S3Objects, Variables

LEDGER_VARIABLE = "MATHLOOP_LEDGER"
"""Store with the logs of output files; unset where KFP has no cache, as on one machine."""
KEYS = {"accesskey": "MATHLOOP_ARTIFACTS_KEY", "secretkey": "MATHLOOP_ARTIFACTS_SECRET"}
"""Keys of the Secret of KFP's bucket → environment variables."""
ENDPOINT_VARIABLE = "MATHLOOP_ARTIFACTS_ENDPOINT"
BUCKET = Variables(
    ENDPOINT_VARIABLE, (KeyNames(KEYS["accesskey"], KEYS["secretkey"], token="MATHLOOP_ARTIFACTS_TOKEN"),)
)
TASK_FOLDER = re.compile(r"(?P<run>(?:minio|s3)://[^/]+/.+)/[^/]+/[^/]+")
"""KFP's `<root>/<pipeline>/<run>/<task>/<attempt>`, the folder of all outputs of a task."""


def remember(uri: str, path: Path, names: Iterable[str]) -> None:
    """Records a task's output files. If the store does not answer, only the record is lost, not the work.

    Args:
        uri: URI that KFP will give one of the outputs.
        path: this output's local path; the others are in the same folder.
        names: names of all outputs.
    """
    ledger = os.environ.get(LEDGER_VARIABLE, "").strip()
    folder = TASK_FOLDER.fullmatch(uri.rpartition("/")[0])
    if not ledger or folder is None:
        return
    files: list[str] = []
    for output in (path.parent / name for name in names):
        found = output.rglob("*") if output.is_dir() else [output]
        files += [file.relative_to(path.parent).as_posix() for file in found if file.is_file()]
    try:
        store, log = open_store(ledger), _log_of(folder["run"])
        number = len(_entries(store, log, "files", list))
        _append(store, log, number, {"folder": folder[0], "files": sorted(files)})
    except (StorageRefused, Corrupt) as error:
        print(f"could not record this task's outputs for reuse: {error}", file=sys.stderr, flush=True)


def cache_key(seen: Mapping[str, Any], uri: str) -> tuple[str, list[str]]:
    """The cache key of a run, and a sentence per reason why results of earlier runs are not reused.

    Args:
        seen: everything that the run depends on and KFP does not see; equal values have equal keys.
        uri: URI that KFP will give an output of the run's first task.
    """
    ledger = os.environ.get(LEDGER_VARIABLE, "").strip()
    if not ledger:
        return _digest(seen), []
    folder = TASK_FOLDER.fullmatch(uri.rpartition("/")[0])
    if folder is None:
        return _digest([seen, uri]), [f"{uri} is not in S3: results of earlier runs are not reused."]
    run = folder["run"]
    try:
        return _checked(open_store(ledger), _digest([seen, run.rpartition("/")[0]]), run)
    except (StorageRefused, Corrupt) as error:
        reason = f"Results of earlier runs cannot be checked and are not reused: {error}"
        return _digest([seen, run]), [reason]


def _checked(store: Store, base: str, run: str) -> tuple[str, list[str]]:
    notes: list[str] = []
    epochs = f"reuse/{base}/epochs"
    while True:
        epoch = len(_entries(store, epochs, "lost", str))
        taken = f"reuse/{base}/{epoch}"
        runs = [entry["run"] for entry in _entries(store, taken, "run", str)]
        lost = next((lost for other in runs if other != run and (lost := _lost(store, other))), None)
        if lost is None:
            if run not in runs:
                _append(store, taken, len(runs), {"run": run})
            return _digest([base, epoch]), notes
        notes.append(f"{lost} was deleted; results of earlier runs are not reused.")
        with suppress(Taken):  # another run noticed it too
            store.append(epochs, epoch, json.dumps({"run": run, "lost": lost}).encode())


def _lost(store: Store, run: str) -> str | None:
    """The first output file of a run that is missing in KFP's bucket; None if there is none."""
    notes = _entries(store, _log_of(run), "files", list)
    if not notes:
        return None
    bucket, _, prefix = run.partition("://")[2].partition("/")
    present = set(S3Objects(bucket, prefix, BUCKET).keys(""))
    recorded = (f"{note.get('folder')}/{file}" for note in notes for file in note["files"])
    return next((uri for uri in recorded if uri.removeprefix(f"{run}/") not in present), None)


def _log_of(run: str) -> str:
    return f"made/{_digest(run)}"


def _append(store: Store, log: str, number: int, entry: Mapping[str, Any]) -> None:
    """Appends entry `number`, or the next free one if other writers were quicker."""
    while True:
        try:
            store.append(log, number, json.dumps(entry).encode())
            return
        except Taken:
            number += 1


def _entries(store: Store, log: str, field: str, kind: type) -> list[dict[str, Any]]:
    """Entries of a log; raises Corrupt where one is not JSON with this field."""
    entries = []
    for number, record in store.read_log(log):
        try:
            entry = parse_object(record)
        except ValueError as error:
            raise Corrupt(f"{store.url}: entry {number} of {log}: {error}") from None
        if not isinstance(entry.get(field), kind):
            raise Corrupt(f"{store.url}: entry {number} of {log} has no {field!r}")
        entries.append(entry)
    return entries


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
