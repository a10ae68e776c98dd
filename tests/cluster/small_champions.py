"""Champions small enough to be made in a case: random weights, a real tokenizer, the real solver."""

from __future__ import annotations

from pathlib import Path

from mathloop.registry import Champion, Registry
from mathloop.storage import Store

TEXTS = [
    "Mia has 3 apples. Tom gives her 4 more.",
    "```python\nprint(3 + 4)\n```\n```output\n7\n```\n",
    "So the answer is \\boxed{7}.",
]


def publish(registry: Registry, store: Store, folder: Path, seed: int, *, whole: bool = True) -> Champion:
    """Makes a model of `seed` the store's champion.

    Args:
        whole: False: its weights cannot be loaded, so that no solver of it ever becomes ready.
    """
    policy = folder / f"policy-{seed}"
    save(policy, seed)
    if not whole:
        (policy / "model.safetensors").write_bytes(b"no weights")
    name, former = f"rounds/r{seed}/policy", registry.current()
    store.publish(policy, name)
    return registry.promote(
        name, None, round_id=f"r{seed}", expected=former, base=former.base if former else name, metrics={}
    )


def save(folder: Path, seed: int) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from mathloop.training.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(TEXTS, 400)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
