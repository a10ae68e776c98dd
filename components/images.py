"""The container images that components run in on a cluster; the local runner ignores them.

Their names are written into what `mathloop compile` and `mathloop submit` make. Set before these start:

MATHLOOP_IMAGE_PREFIX   a registry, with a path or not: registry.example.com:5000/team
MATHLOOP_IMAGE_TAG      another tag than this package's version
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

    Raises BadConfig if one of the three variables holds no such thing.
    """
    prefix = _variable("MATHLOOP_IMAGE_PREFIX", "").rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise BadConfig(
            f"MATHLOOP_IMAGE_PREFIX is {prefix!r}: expected a registry in lower case, with no scheme and no "
            "tag, as registry.example.com:5000/team"
        )
    tag = _variable("MATHLOOP_IMAGE_TAG", __version__)
    if not _TAG.fullmatch(tag) or tag == "latest":
        raise BadConfig(
            f"MATHLOOP_IMAGE_TAG is {tag!r}: expected one tag of letters, digits, '.', '_' and '-', and not "
            "'latest', which may be another image tomorrow"
        )
    variant = _variable("MATHLOOP_IMAGE_VARIANT", "gpu")
    if variant not in _VARIANTS:
        raise BadConfig(f"MATHLOOP_IMAGE_VARIANT is {variant!r}: expected cpu or gpu")
    suffix = "-cpu" if variant == "cpu" else ""
    return f"{prefix}/mathloop/{name}:{tag}{suffix}".lstrip("/")


def _variable(name: str, default: str) -> str:
    """An empty variable is taken as one that is not set, as a CI leaves it."""
    return os.environ.get(name, "").strip() or default


CONTROL_IMAGE = image("control")
"""Light work: stores, problem sets, statistics, reports. No torch."""
SAMPLER_IMAGE = image("sampler")
"""Sampling: torch, transformers, vLLM."""
TRAINER_IMAGE = image("trainer")
"""Training: torch, DeepSpeed."""
SOLVER_IMAGE = image("solver")
"""Serving: KServe's model server. No component runs in it."""
