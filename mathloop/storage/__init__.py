"""Artifacts and append-only logs in a local folder or an S3 bucket, behind one small interface."""

from mathloop.storage.hub import pinned
from mathloop.storage.manifest import FileEntry, Manifest, describe_source
from mathloop.storage.objects import Taken
from mathloop.storage.opening import open_store
from mathloop.storage.store import Store
from mathloop.storage.uploads import local_copy, remote_url

__all__ = [
    "FileEntry",
    "Manifest",
    "Store",
    "Taken",
    "describe_source",
    "local_copy",
    "open_store",
    "pinned",
    "remote_url",
]
