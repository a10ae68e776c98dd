"""The reward model: a policy's backbone with a scalar head of two linear layers (Paper §3.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mathloop.models.attention import hidden_states
from mathloop.models.folders import HEAD
from mathloop.models.packing import Pack


class RewardModel(nn.Module):
    """Scores a dialogue by the hidden state of its last token."""

    def __init__(self, backbone: nn.Module, hidden: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, packed: Pack) -> Tensor:
        """Scores (logits) [samples] of a pack, float32; no sample sees another."""
        states = hidden_states(self.backbone, packed)[packed.ends]
        return self.head(states.to(next(self.head.parameters()).dtype))[:, 0].float()  # type: ignore[no-any-return]

    def save(self, folder: Path, tokenizer: Any, weights: Mapping[str, Tensor] | None = None) -> None:
        """Writes it into `folder`, with its own weights or with these, of the same names.

        The form is that of vLLM's `Qwen2ForRewardModel`, which its pooling runner loads: the backbone as in a
        policy, and two linear layers named score.0 and score.2.
        """
        backbone: Any = self.backbone
        prefixes = {"backbone": f"{backbone.base_model_prefix}.", "head": HEAD}
        named = {}
        for name, weight in (self.state_dict() if weights is None else weights).items():
            part, _, rest = name.partition(".")
            named[prefixes[part] + rest] = weight.contiguous()
        backbone.save_pretrained(folder, state_dict=named)
        tokenizer.save_pretrained(folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        family = type(backbone).__name__.removesuffix("Model")
        config |= {"architectures": [f"{family}ForRewardModel"], "num_labels": 1}
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
