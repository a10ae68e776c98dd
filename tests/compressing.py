"""Files compressed as published data is."""

from __future__ import annotations

import gzip

import pyarrow as pa


def compressed(data: bytes, suffix: str) -> bytes:
    """The data as `.gz`, `.zst` or, with another suffix, as it is."""
    if suffix == ".gz":
        return gzip.compress(data)
    if suffix != ".zst":
        return data
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(data)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
