"""API keys from environment variables."""

from __future__ import annotations

import os
import re

from mathloop.errors import BadConfig

_BEARER = re.compile(r"[\x21-\x7e]{1,4096}")


def read_key(variable: str) -> str | None:
    """The key in an environment variable, or None. Raises BadConfig, which does not show the key."""
    value = os.environ.get(variable)
    if value is None:
        return None
    if not _BEARER.fullmatch(value.strip()):
        raise BadConfig(
            f"{variable}: not a key (visible ASCII characters without spaces); set a key, or unset it"
        )
    return value.strip()
