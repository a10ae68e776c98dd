"""API keys and tokens from environment variables and files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from mathloop.errors import BadConfig
from mathloop.serving.config import KEY_VARIABLE

DEFAULT = "default"
"""Name of the key that has none: that of the environment."""
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})[ \t]+([0-9a-f]{64})")
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


class Keys:
    """The keys that a server accepts: names with SHA-256 digests, which do not reveal a random key."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = dict(digests)
        self._names = {digest: name for name, digest in digests.items()}

    @classmethod
    def of(cls, key: str, name: str = DEFAULT) -> Self:
        """One key."""
        return cls({name: hashlib.sha256(key.encode()).hexdigest()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """A file of lines `NAME SHA256`; blank lines and those that begin with # are passed over.

        Raises BadConfig, which names the line and shows nothing of it: it may hold a key.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(
                f"--keys {path}: cannot be read ({type(error).__name__}); give a text file"
            ) from None
        digests: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None or found[1] in digests or found[2] in digests.values():
                raise BadConfig(
                    f"--keys {path}, line {number}: expected a name and the SHA-256 of a key in hexadecimal, "
                    "each once (printf %s KEY | sha256sum)"
                )
            digests[found[1]] = found[2]
        if not digests:
            raise BadConfig(f"--keys {path}: holds no key; add a line, or leave the option out")
        return cls(digests)

    def __or__(self, other: Keys) -> Keys:
        """The keys of both. Raises BadConfig if a name or a key is in both: one would stand for the other."""
        for name, digest in other._digests.items():
            if name in self._digests or digest in self._digests.values():
                found = "the name" if name in self._digests else "the key of the name"
                raise BadConfig(
                    f"{found} {name} is in two places (the key in {KEY_VARIABLE} has the name {DEFAULT}); "
                    "change or remove its line in the file of --keys, or unset the variable"
                )
        return Keys(self._digests | other._digests)

    def name_of(self, given: bytes) -> str | None:
        """The name of a key; None if it is none of them.

        The time of the look-up tells at most about digests, and nobody can choose a digest's digits.
        """
        return self._names.get(hashlib.sha256(given).hexdigest())
