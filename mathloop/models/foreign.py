"""Folders with a model in another form than a policy's: what they are, and how to get a policy from them."""

from __future__ import annotations

from pathlib import Path

_FORMS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("*.distcp", "*/*.distcp"),
        "a checkpoint in shards, as FSDP writes them",
        "merge it with `accelerate merge-weights`, and add config.json and the tokenizer",
    ),
    (
        ("zero_to_fp32.py", "global_step*/*_states.pt", "*_model_states.pt"),
        "a checkpoint of DeepSpeed",
        "merge it with its zero_to_fp32.py and --safe_serialization, and add config.json and the tokenizer",
    ),
    (
        ("latest_checkpointed_iteration.txt", "iter_*/mp_rank_*"),
        "a checkpoint of Megatron",
        "export it to Hugging Face's form with Megatron Bridge",
    ),
    (
        ("params.json", "consolidated*"),
        "a model in its maker's own form",
        "give the one with config.json and model.safetensors, in Hugging Face's form",
    ),
    (
        ("*.gguf",),
        "a model in llama.cpp's form (GGUF)",
        "give the folder of the model that it was made of",
    ),
    (
        ("checkpoint-*/config.json",),
        "a folder of several checkpoints",
        "give one of them",
    ),
    (
        ("model-*-of-*.safetensors",),
        "weights in several files without model.safetensors.index.json",
        "copy that file too",
    ),
)
"""(names of which one is there, what the folder is, what to do), the first one that fits counts."""


def other_form(folder: Path) -> str | None:
    """What a folder is, and what to do, where it lacks config.json or weights; None if it is not known."""
    for patterns, form, remedy in _FORMS:
        if found := next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None):
            return f"{form} ({found.relative_to(folder)}); {remedy}"
    return None
