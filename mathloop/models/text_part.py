"""The language model in a folder: the model itself, or the text part of one that also sees or hears.

Published models such as Gemma 3 or Qwen2.5-VL hold a language model among others. It is loaded alone, as the
class of text that transformers has for it; images and sound are left out, and so are their weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.errors import BadModel

OWN_FILES: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""What every call of transformers is given: nothing is copied, no code of a model's own is run."""
BODY = "model"
"""Attribute that holds the layers in each class of text that a larger model has a part of."""
SAME = {
    "qwen2_vl_text": "qwen2", "qwen2_5_vl_text": "qwen2", "qwen3_vl_text": "qwen3", "glm4v_text": "glm4",
    "glm4v_moe_text": "glm4_moe",
}  # fmt: skip
"""Type of a text part that transformers has no class of text for → the type that computes the same on text.

On images each has positions in three dimensions, which on text are equal.
"""
_QUANTIZED = "quantization_config"
_EMBEDDING, _HEAD = "embed_tokens.weight", "lm_head.weight"


class LanguageModel(NamedTuple):
    """What transformers makes of a policy's config."""

    kind: Any
    """Class of transformers, a causal language model."""
    config: Any
    part: bool
    """It is a part of a larger model, whose other weights are left out."""
    quantization: dict[str, Any] | None = None
    """How the weights are quantized, which become numbers of full size; `config` says nothing of it."""

    def renamed(self, names: Iterable[str]) -> dict[str, str] | None:
        """Patterns of the larger model's names of tensors → this one's; None where it is not a part."""
        if not self.part:
            return None
        ends = (_EMBEDDING, _HEAD)
        found = {end: min((n for n in names if n.endswith(end)), key=len, default=end) for end in ends}
        body, head = (found[end].removesuffix(end) for end in ends)
        renamed = {f"^{re.escape(body)}": f"{BODY}."}
        return ({f"^{re.escape(head)}lm_head": "lm_head"} if head else {}) | renamed


def read_config(folder: Path) -> Any:
    """The config of the model in `folder`, whose config.json names a model_type.

    A model whose config asks for code of its own (auto_map) is read as transformers' model of that type.
    Raises BadModel where transformers does not know the type, or any error of transformers.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    given, _ = transformers.PreTrainedConfig.get_config_dict(folder, **OWN_FILES)
    kind = given["model_type"]
    if kind not in CONFIG_MAPPING:
        raise BadModel(
            f"{folder}: transformers {transformers.__version__} does not know model_type {kind!r}, and no "
            "code of a model's own is run; choose a model that transformers has"
        )
    return transformers.AutoConfig.from_pretrained(folder, **OWN_FILES)


def language_model(folder: Path, config: Any) -> LanguageModel:
    """The language model that the `config` of `folder` describes. Raises BadModel where there is none."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    whole, config = config, config.get_text_config(decoder=True)
    part = config is not whole
    if part and config.model_type in SAME:
        config = _as(SAME[config.model_type], config)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        inner = f", whose text part is a {config.model_type!r}" if part else ""
        raise BadModel(
            f"{folder}: transformers has no causal language model of text for model_type "
            f"{whole.model_type!r}{inner}; choose a model of another family"
        )
    if part:  # published ones say it of the larger model, or of the part; a head in the weights unties them
        config.tie_word_embeddings = bool(whole.tie_word_embeddings or config.tie_word_embeddings)
    return LanguageModel(
        MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], config, part, _quantization(whole, config)
    )


def backbone(config: Any) -> LanguageModel:
    """The backbone of a reward model with this config."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    return LanguageModel(MODEL_MAPPING[type(config)], config, False, _quantization(config))


def _quantization(*configs: Any) -> dict[str, Any] | None:
    """Takes what any of `configs` says of quantization out of it."""
    return next((vars(each).pop(_QUANTIZED) for each in configs if getattr(each, _QUANTIZED, None)), None)


def _as(kind: str, config: Any) -> Any:
    """The config of another type with the same sizes; positions have one dimension."""
    from transformers import AutoConfig

    fields = config.to_dict()
    known = AutoConfig.for_model(kind).to_dict()
    kept = {name: value for name, value in fields.items() if name in known and name != "model_type"}
    rope = fields.get("rope_parameters") or {}
    kept["rope_parameters"] = {name: value for name, value in rope.items() if not name.startswith("mrope")}
    return AutoConfig.for_model(kind, **kept)
