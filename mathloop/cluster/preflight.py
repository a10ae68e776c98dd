"""Stage: settings, checks and seed of a run, before anything is computed.

Invalid settings end a run here, before it requests a GPU. This stage hands each stage its section of the
settings, derives a seed if none is fixed, and computes the key that controls what KFP reuses of earlier runs.
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
from mathloop.evaluation.benchmarks.named import NamedBenchmarks
from mathloop.files import content_digest, reading
from mathloop.registry import Registry, stages
from mathloop.settings import Settings, resolve
from mathloop.settings.engines import check_engines
from mathloop.settings.one_pod import needs_one_pod
from mathloop.settings.settings import STAGE_SECTIONS
from mathloop.stages import StageReport, timed
from mathloop.storage import local_copy, open_store
from mathloop.writing.templates import load_template

CODE_VERSION_VARIABLE = "MATHLOOP_CODE_VERSION"
"""Version of the code, set when the run is submitted; used together with a hash of the installed code."""
DRAWN = -1
"""Seed value that stands for "derive from the run's id", so that each run of a schedule has its own."""
SEEDS = 2**31

Start: Any = namedtuple(  # type: ignore[misc]
    "Start", ["cache_key", "seed", "champion", "settings", *STAGE_SECTIONS]
)
"""Outputs for the run's stages: key for KFP's cache, seed, the champion's entry in the registry (empty if
there is none yet), all settings, and each section, as JSON."""


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
    """Resolves the run's settings; checks that the store is writable and has the champion that the run needs.

    Args:
        round_id: the run's id; a seed of -1 is derived from it.
        profile: all settings of a profile as JSON; empty: the defaults.
        overrides: sections and fields that this run overrides, as JSON.
        problems_file: a path or s3://bucket/key; empty for the built-in generator.
        first: the run creates the store's first champion; else the store must have a complete champion.
        uri: where KFP will put this stage's summary.

    Raises:
        BadConfig: a setting or a template is invalid, or a benchmark unknown.
        BadData: the problems file or the data of a benchmark cannot be read.
        StorageRefused: the store cannot be reached, read or written.
        BadModel: there is no champion, or one of its models is missing; with `first`: there already is one.
    """
    settings = resolve(profile, overrides)
    compiled = resolve(profile, "")
    _check_timeout(settings, compiled)
    _check_writing(settings, compiled)
    _check_pods(settings, compiled)
    if settings != compiled:  # a local run, whose GPUs no setting tells, has no overrides
        check_engines(settings, "overrides: ")
    if first:
        report, entry, inputs = _without_champion(store_url, round_id), "", {}
    else:
        report, champion = stages.preflight(store_url=store_url)
        entry = champion.to_json().decode()
        inputs = {"champion": asdict(champion), "problems": _digest(problems_file)}
        if not problems_file and settings.problems.files:
            inputs["problems"] = [_digest(file.path) for file in settings.problems.files]
        named = NamedBenchmarks(settings.benchmarks).check(settings.gate.weights)
        inputs |= {"benchmarks": named} if named else {}
    if seed == DRAWN:
        seed = int(hashlib.sha256(round_id.encode()).hexdigest(), 16) % SEEDS
        report.notes.append(f"The seed {seed} was derived from the run's id; --seed {seed} repeats it.")
    elif seed < 0:
        raise BadConfig(f"seed: expected 0 to {SEEDS - 1}, or {DRAWN} to derive one, found {seed}")
    code = [os.environ.get(CODE_VERSION_VARIABLE, ""), installed_code()]
    key, notes = reuse.cache_key({**inputs, "store": store_url, "code": code, "seed": seed}, uri)
    report.notes += notes
    report.values["seed"] = seed
    # The report must show the settings that the run used.
    return report, _start(key, seed, entry, settings.model_copy(update={"seed": seed, "store": store_url}))


def _check_timeout(settings: Settings, compiled: Settings) -> None:
    """The pod of the task `deployment` ends after the time that was compiled in."""
    most = compiled.deployment.longest_seconds
    if settings.deployment.longest_seconds > most:
        raise BadConfig(
            f"overrides: deployment may take {settings.deployment.longest_seconds} s (ready_seconds, "
            f"smoke_seconds, canary_seconds), but its pod ends after {most} s: compile a profile with these"
        )


def _check_writing(settings: Settings, compiled: Settings) -> None:
    """Its step is only in pipelines whose profile names templates."""
    if settings.writing.templates and not compiled.writing.templates:
        raise BadConfig(
            "overrides: writing.templates: the profile names none, so that no step for them was compiled in; "
            "change the profile and upload it with `mathloop submit --profile FILE`"
        )
    for name in settings.writing.templates:
        load_template(name)


def _check_pods(settings: Settings, compiled: Settings) -> None:
    """A step that was compiled for several sampler pods cannot do what takes one."""
    for component in ("tir", "writing"):
        setting = needs_one_pod(settings, component)
        if compiled.pools.sampler.nodes > 1 and setting and not needs_one_pod(compiled, component):
            raise BadConfig(
                f"overrides: {setting}: the profile was compiled for several sampler pods, and these cannot "
                f"share what it asks of the step {component}; compile a profile with it"
            )


def _start(key: str, seed: int, champion: str, settings: Settings) -> Any:
    sections = [settings.section(name) for name in STAGE_SECTIONS]
    return Start._make([key, seed, champion, settings.model_dump_json(), *sections])


def _without_champion(store_url: str, round_id: str) -> StageReport:
    store = open_store(store_url)
    store.check_writable()
    history = Registry(store).history()
    if history and history[0].round_id != round_id:
        raise BadModel(
            f"{store.url} already has a line of champions, begun by round {history[0].round_id}; "
            "pretrain into another store, or run a round with this one"
        )
    return StageReport("preflight", notes=[f"{store.url} is writable and has no champion yet."])


def installed_code() -> str:
    """This package's version and a hash of its sources."""
    root = Path(mathloop.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return f"{mathloop.__version__}+{digest.hexdigest()[:12]}"


def _digest(problems_file: str) -> str:
    if not problems_file:
        return ""
    with local_copy(problems_file) as path, reading(path):
        return content_digest(path)
