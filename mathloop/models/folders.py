"""A model's folder, checked without torch: which kind of model it holds, and that its files are whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mathloop.errors import BadModel
from mathloop.models.foreign import other_form

Kind = Literal["policy", "reward model"]

HEAD = "score."
"""Prefix of a reward model's head (score.0 and score.2), as in vLLM's `Qwen2ForRewardModel`."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EARLIER = "earlier"
"""Folder in an SFT policy's, with policies that were saved on the way to it, named after their steps."""
EXPECTED = "expected a folder that save_pretrained wrote"
AGAIN = "copy or save it again"
_TOKENIZER = "tokenizer_config.json"
_VOCABULARIES = (".model", ".tiktoken", "vocab.json", "vocab.txt", "tokenizer.json", "tekken.json")
"""Ends of the names of files that may hold a tokenizer's vocabulary."""
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_SCORING = ("RewardModel", "ForSequenceClassification", "ForTokenClassification")
"""Ends of the names of classes (of transformers and vLLM) that score text and do not write it."""
DEQUANTIZED = frozenset({"fp8", "mxfp4"})
"""Methods of quantization whose weights are turned into numbers of full size when they are loaded."""
_POINTER = b"version https://git-lfs"


class Weights(NamedTuple):
    """A model's weights as its files list them; the numbers are not read."""

    files: list[Path]
    shapes: dict[str, list[int]]
    """Name of a tensor → its shape."""


def check_folder(folder: Path, kind: Kind) -> Weights:
    """Returns the list of a model's weights, after all checks that need neither torch nor transformers.

    Raises BadModel, one line: there is no such folder, a part is missing or damaged, there are only adapters
    or pickles, or weights in another form, the tokenizer needs code of its own, or the model is of the other
    kind.
    """
    if not folder.is_dir():
        found = "this is a file" if folder.exists() else "there is no such folder"
        raise BadModel(f"{folder}: {found}; {EXPECTED}")
    if (folder / "adapter_config.json").exists():
        base = _read_json(folder, "adapter_config.json").get("base_model_name_or_path")
        raise BadModel(
            f"{folder}: adapters (adapter_config.json) are not a whole model; merge them into their base "
            f"model{f' {base}' if base else ''} with peft's merge_and_unload and save that"
        )
    if not (folder / "config.json").exists() and (form := other_form(folder)):
        raise BadModel(f"{folder}: {form}")
    config = _read_json(folder, "config.json")
    if not isinstance(config.get("model_type"), str):
        raise BadModel(f"{folder}: config.json names no model_type; {EXPECTED}")
    _check_code(folder)
    _check_quantization(folder, config)
    weights = _list_weights(_weight_files(folder, config))
    _check_kind(folder, kind, config, weights)
    if not any(path.name.endswith(_VOCABULARIES) for path in folder.iterdir()):
        raise BadModel(f"{folder}: no tokenizer in this folder; copy the tokenizer's files into it")
    return weights


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        raise BadModel(f"{folder}: no {name} in this folder; {EXPECTED}") from None
    except OSError as error:
        raise BadModel(f"{folder}: {name} cannot be read ({error.strerror}); {EXPECTED}") from None
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{folder}: {name} is not JSON ({error}); {AGAIN}") from None
    if not isinstance(values, dict):
        raise BadModel(f"{folder}: {name} is not a JSON object; {AGAIN}")
    return values


def _check_code(folder: Path) -> None:
    if (folder / _TOKENIZER).exists() and _read_json(folder, _TOKENIZER).get("auto_map"):
        raise BadModel(
            f"{folder}: {_TOKENIZER} asks for code of its own (auto_map), which is never run; choose a model "
            "that transformers has, or remove auto_map if transformers has this one by now"
        )


def quantization(config: Mapping[str, Any]) -> str | None:
    """The method by which a config.json says that the weights are quantized; None where they are not."""
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and isinstance(given := part.get("quantization_config"), dict):
            return str(given.get("quant_method") or "bitsandbytes")
    return "mlx" if isinstance(config.get("quantization"), dict) else None


def _check_quantization(folder: Path, config: dict[str, Any]) -> None:
    method = quantization(config)
    if method is not None and method not in DEQUANTIZED:
        raise BadModel(
            f"{folder}: quantized weights ({method}), which cannot be trained; give the model that they were "
            f"made of, or one whose weights are quantized as {' or '.join(sorted(DEQUANTIZED))}"
        )


def _weight_files(folder: Path, config: dict[str, Any]) -> list[Path]:
    if "transformers_weights" in config:  # it would be read in their place
        raise BadModel(f"{folder}: config.json names other weights (transformers_weights); remove that field")
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        if form := other_form(folder):
            raise BadModel(f"{folder}: {form}")
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
        if pickled:
            raise BadModel(
                f"{folder}: only pickled weights ({pickled[0]}), which could run code when they are loaded; "
                "save them as safetensors"
            )
        raise BadModel(f"{folder}: no weights ({WEIGHTS}) in this folder; {EXPECTED}")
    shards = _read_json(folder, INDEX).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise BadModel(f"{folder}: {INDEX} has no weight_map from tensors to files; {AGAIN}")
    files = [folder / name for name in sorted(set(names))]
    for path in files:
        if not path.is_file():
            raise BadModel(f"{folder}: no {path.name} in this folder, which {INDEX} lists; copy it too")
    return files


def _list_weights(files: list[Path]) -> Weights:
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, list[int]] = {}
    for path in files:
        try:
            with path.open("rb") as file:
                if file.read(len(_POINTER)) == _POINTER:
                    raise BadModel(f"{path}: a Git LFS pointer, not the weights; run `git lfs pull`")
            with safe_open(path, framework="np") as tensors:
                shapes |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BadModel(f"{path}: truncated or damaged ({error}); {AGAIN}") from None
    return Weights(files, shapes)


def _check_kind(folder: Path, kind: Kind, config: dict[str, Any], weights: Weights) -> None:
    named = config.get("architectures")
    names = [str(name) for name in named] if isinstance(named, list) else []
    has_head = any(name.startswith(HEAD) for name in weights.shapes)
    found: Kind = "reward model" if has_head or any(n.endswith(_SCORING) for n in names) else "policy"
    if found != kind:
        shown = "".join(f" ({name})" for name in names[:1])
        lacking = "" if has_head else " with no reward head"
        raise BadModel(f"{folder}: a {found}{shown}{lacking}, expected a {kind}; give the {kind}'s folder")
