"""Compiles pipelines to KFP's intermediate representation (IR), YAML that a cluster runs."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import struct_pb2
from kfp import compiler

import mathloop
from mathloop.cluster.preflight import CODE_VERSION_VARIABLE, DRAWN
from mathloop.settings import Settings
from mathloop.settings.engines import check_engines
from pipelines.overhead import Overhead, overhead
from pipelines.paths import tidied
from pipelines.table import PIPELINES, find_pipeline
from pipelines.tracing import trace

CHOICES = {"serve": ("no", "yes")}
"""Parameter → its allowed values: KFP's form then has a select box, and its server checks them. The SDK's DSL
cannot say it."""
CLUSTER_STORE = "s3://mathloop/store"
"""Store on a cluster, for profiles whose store is a local folder."""


def write_compiled(out: Path, profile: Settings | None = None) -> list[tuple[Path, Overhead]]:
    """Compiles every pipeline into its own file in `out` and returns the files, each with its overhead.

    Without a profile, pools are empty, settings have the stages' defaults, and the files do not depend on the
    code's version: equal pipelines give equal files. With one, its settings and pools are compiled in.

    Raises OSError if the folder cannot be written; it is then unchanged.
    """
    paths = [out / f"{name}.yaml" for name in PIPELINES]
    with tidied(out):
        out.mkdir(parents=True, exist_ok=True)
        blocked = next(filter(Path.is_dir, paths), None)
        if blocked is not None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(blocked))
        # Not files.replacing: KFP's compiler only accepts names that end in .yaml.
        with tempfile.TemporaryDirectory(dir=out, prefix=".partial-") as folder:
            costs = [
                compile_one(find_pipeline(name), Path(folder, path.name), profile)
                for name, path in zip(PIPELINES, paths, strict=True)
            ]
            for path in paths:
                os.replace(Path(folder, path.name), path)
    return list(zip(paths, costs, strict=True))


def compile_one(pipeline: Any, path: Path, profile: Settings | None = None) -> Overhead:
    """Traces one pipeline for a cluster and writes it to `path`; returns its overhead on Kubeflow."""
    settings, version = (None, "") if profile is None else (for_cluster(profile), code_version())
    traced = trace(pipeline, settings, cluster=True, code_version=version)
    for name, choices in CHOICES.items():
        if name in traced.pipeline_spec.root.input_definitions.parameters:
            parameter = traced.pipeline_spec.root.input_definitions.parameters[name]
            parameter.literals.extend(struct_pb2.Value(string_value=choice) for choice in choices)
    defaults: dict[str, Any] = {"store": CLUSTER_STORE}
    if profile is not None:
        defaults = arguments_of(pipeline, profile)
    if "seed" in traced.pipeline_spec.root.input_definitions.parameters and not _has_seed(profile):
        # The form's default: runs that are started or scheduled there must not repeat each other.
        defaults["seed"] = DRAWN
    compiler.Compiler().compile(traced, str(path), pipeline_parameters=defaults)
    return overhead(traced.pipeline_spec)


def _has_seed(profile: Settings | None) -> bool:
    return profile is not None and "seed" in profile.model_fields_set


def arguments_of(pipeline: Any, profile: Settings) -> dict[str, Any]:
    """The pipeline's parameters that a profile sets, for a cluster."""
    profile = for_cluster(profile)
    known: dict[str, Any] = {"store": profile.store, "seed": profile.seed, "source": profile.model}
    if profile.model == "nano":
        del known["source"]
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    return {name: value for name, value in known.items() if name in parameters}


def for_cluster(profile: Settings) -> Settings:
    """A copy of the profile for a cluster, without local folders as store or model.

    Raises BadConfig where no pool can run an engine that a stage needs.
    """
    check_engines(profile)
    changes = {}
    if not profile.store.startswith("s3://"):
        changes["store"] = CLUSTER_STORE
    if profile.model != "nano" and not profile.model.startswith(("package:", "s3://", "hf://")):
        changes["model"] = "nano"
    return profile.model_copy(update=changes)


def code_version() -> str:
    """Code version in KFP's cache keys: MATHLOOP_CODE_VERSION, or the version and a hash of the sources."""
    version = os.environ.get(CODE_VERSION_VARIABLE, "").strip()
    if version:
        return version
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("mathloop", "components", "pipelines"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return f"{mathloop.__version__}+{digest.hexdigest()[:12]}"


def comparable(path: Path) -> list[Any]:
    """A compiled file's documents without the SDK's version, which may differ between equal pipelines."""
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for document in documents:
        document.pop("sdkVersion", None)
    return documents
