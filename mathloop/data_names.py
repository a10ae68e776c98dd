"""Which files hold rows, by their names: the formats that are read, and what is beside data in a folder."""

from __future__ import annotations

from pathlib import Path, PurePath

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".arrow")
COMPRESSED = (".gz", ".zst")
"""Of text formats; Parquet and Arrow compress by themselves."""
READABLE = f"{', '.join(SUFFIXES)}, or one of these with {' or '.join(COMPRESSED)}"
_NO_DATA = (".md", ".py", ".yaml", ".yml", ".toml", ".lock", ".cfg")
_NO_DATA_NAMES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "license",
                  "license.txt", "notice", "checksums.txt")  # fmt: skip


def suffix_of(path: PurePath) -> str:
    """The suffix that decides how a file is read, in lower case and without .gz or .zst."""
    name = path.name.lower().removesuffix(compression_of(path))
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), Path(name).suffix)


def compression_of(path: PurePath) -> str:
    """.gz, .zst or nothing."""
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSED else ""


def may_be_data(inner: PurePath) -> bool:
    """Whether a file, by its path in a data set's folder, is more than a document or a hidden file."""
    hidden = any(part.startswith((".", "_")) for part in inner.parts)
    name = inner.name.lower()
    return (
        not hidden
        and not name.startswith("readme")
        and name not in _NO_DATA_NAMES
        and inner.suffix.lower() not in _NO_DATA
    )


def is_known(path: PurePath) -> bool:
    """Whether a file of this name can be read."""
    suffix = suffix_of(path)
    return suffix in SUFFIXES and (not compression_of(path) or suffix not in (".parquet", ".arrow"))
