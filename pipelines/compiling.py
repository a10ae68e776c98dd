"""Every pipeline as KFP's intermediate representation (YAML that a cluster takes)."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.graph_component import GraphComponent

from pipelines.data import data
from pipelines.evaluation import evaluation
from pipelines.improvement_round import improvement_round
from pipelines.paths import tidied
from pipelines.pretraining import model_import, pretraining

PIPELINES: tuple[GraphComponent, ...] = (improvement_round, pretraining, model_import, evaluation, data)


def write_compiled(out: Path) -> list[Path]:
    """Compiles every pipeline into `out`, one file each, and returns the files.

    Raises OSError when the folder does not take them; then it is as it was before.
    """
    paths = [out / f"{pipeline.name}.yaml" for pipeline in PIPELINES]
    with tidied(out):
        out.mkdir(parents=True, exist_ok=True)
        taken = next(filter(Path.is_dir, paths), None)
        if taken is not None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(taken))
        with tempfile.TemporaryDirectory(dir=out, prefix=".partial-") as folder:
            for pipeline, path in zip(PIPELINES, paths, strict=True):
                compiler.Compiler().compile(pipeline, str(Path(folder, path.name)))
            for path in paths:
                os.replace(Path(folder, path.name), path)
    return paths


def comparable(path: Path) -> list[Any]:
    """A compiled file's documents without the SDK's version, in which two equal pipelines may differ."""
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for document in documents:
        document.pop("sdkVersion", None)
    return documents
