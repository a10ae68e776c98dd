"""Finds a benchmark by name, by its YAML file, or by a file of problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mathloop.data_names import COMPRESSED, SUFFIXES
from mathloop.errors import BadConfig
from mathloop.evaluation.benchmarks.benchmark import Benchmark
from mathloop.problems.sources.files import name_of
from mathloop.sampling.examples import load_examples
from mathloop.storage import local_copy, remote_url
from mathloop.storage.hub import parse_hub_url
from mathloop.validation import closest, first_mistake
from mathloop.yaml_values import odd_value, read

ENTRIES = Path(__file__).parent / "entries"
_YAML = (".yaml", ".yml")
_DATA = (*SUFFIXES, *COMPRESSED)


def benchmark_names(folders: Sequence[Path] = ()) -> list[str]:
    """Names of the shipped benchmarks, and of those with a YAML file in one of `folders`."""
    found = {path.stem for folder in (ENTRIES, *folders) for path in folder.glob("*.yaml") if _is_entry(path)}
    return sorted(found, key=str.lower)


def find_benchmark(name_or_path: str, folders: Sequence[Path] = ()) -> Benchmark:
    """The benchmark of a name (MATH-500 is math500), of a YAML file, or of a data file.

    Args:
        folders: folders with YAML files of one's own, which come before shipped ones of the same name.

    Raises:
        BadConfig: there is none (one line with the names that there are), or its file is wrong.
    """
    path = Path(name_or_path).expanduser()
    url = remote_url(name_or_path)
    if path.suffix in _YAML:
        if url is not None:
            with local_copy(url) as copy:
                return read_entry(copy, url)
        if not path.is_file():
            raise BadConfig(f"benchmarks: there is no file {name_or_path}")
        return read_entry(path)
    if url or path.suffix.lower() in _DATA or (path.is_dir() and "/" in name_or_path):
        return _of_data(name_or_path, path)
    wanted = _plain(name_or_path)
    for folder in (*folders, ENTRIES):
        for entry in sorted(folder.glob("*.yaml")):
            if _plain(entry.stem) == wanted and _is_entry(entry):
                return read_entry(entry)
    if path.is_dir():
        return _of_data(name_or_path, path)
    known = benchmark_names(folders)
    raise BadConfig(
        f"there is no benchmark {name_or_path!r}{closest(name_or_path, known)}; known: {', '.join(known)}, "
        "or a .yaml file, or a file or folder of problems"
    )


def read_entry(path: Path, url: str = "") -> Benchmark:
    """A benchmark's YAML file, or the copy of one at `url`; relative paths in it become absolute.

    Raises:
        BadConfig: one line that says what is wrong with it.
    """
    shown = url or (path.name if path.parent == ENTRIES else str(path))
    values = {"name": path.stem, **read(path, shown)}
    if odd := odd_value(values):
        raise BadConfig(f"{shown}: {'.'.join(odd[0])}: {odd[1]}")
    try:
        benchmark = Benchmark.model_validate(values)
    except ValidationError as error:
        raise BadConfig(first_mistake(error, Benchmark).line(shown)) from None
    here = path.resolve().parent
    changes = {}
    if remote_url(benchmark.path) is not None:
        changes["path"] = _fixed(benchmark.path, benchmark.revision, shown)
    elif benchmark.path:
        beside = f"{url.rpartition('/')[0]}/{benchmark.path}"
        changes["path"] = beside if url else str(here / Path(benchmark.path).expanduser())
    if benchmark.few_shot.partition("#")[0].endswith((*_YAML, ".json")):
        changes["few_shot"] = str(here / Path(benchmark.few_shot).expanduser())
    found = benchmark.model_copy(update=changes)
    if found.few_shot and path.parent != ENTRIES:
        load_examples(found.few_shot)  # raises BadConfig
    return found


def _fixed(url: str, revision: str | None, shown: str) -> str:
    """A URL of a benchmark's data; on the Hub it has the commit, as scores on data that moves say nothing."""
    if not url.startswith("hf:"):
        return url
    place = parse_hub_url(url)
    place = place if place.revision else place._replace(revision=revision or "")
    if not place.fixed:
        raise BadConfig(
            f"{shown}: a benchmark must not change: name the commit, "
            f"{place._replace(revision='COMMIT').url}; `mathloop problems {place.url}` shows the present one"
        )
    return place.url


def _of_data(text: str, path: Path) -> Benchmark:
    """A benchmark of a file or folder alone, with the defaults."""
    url = remote_url(text)
    if url is not None and url.startswith("hf:"):
        name = parse_hub_url(url).repo.rpartition("/")[2]
    else:
        name = name_of(path).partition(".")[0]
    try:
        return Benchmark(name=name, path=str(path.resolve()) if url is None else _fixed(url, None, text))
    except ValidationError as error:
        raise BadConfig(first_mistake(error, Benchmark).line(text)) from None


def _is_entry(path: Path) -> bool:
    """Whether a YAML file in a user's folder is a benchmark's, and not a profile or few-shot examples."""
    if path.parent == ENTRIES:
        return True
    try:
        values = read(path, str(path))
    except BadConfig:
        return True  # it is read, and the error shown, if somebody asks for this name
    return set(values) <= set(Benchmark.model_fields)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
