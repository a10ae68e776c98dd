"""The settings of a run as one typed object, and how they are read."""

from mathloop.settings.resolving import parse_settings, resolve
from mathloop.settings.settings import SECTIONS, Settings

__all__ = ["SECTIONS", "Settings", "parse_settings", "resolve"]
