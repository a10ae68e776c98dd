"""API keys and tokens from environment variables and files."""

from __future__ import annotations

import os
import re

from mathloop.errors import BadConfig

_BEARER = re.compile(r"[\x21-\x7e]{1,4096}")


def read_key(variable: str) -> str | None:
    """The key in an environment variable, or None. Raises BadConfig, which does not show the key."""
    value = os.environ.get(variable)
    return None if value is None else check_key(value, variable, "set a key, or unset it")


def check_key(value: str, source: str, remedy: str = "get a new one") -> str:
    """The key without surrounding whitespace. Raises BadConfig, which names the source and not the key."""
    if not _BEARER.fullmatch(value.strip()):
        raise BadConfig(f"{source}: not a key (visible ASCII characters without spaces); {remedy}")
    return value.strip()
