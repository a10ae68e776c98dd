"""The line of champions: the current policy and reward model, and the lineage of each."""

from mathloop.registry.champion import Champion, Registry
from mathloop.registry.serving_defaults import ServingDefaults

__all__ = ["Champion", "Registry", "ServingDefaults"]
