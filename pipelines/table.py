"""The table of pipelines. A new pipeline is its file and one line here."""

from __future__ import annotations

import importlib
from typing import Any

from mathloop.errors import BadConfig
from mathloop.validation import closest

PIPELINES = {
    "improvement-round": "pipelines.improvement_round",
    "pretraining": "pipelines.pretraining",
    "model-import": "pipelines.model_import",
    "evaluation": "pipelines.evaluation",
    "data": "pipelines.data",
    "writing": "pipelines.writing",
    "written-corpus": "pipelines.written_corpus",
}
"""Name → module; it defines the pipeline under its name with underscores."""


def find_pipeline(name: str) -> Any:
    """The pipeline of this name; raises BadConfig if there is none."""
    if name not in PIPELINES:
        raise BadConfig(
            f"no pipeline {name!r}{closest(name, list(PIPELINES))}; known: {', '.join(PIPELINES)}"
        )
    return getattr(importlib.import_module(PIPELINES[name]), name.replace("-", "_"))
