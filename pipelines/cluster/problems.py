"""`--problems` and benchmarks on a cluster: files that the pods of a run can read."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mathloop.errors import BadConfig
from mathloop.settings import Settings
from mathloop.storage import remote_url
from mathloop.storage.hub import HUB, parse_hub_url

SUFFIXES = (".jsonl", ".parquet", ".json", ".csv", ".tsv", ".jsonl.gz", ".json.gz", ".csv.gz", ".jsonl.zst")
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
    _check_remote(text, "--problems ", f"{store}/problems")
    url = text if "://" in text else f"{store}/{text}"
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise BadConfig(f"--problems {text}: expected a path in {store}, or s3://bucket/key")
    if not parts.path.endswith((*SUFFIXES, "/")):
        expected = f"expected a name that ends in {', '.join(SUFFIXES)}, or in / of a folder"
        raise BadConfig(f"--problems {text}: {expected}")
    return url


def check_benchmarks(settings: Settings, store: str) -> None:
    """Raises BadConfig where a benchmark, or one of several data sets, cannot be read by a run's pods."""
    named = settings.benchmarks
    for text in (*named.measure, *named.exclude, *named.folders):
        _check_remote(text, "benchmarks: ", f"{store}/benchmarks")
    for text in (*named.measure, *named.exclude):
        if "/" in text and "://" not in text:
            raise BadConfig(
                f"benchmarks: {text}: a run's pods cannot read a file of this machine; upload it with its "
                f"data, for example to {store}/benchmarks/{Path(text).name}, and name that"
            )
    for file in settings.problems.files:
        _check_remote(file.path, "problems.files: ", f"{store}/problems")
        if remote_url(file.path) is None:
            raise BadConfig(
                f"problems.files: {file.path}: a run's pods cannot read a file of this machine; upload it, "
                f"for example to {store}/problems/{Path(file.path).name}, and name that"
            )


def _check_remote(text: str, option: str, target: str) -> None:
    """Raises BadConfig for a data set of the Hub: pods have no way out of the cluster."""
    if not HUB.match(text):
        return
    place = parse_hub_url(text)
    revision = f" --revision {place.revision}" if place.revision else ""
    name = place.repo.rpartition("/")[2]
    inner = place.path if place.path.endswith(SUFFIXES) or not place.path else f"{place.path}/"
    raise BadConfig(
        f"{option}{text}: a run's pods do not reach the Hugging Face Hub; upload the data set with "
        f"`hf download --repo-type dataset {place.repo}{revision} --local-dir {name}` and "
        f"`aws s3 cp --recursive {name} {target}/{name}`, and name {target}/{name}/{inner}"
    )
