"""Everything that a round is configured by, as one typed object, and how it is read."""

from mathloop.settings.resolving import parse_settings, resolve
from mathloop.settings.settings import SECTIONS, Settings

__all__ = ["SECTIONS", "Settings", "parse_settings", "resolve"]
