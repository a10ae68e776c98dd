"""The container images that components run in on a cluster; the local runner ignores them.

`mathloop compile` and `mathloop submit` write their names into the pipelines. Environment variables:

MATHLOOP_IMAGE_PREFIX   a registry, with or without a path: registry.example.com:5000/team
MATHLOOP_IMAGE_TAG      the images' tag; default: this package's version
MATHLOOP_IMAGE_VARIANT  `cpu` for a cluster without a GPU, `gpu` (the default) for others
"""

from __future__ import annotations

import os
import re

from mathloop import __version__
from mathloop.errors import BadConfig

_PREFIX = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}")  # 128 characters with the longest suffix
_VARIANTS = ("gpu", "cpu")


def image(name: str) -> str:
    """The full name of mathloop's image `name` (control, sampler, trainer or solver).

    Raises BadConfig if one of the three variables is invalid.
    """
    prefix = _variable("MATHLOOP_IMAGE_PREFIX", "").rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise BadConfig(
            f"MATHLOOP_IMAGE_PREFIX is {prefix!r}: expected a registry in lower case, without scheme or tag, "
            "such as registry.example.com:5000/team"
        )
    tag = _variable("MATHLOOP_IMAGE_TAG", __version__)
    if not _TAG.fullmatch(tag) or tag == "latest":
        raise BadConfig(
            f"MATHLOOP_IMAGE_TAG is {tag!r}: expected a tag of letters, digits, '.', '_' and '-', other than "
            "'latest', which can change"
        )
    variant = _variable("MATHLOOP_IMAGE_VARIANT", "gpu")
    if variant not in _VARIANTS:
        raise BadConfig(f"MATHLOOP_IMAGE_VARIANT is {variant!r}: expected cpu or gpu")
    suffix = "-cpu" if variant == "cpu" else ""
    return f"{prefix}/mathloop/{name}:{tag}{suffix}".lstrip("/")


def _variable(name: str, default: str) -> str:
    """The variable's value; an empty variable, as CI systems leave it, counts as unset."""
    return os.environ.get(name, "").strip() or default


CONTROL_IMAGE = image("control")
"""Light work without torch: stores, problem sets, statistics, reports."""
SAMPLER_IMAGE = image("sampler")
"""Sampling: torch, transformers, vLLM."""
TRAINER_IMAGE = image("trainer")
"""Training: torch, DeepSpeed."""
SOLVER_IMAGE = image("solver")
"""Serving: KServe's model server. Used by no component."""
