"""The reward model: a policy's backbone with a scalar head of two linear layers (Paper §3.2), and scoring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.errors import BadModel
from mathloop.records import Mode
from mathloop.sampling.prompts import end_of_turn, render_prompt
from mathloop.sampling.sampler import load_model

HEAD = "score."
"""What the head's weights are called in a saved model, as vLLM's `Qwen2ForRewardModel` reads them."""


class RewardModel(nn.Module):
    """Scores a dialogue by the hidden state of its last token."""

    def __init__(self, backbone: nn.Module, hidden: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    @classmethod
    def from_policy(cls, folder: Path) -> tuple[RewardModel, Any]:
        """Backbone of a policy under a fresh head; returns it with the tokenizer."""
        policy, tokenizer = load_model(folder, torch.float32)
        model = cls(policy.model, policy.config.hidden_size)
        return model.to(policy.device), tokenizer

    @classmethod
    def load(cls, folder: Path) -> tuple[RewardModel, Any]:
        """Loads what `save` wrote. Raises BadModel when the head is missing or does not fit."""
        model, tokenizer = cls.from_policy(folder)
        head = _head(folder)
        if not head:
            raise BadModel(f"{folder}: no reward head there; expected a reward model that mathloop saved")
        try:
            model.head.load_state_dict(head)
        except RuntimeError as error:
            raise BadModel(f"{folder}: the reward head does not fit the backbone's width") from error
        return model.eval(), tokenizer

    def save(self, folder: Path, policy: Any, tokenizer: Any) -> None:
        """Writes backbone (of the causal model `policy`), head and tokenizer, as vLLM loads them too.

        Its pooling runner knows the form `Qwen2ForRewardModel`: two linear layers named score.0 and score.2.
        """
        weights = {k: v for k, v in policy.state_dict().items() if not k.startswith("lm_head.")}
        weights |= {HEAD + k: v.contiguous() for k, v in self.head.state_dict().items()}
        policy.save_pretrained(folder, state_dict=weights)
        tokenizer.save_pretrained(folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        family = type(policy).__name__.removesuffix("ForCausalLM")
        config |= {"architectures": [f"{family}ForRewardModel"], "num_labels": 1}
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def forward(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """tokens, attention [batch, seq], padded on the right → scores (logits) [batch]."""
        # Padding on the right is never seen by the tokens before it: no mask, and faster attention.
        states = self.backbone(input_ids=tokens).last_hidden_state
        last = attention.sum(1) - 1
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.head(states[rows, last].float())[:, 0]  # type: ignore[no-any-return]


def _head(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    head: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith(HEAD)]  # noqa: SIM118  (no dictionary)
                head |= {name.removeprefix(HEAD): file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise BadModel(f"{path}: not a safetensors file; copy or train the model again") from error
    return head


def dialogue_tokens(tokenizer: Any, problem: str, mode: Mode, text: str, max_tokens: int) -> list[int]:
    """Tokens of prompt, response and end of turn; over-long ones lose their beginning."""
    whole = render_prompt(tokenizer, problem, mode) + text + end_of_turn(tokenizer)
    tokens: list[int] = tokenizer(whole, add_special_tokens=False)["input_ids"]
    return tokens[-max_tokens:]


def pad(rows: Sequence[Sequence[int]], device: Any = None) -> tuple[Tensor, Tensor]:
    """(tokens, attention), both [batch, seq], padded on the right with zeros."""
    width = max(map(len, rows))
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    attention = torch.zeros(len(rows), width, dtype=torch.long)
    for at, row in enumerate(rows):
        tokens[at, : len(row)] = torch.tensor(row)
        attention[at, : len(row)] = 1
    return tokens.to(device), attention.to(device)


@torch.inference_mode()
def score(
    model: RewardModel,
    tokenizer: Any,
    dialogues: Sequence[tuple[str, Mode, str]],
    *,
    batch_size: int = 256,
    max_tokens: int = 4096,
) -> list[float]:
    """Rewards (logits) of (problem, mode, response text), in order; batches are made of like lengths."""
    rows = [dialogue_tokens(tokenizer, *dialogue, max_tokens) for dialogue in dialogues]
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores = [0.0] * len(rows)
    device = next(model.parameters()).device
    for start in range(0, len(rows), batch_size):
        chosen = by_length[start : start + batch_size]
        for index, value in zip(chosen, model(*pad([rows[i] for i in chosen], device)).tolist(), strict=True):
            scores[index] = value
    return scores
