"""What a run may take from an earlier one: nothing that is not there any more.

KFP (2.17) keeps which task made what, and names it again where image, command and inputs of a task are the
same. It looks neither at a task's environment nor at its bucket: a new version of our code and an artifact
that somebody deleted are both unknown to it. Artifacts count by their ids, so that whatever depends on a task
that ran anew runs anew too. It is enough, then, to give a run's first tasks one more input, the key that is
made here: it changes where something did that KFP does not see.

So that losses are seen, every task leaves a line in the store of the champions, which lives longer than KFP's
bucket: what it put where. Before a run takes over a key, all that the runs with that key have made is looked
for; where something is missing the key gets another epoch, and nothing of those runs is reused.
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
from mathloop.storage.s3 import S3Objects, Variables

LEDGER_VARIABLE = "MATHLOOP_LEDGER"
"""The store that keeps what tasks made; not set where no cache of KFP is, as on one machine."""
KEYS = {"accesskey": "MATHLOOP_ARTIFACTS_KEY", "secretkey": "MATHLOOP_ARTIFACTS_SECRET"}
"""Keys of the Secret of KFP's bucket → variables that hold them."""
ENDPOINT_VARIABLE = "MATHLOOP_ARTIFACTS_ENDPOINT"
BUCKET = Variables(ENDPOINT_VARIABLE, KEYS["accesskey"], KEYS["secretkey"], token="MATHLOOP_ARTIFACTS_TOKEN")
TASK_FOLDER = re.compile(r"(?P<run>(?:minio|s3)://[^/]+/.+)/[^/]+/[^/]+")
"""KFP's `<root>/<pipeline>/<run>/<task>/<attempt>`, in which a task's outputs stand beside each other."""


def remember(uri: str, path: Path, names: Iterable[str]) -> None:
    """Notes what a task has made. A store that does not answer loses the note, not the work.

    Args:
        uri: where KFP will put one of its outputs.
        path: where that output stands here; the others are beside it.
        names: of all its outputs.
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
        print(f"not noted for later runs: {error}", file=sys.stderr, flush=True)


def cache_key(seen: Mapping[str, Any], uri: str) -> tuple[str, list[str]]:
    """The key of a run that begins with `seen`, and sentences about what it will not reuse.

    Args:
        seen: what the run depends on and KFP does not see; the same gives the same key.
        uri: where KFP will put an output of the run's first task.
    """
    ledger = os.environ.get(LEDGER_VARIABLE, "").strip()
    if not ledger:
        return _digest(seen), []
    folder = TASK_FOLDER.fullmatch(uri.rpartition("/")[0])
    if folder is None:
        return _digest([seen, uri]), [f"{uri} is not in S3: this run reuses nothing of earlier ones."]
    run = folder["run"]
    try:
        return _checked(open_store(ledger), _digest([seen, run.rpartition("/")[0]]), run)
    except (StorageRefused, Corrupt) as error:
        said = f"What earlier runs made cannot be looked at, so nothing of it is reused: {error}"
        return _digest([seen, run]), [said]


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
        notes.append(f"{lost} is gone: nothing of the runs up to now is reused.")
        with suppress(Taken):  # another run saw it too
            store.append(epochs, epoch, json.dumps({"run": run, "lost": lost}).encode())


def _lost(store: Store, run: str) -> str | None:
    """The first of what a run made that is not where KFP put it; None where all is there."""
    notes = _entries(store, _log_of(run), "files", list)
    if not notes:
        return None
    bucket, _, prefix = run.partition("://")[2].partition("/")
    there = set(S3Objects(bucket, prefix, BUCKET).keys(""))
    made = (f"{note.get('folder')}/{file}" for note in notes for file in note["files"])
    return next((uri for uri in made if uri.removeprefix(f"{run}/") not in there), None)


def _log_of(run: str) -> str:
    return f"made/{_digest(run)}"


def _append(store: Store, log: str, number: int, entry: Mapping[str, Any]) -> None:
    """Adds entry `number`, or the next one that is free where others were quicker."""
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
