"""Which store a URL names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from mathloop.errors import StorageRefused
from mathloop.lines import is_blank, shown
from mathloop.retrying import patience_seconds
from mathloop.storage.local import LocalObjects
from mathloop.storage.manifest import check_name
from mathloop.storage.patient import PatientObjects
from mathloop.storage.s3 import S3Objects
from mathloop.storage.store import Store

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(url: str) -> Store:
    """Opens a store in a folder (a path or `file:///…`) or in a bucket (`s3://bucket/prefix`).

    S3 takes its endpoint and keys from the environment: MATHLOOP_S3_ENDPOINT (http://host:port),
    MATHLOOP_S3_REGION, MATHLOOP_S3_ACCESS_KEY_ID, MATHLOOP_S3_SECRET_ACCESS_KEY, MATHLOOP_S3_SESSION_TOKEN or
    AWS's own names; without keys it uses the pod's identity (keys.py). Nothing is sent yet. A server that is
    away is waited for where MATHLOOP_PATIENCE is set, as in the pods of runs.

    Raises:
        StorageRefused: the URL is none of these, or a variable is not set.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("unknown", "", "", "", "")
    path = None
    if "://" not in url and not url.startswith(("file:", "s3:")):
        path = url
    elif parts.query or parts.fragment:
        pass
    elif parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        path = unquote(parts.path)
    elif parts.scheme == "s3" and BUCKET.fullmatch(parts.netloc):
        prefix = parts.path.strip("/")
        objects = S3Objects(parts.netloc, check_name(prefix) if prefix else "")
        seconds = patience_seconds()
        return Store(PatientObjects(objects, seconds) if seconds else objects)
    if path is None or is_blank(path) or "\0" in path:
        # Anything before an @ may be a password.
        named = shown(url.rpartition("@")[2])
        raise StorageRefused(
            f"{named} is not a store; expected a folder, file:///folder or s3://bucket/prefix"
        )
    return Store(LocalObjects(Path(path)))
