"""Stage: what can be known before anything is computed.

Wrong settings end a run here, before a GPU is asked for. The run's seed is drawn where none is fixed, and the
key is made of what KFP may reuse of earlier runs.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

import mathloop
from mathloop.cluster import reuse
from mathloop.cluster.config import STAGE_CONFIGS
from mathloop.errors import BadConfig, BadModel
from mathloop.files import check_plain, reading
from mathloop.registry import Registry, stages
from mathloop.stages import StageReport
from mathloop.storage import open_store

CODE_VERSION_VARIABLE = "MATHLOOP_CODE_VERSION"
"""What whoever submits calls the code; the code that is installed counts beside it."""
DRAWN = -1
"""As a seed: one that follows from the run's id, so that every run of a schedule has another."""
SEEDS = 2**31


class Start(NamedTuple):
    """What a run's stages are given."""

    cache_key: str
    seed: int


def run(
    *, store_url: str, round_id: str, problems_file: str, seed: int, settings: Mapping[str, str], uri: str
) -> tuple[StageReport, Start]:
    """Checks the settings, that the store takes writes, and that it has a whole champion.

    Args:
        round_id: the run's id, which a seed of -1 is drawn from.
        problems_file: empty for the built-in generator.
        settings: name of a stage's section → its config as JSON.
        uri: where KFP will put this stage's report.

    Raises:
        BadConfig: a section is not what its stage takes.
        BadData: the problems file cannot be read.
        StorageRefused: the store cannot be reached, read or written.
        BadModel: there is no champion, or one of its models is missing.
    """
    started = time.monotonic()
    check_settings(settings)
    report = stages.preflight(store_url=store_url)
    champion = Registry(open_store(store_url)).current()
    assert champion is not None
    seen = {"champion": asdict(champion), "problems": _digest(problems_file)}
    return _begin(report, seen, store_url, round_id, seed, uri, started)


def run_base(
    *, store_url: str, round_id: str, seed: int, settings: Mapping[str, str], uri: str
) -> tuple[StageReport, Start]:
    """Checks the settings, that the store takes writes, and that no line of champions has begun there.

    Raises:
        BadConfig, StorageRefused: as `run`.
        BadModel: the store has a champion, so that nothing could be published at the end.
    """
    started = time.monotonic()
    check_settings(settings)
    store = open_store(store_url)
    store.check_writable()
    line = Registry(store).history()
    if line and line[0].round_id != round_id:
        raise BadModel(
            f"{store.url} already has a line of champions, begun by round {line[0].round_id}; "
            "train a base into another store, or run a round from this one"
        )
    report = StageReport("preflight_base", notes=[f"{store.url} takes writes and has no champion yet."])
    return _begin(report, {}, store_url, round_id, seed, uri, started)


def check_settings(settings: Mapping[str, str]) -> None:
    """Raises BadConfig, one line for the first mistake, where a section is not what its stage takes."""
    for section, text in settings.items():
        module, _, name = STAGE_CONFIGS[section].rpartition(".")
        config: type[BaseModel] = getattr(importlib.import_module(module), name)
        try:
            config.model_validate_json(text)
        except ValidationError as error:
            raise BadConfig(_line(section, error, config)) from None


def _line(section: str, error: ValidationError, config: type[BaseModel]) -> str:
    mistake = error.errors(include_url=False)[0]
    field = ".".join([section, *map(str, mistake["loc"])])
    if mistake["type"] == "extra_forbidden":
        known = f"known: {', '.join(config.model_fields)}" if len(mistake["loc"]) == 1 else "take it out"
        return f"{field}: no such field; {known}"
    if mistake["type"] == "value_error":  # of fields that do not fit each other; it names them
        return f"{field}: {mistake['ctx']['error']}"
    expected = mistake["msg"][0].lower() + mistake["msg"][1:]
    return f"{field}: {expected}, found {mistake['input']!r:.80}; correct it and start again"


def _begin(
    report: StageReport,
    seen: Mapping[str, Any],
    store_url: str,
    round_id: str,
    seed: int,
    uri: str,
    started: float,
) -> tuple[StageReport, Start]:
    if seed == DRAWN:
        seed = int(hashlib.sha256(round_id.encode()).hexdigest(), 16) % SEEDS
        report.notes.append(f"The seed {seed} was drawn from the run's id; --seed {seed} gives it again.")
    elif seed < 0:
        raise BadConfig(f"seed: expected 0 to {SEEDS - 1}, or {DRAWN} to draw one, found {seed}")
    code = [os.environ.get(CODE_VERSION_VARIABLE, ""), installed_code()]
    key, notes = reuse.cache_key({**seen, "store": store_url, "code": code, "seed": seed}, uri)
    report.notes += notes
    report.values["seed"] = seed
    report.seconds = time.monotonic() - started
    return report, Start(key, seed)


def installed_code() -> str:
    """The version of this package and a hash of its sources."""
    root = Path(mathloop.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return f"{mathloop.__version__}+{digest.hexdigest()[:12]}"


def _digest(problems_file: str) -> str:
    if not problems_file:
        return ""
    with reading(problems_file):
        check_plain(problems_file)
        with open(problems_file, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
