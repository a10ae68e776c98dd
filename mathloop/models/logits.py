"""What a causal language model makes of its head's products: most nothing, some scale them or cap them.

Training applies the head to some states only and in pieces, so it cannot call the model for its logits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mathloop.errors import BadModel

TESTED = frozenset((
    "apertus", "arcee", "bitnet", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "diffllama",
    "ernie4_5", "exaone4", "falcon_h1", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2",
    "gpt_bigcode", "gpt_neox", "gpt_oss", "granite", "granitemoe", "helium", "hunyuan_v1_dense", "jais2",
    "lfm2", "llama", "minimax_m2", "mistral", "mixtral", "nanochat", "nemotron", "olmo", "olmo2", "olmo3",
    "olmoe", "opt", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_moe",
    "qwen3_next", "seed_oss", "smollm3", "stablelm", "starcoder2", "vaultgemma",
))  # fmt: skip
"""Model types whose logits and caches tests compare with transformers' own; others are tried when loaded."""
TIMES = {"cohere": "logit_scale", "cohere2": "logit_scale", "falcon_h1": "lm_head_multiplier"}
"""Model type → the field of its config that the products are multiplied with."""
OVER = {"granite": "logits_scaling", "granitemoe": "logits_scaling", "granitemoeshared": "logits_scaling",
        "granitemoehybrid": "logits_scaling"}  # fmt: skip
"""Model type → the field that they are divided by."""
CAP = "final_logit_softcapping"
"""The field of a bound c, in any config: logits become c·tanh(logits/c)."""
FAR = 0.02
"""Total variation between two distributions of the next token that cannot be rounding in float32."""


class Finish(NamedTuple):
    """How the products become logits: first the scale, then the cap."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, products: Tensor) -> Tensor:
        """Logits of the head's products, of the same shape."""
        logits = products if self.scale == 1.0 else products * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


def finish_of(config: Any) -> Finish:
    """Of a model's config."""
    kind = getattr(config, "model_type", None)
    scale = float(getattr(config, TIMES[kind])) if kind in TIMES else 1.0
    if kind in OVER:
        scale /= float(getattr(config, OVER[kind]))
    return Finish(scale, getattr(config, CAP, None))


@torch.no_grad()  # not inference mode: what a model keeps from this pass must still be trainable
def check_logits(place: Any, model: Any) -> None:
    """Raises BadModel where an untested model's logits are not those that `finish_of` gives."""
    if model.config.model_type in TESTED:
        return
    tokens = torch.arange(1, 6, device=model.device)[None] % len(model.get_input_embeddings().weight)
    head = model.get_output_embeddings()
    if head is not None:
        states = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        own = model(input_ids=tokens, use_cache=False).logits
        if not differ(finish_of(model.config)(head(states)), own):
            return
    raise BadModel(
        f"{place}: model_type {model.config.model_type!r} computes its logits in a way that is not known "
        "here; take a model of another family"
    )


def differ(logits: Tensor, others: Tensor) -> bool:
    """Whether two tensors of logits [..., vocabulary] are further apart than rounding."""
    far = FAR if logits.dtype == others.dtype == torch.float32 else 5 * FAR
    shares, theirs = (each.float().softmax(-1) for each in (logits, others))
    return not float((shares - theirs).abs().sum(-1).max()) / 2 <= far  # also where there is NaN
