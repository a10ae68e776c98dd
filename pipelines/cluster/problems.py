"""`--problems` and benchmarks on a cluster: files that the pods of a run can read."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mathloop.errors import BadConfig
from mathloop.settings import Settings

SUFFIXES = (".jsonl", ".parquet", ".json", ".csv", ".tsv", ".jsonl.gz", ".json.gz", ".csv.gz")
LOCAL = ("/", "./", "../", "~")


def problems_url(text: str, store: str) -> str:
    """The S3 URL of a file in the store, given by its path below the store or by its URL.

    Raises:
        BadConfig: it is on this machine, or not a file of problems.
    """
    if "://" not in text and (text.startswith(LOCAL) or Path(text).exists()):
        name = Path(text).name
        raise BadConfig(
            f"--problems {text}: a run's pods cannot read a file of this machine; upload it, for example "
            f"with `aws s3 cp {text} {store}/problems/{name}`, and pass --problems {store}/problems/{name}"
        )
    url = text if "://" in text else f"{store}/{text}"
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise BadConfig(f"--problems {text}: expected a path in {store}, or s3://bucket/key")
    if not parts.path.endswith((*SUFFIXES, "/")):
        expected = f"expected a name that ends in {', '.join(SUFFIXES)}, or in / of a folder"
        raise BadConfig(f"--problems {text}: {expected}")
    return url


def check_benchmarks(settings: Settings, store: str) -> None:
    """Raises BadConfig where a benchmark is a file of this machine."""
    named = settings.benchmarks
    for text in (*named.measure, *named.exclude):
        if "/" in text and "://" not in text:
            raise BadConfig(
                f"benchmarks: {text}: a run's pods cannot read a file of this machine; upload it with its "
                f"data, for example to {store}/benchmarks/{Path(text).name}, and name that"
            )
