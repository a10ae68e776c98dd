"""Every pipeline as KFP's intermediate representation (YAML that a cluster takes)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.graph_component import GraphComponent

from mathloop.errors import StorageRefused
from pipelines.data import data
from pipelines.evaluation import evaluation
from pipelines.improvement_round import improvement_round
from pipelines.pretraining import model_import, pretraining

PIPELINES: tuple[GraphComponent, ...] = (improvement_round, pretraining, model_import, evaluation, data)


def write_compiled(out: Path) -> list[Path]:
    """Compiles every pipeline into `out`, one file each, and returns the files.

    Raises:
        StorageRefused: the folder does not take them.
    """
    paths = []
    for pipeline in PIPELINES:
        path = out / f"{pipeline.name}.yaml"
        partial = path.with_name(f"{path.stem}.partial.yaml")
        try:
            out.mkdir(parents=True, exist_ok=True)
            compiler.Compiler().compile(pipeline, str(partial))
            os.replace(partial, path)
        except OSError as error:
            raise StorageRefused(f"{path}: cannot be written ({error.strerror})") from None
        paths.append(path)
    return paths


def comparable(path: Path) -> list[Any]:
    """A compiled file's documents without the SDK's version, in which two equal pipelines may differ."""
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for document in documents:
        document.pop("sdkVersion", None)
    return documents
