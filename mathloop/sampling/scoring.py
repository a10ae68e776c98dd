"""The reward model: a policy's backbone with a scalar head of two linear layers (Paper §3.2), and scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.errors import BadModel
from mathloop.records import Mode
from mathloop.sampling.prompts import end_of_turn, render_prompt
from mathloop.sampling.sampler import load_model

HEAD_FILE = "reward_head.safetensors"


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
        from safetensors.torch import load_file

        model, tokenizer = cls.from_policy(folder)
        if not (folder / HEAD_FILE).is_file():
            raise BadModel(f"{folder}: no {HEAD_FILE} there; expected a reward model that mathloop saved")
        try:
            model.head.load_state_dict(load_file(folder / HEAD_FILE))
        except RuntimeError as error:
            raise BadModel(f"{folder / HEAD_FILE}: does not fit the backbone's width") from error
        return model.eval(), tokenizer

    def save(self, folder: Path, policy: Any, tokenizer: Any) -> None:
        """Writes backbone (as the causal model `policy` around it), tokenizer and head."""
        from safetensors.torch import save_file

        policy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file({k: v.contiguous() for k, v in self.head.state_dict().items()}, folder / HEAD_FILE)

    def forward(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """tokens, attention [batch, seq], padded on the right → scores (logits) [batch]."""
        # Padding on the right is never seen by the tokens before it: no mask, and faster attention.
        states = self.backbone(input_ids=tokens).last_hidden_state
        last = attention.sum(1) - 1
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.head(states[rows, last].float())[:, 0]  # type: ignore[no-any-return]


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
