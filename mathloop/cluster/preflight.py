"""Stage: what can be known before anything is computed.

Wrong settings end a run here, before a GPU is asked for. Every stage gets its section of the settings from
here; the run's seed is drawn where none is fixed; and the key tells what KFP may reuse of earlier runs.
"""

from __future__ import annotations

import hashlib
import os
from collections import namedtuple
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mathloop
from mathloop.cluster import reuse
from mathloop.errors import BadConfig, BadModel
from mathloop.files import check_plain, reading
from mathloop.registry import Registry, stages
from mathloop.settings import Settings, resolve
from mathloop.settings.settings import STAGE_SECTIONS
from mathloop.stages import StageReport, timed
from mathloop.storage import open_store

CODE_VERSION_VARIABLE = "MATHLOOP_CODE_VERSION"
"""The code's version as whoever submits names it; a hash of the installed code is used beside it."""
DRAWN = -1
"""As a seed: one that follows from the run's id, so that every run of a schedule has another."""
SEEDS = 2**31

Start: Any = namedtuple("Start", ["cache_key", "seed", "settings", *STAGE_SECTIONS])  # type: ignore[misc]
"""What a run's stages get: the key for KFP's cache, the seed, all settings, and each section, as JSON."""


@timed
def run(
    *,
    store_url: str,
    round_id: str,
    profile: str,
    overrides: str,
    problems_file: str,
    seed: int,
    first: bool,
    uri: str,
) -> tuple[StageReport, Any]:
    """Makes the run's settings, and checks that the store takes writes and has what the run starts from.

    Args:
        round_id: the run's id, which a seed of -1 is drawn from.
        profile: all settings of a profile as JSON; empty: the defaults.
        overrides: sections and fields that differ in this run, as JSON.
        problems_file: empty for the built-in generator.
        first: the store has no champion yet, and the run makes its first; else it must have a whole one.
        uri: where KFP will put this stage's summary.

    Raises:
        BadConfig: a setting is not what its stage takes.
        BadData: the problems file cannot be read.
        StorageRefused: the store cannot be reached, read or written.
        BadModel: there is no champion or one of its models is missing; or, for a first one, there is another.
    """
    settings = resolve(profile, overrides)
    if first:
        report, seen = _without_champion(store_url, round_id), {}
    else:
        report = stages.preflight(store_url=store_url)
        champion = Registry(open_store(store_url)).current()
        assert champion is not None
        seen = {"champion": asdict(champion), "problems": _digest(problems_file)}
    if seed == DRAWN:
        seed = int(hashlib.sha256(round_id.encode()).hexdigest(), 16) % SEEDS
        report.notes.append(f"The seed {seed} was drawn from the run's id; --seed {seed} gives it again.")
    elif seed < 0:
        raise BadConfig(f"seed: expected 0 to {SEEDS - 1}, or {DRAWN} to draw one, found {seed}")
    code = [os.environ.get(CODE_VERSION_VARIABLE, ""), installed_code()]
    key, notes = reuse.cache_key({**seen, "store": store_url, "code": code, "seed": seed}, uri)
    report.notes += notes
    report.values["seed"] = seed
    # What the report prints is what ran.
    return report, _start(key, seed, settings.model_copy(update={"seed": seed, "store": store_url}))


def _start(key: str, seed: int, settings: Settings) -> Any:
    sections = [settings.section(name) for name in STAGE_SECTIONS]
    return Start._make([key, seed, settings.model_dump_json(), *sections])


def _without_champion(store_url: str, round_id: str) -> StageReport:
    store = open_store(store_url)
    store.check_writable()
    line = Registry(store).history()
    if line and line[0].round_id != round_id:
        raise BadModel(
            f"{store.url} already has a line of champions, begun by round {line[0].round_id}; "
            "train a base into another store, or run a round from this one"
        )
    return StageReport("preflight", notes=[f"{store.url} takes writes and has no champion yet."])


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
