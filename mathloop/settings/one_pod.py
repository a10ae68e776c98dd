"""Which steps that sample cannot be shared by the nodes of the sampler pool."""

from __future__ import annotations

from mathloop.settings.settings import Settings


def needs_one_pod(settings: Settings, component: str) -> str:
    """The setting with which several pods cannot share what the component samples; empty: they can."""
    if component == "tir" and settings.tir.iterations > 1:
        return "tir.iterations"  # it trains in between
    if component in ("writing", "written_problems"):
        # A server draws by itself, and pods have no folder in common.
        given = (name for name in ("endpoint", "cache") if getattr(settings.writing, name))
        return next((f"writing.{name}" for name in given), "")
    return ""
