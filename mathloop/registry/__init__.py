"""The line of champions: which policy and reward model are current, and what each came from."""

from mathloop.registry.champion import Champion, Registry

__all__ = ["Champion", "Registry"]
