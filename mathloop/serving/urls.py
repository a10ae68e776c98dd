"""URLs of servers."""

from __future__ import annotations

from urllib.parse import urlsplit

from mathloop.errors import BadConfig


def check_url(option: str, url: str) -> str:
    """The URL without a trailing /v1 or slashes. Raises BadConfig if it is no URL or holds a password."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    shown = url.rpartition("@")[2]  # the part before an @ may be a password
    if not usable or parts.query or parts.fragment:
        raise BadConfig(f"{option} {shown}: not a server's URL; expected http://host:port")
    if "@" in parts.netloc:
        raise BadConfig(f"{option} {shown}: a URL must not hold a password; keys come from the environment")
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
