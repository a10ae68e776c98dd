"""A run of the recipe GRPO on a toy policy, with the gradients of its steps and its logged rollouts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from mathloop.models.loading import load_policy
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.prompts import render_prompt
from mathloop.stages import StageReport
from mathloop.training import grpo
from mathloop.training.config import GRPOConfig, OptimizerConfig
from mathloop.training.updates import PlainUpdates


def run(
    trained: Path, folder: Path, *, name: str = "grpo", **given: Any
) -> tuple[StageReport, list[dict[str, Any]]]:
    """Runs the recipe; returns its report and the logged rollouts."""
    return train(trained, folder, name=name, **given), read_rollouts(folder, name)


def read_rollouts(folder: Path, name: str = "grpo") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


def train(
    trained: Path, folder: Path, *, name: str = "grpo", reward: str = "opinion", **given: Any
) -> StageReport:
    """Runs the recipe on what the fixture `trained` made, with work and outputs in `folder`."""
    settings = {
        "steps": 1,
        "problems_per_step": 4,
        "group_size": 4,
        "tir_share": 0.0,
        "sampling": SamplingConfig(max_tokens=60),
        **given,
    }
    settings.setdefault("optimizer", OptimizerConfig(learning_rate=1e-3, weight_decay=0.0))
    return grpo.run(
        problems=trained / "problems.jsonl",
        policy=trained / "policy",
        reward_model=trained / reward,
        model=folder / name,
        work=folder / f"work-{name}",
        config=GRPOConfig(**settings),
        seed=0,
        rollouts=folder / f"{name}.parquet",
    )


class Steps:
    """Records the weights before each optimizer step, and the gradient."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        step = PlainUpdates.step

        def keep(updates: PlainUpdates, rate: float) -> float | None:
            named = {name.removeprefix("model."): p for name, p in updates.named.items()}
            self.weights.append({name: p.detach().clone() for name, p in named.items()})
            self.gradients.append({name: p.grad.clone() for name, p in named.items()})
            return step(updates, rate)

        monkeypatch.setattr(PlainUpdates, "step", keep)

    def policy(self, folder: Path, step: int) -> Any:
        """The policy as it was before a step."""
        net, _ = load_policy(folder)
        net.load_state_dict(self.weights[step], strict=False)
        return net


def tokens_of(row: dict[str, Any], tokenizer: Any) -> tuple[list[int], list[int], list[bool]]:
    """(prompt, response, which of the response's tokens the policy wrote) of a logged rollout."""
    prompt = tokenizer.encode(render_prompt(tokenizer, row["problem"], row["mode"]))
    written, at = [], 0
    if row["mode"] == "tir":
        for match in re.finditer(r"(?<=```output)\n.*?(\n```\n|\Z)", row["text"], re.DOTALL):
            written += [(t, True) for t in tokenizer.encode(row["text"][at : match.start()])]
            written += [(t, False) for t in tokenizer.encode(match[0])]
            at = match.end()
    written += [(t, True) for t in tokenizer.encode(row["text"][at:])]
    if row["finish_reason"] == "stop":
        written.append((tokenizer.eos_token_id, True))
    assert sum(own for _, own in written) == row["tokens"]  # read back as it was drawn
    return prompt, [t for t, _ in written], [own for _, own in written]


def response_logprobs(
    net: Any, rows: list[dict[str, Any]], tokenizer: Any, temperature: float
) -> Iterator[Any]:
    """Of each row, the log-probabilities of the policy's own tokens, by one padded forward."""
    split = [tokens_of(row, tokenizer) for row in rows]
    width = max(len(prompt) + len(response) for prompt, response, _ in split)
    batch = torch.zeros(len(rows), width, dtype=torch.long)
    seen = torch.zeros(len(rows), width, dtype=torch.long)
    for i, (prompt, response, _) in enumerate(split):
        batch[i, : len(prompt) + len(response)] = torch.tensor(prompt + response)
        seen[i, : len(prompt) + len(response)] = 1
    logprobs = torch.log_softmax(net(input_ids=batch, attention_mask=seen).logits / temperature, -1)
    for i, (prompt, response, own) in enumerate(split):
        places = [(len(prompt) + t - 1, token) for t, token in enumerate(response) if own[t]]
        yield torch.stack([logprobs[i, place, token] for place, token in places])


def assert_gradient(net: Any, loss: torch.Tensor, found: dict[str, torch.Tensor]) -> None:
    """The loss's gradient by the weights of `net` is `found`, within a millionth of its largest number."""
    net.zero_grad()
    loss.backward()
    largest = max(float(p.grad.abs().max()) for p in net.parameters())
    assert largest > 1e-3
    for name, parameter in net.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=5e-6 * max(1.0, largest), rtol=1e-4), name
