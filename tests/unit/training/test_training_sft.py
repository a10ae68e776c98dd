"""SFT's loss is a mean over the learned tokens of a batch, however the batch is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.sampling.sampler import load_model
from mathloop.stages import StageReport
from mathloop.training import sft
from mathloop.training.config import SFTConfig
from mathloop.training.samples import encode

TEXTS = [
    "7",
    "So the answer is \\boxed{7}.",
    "Mia has 3 apples. Tom gives her 4 more. " * 4,
    "Tom 4.",
    "3",
    "4",
]


def fine_tune(
    folder: Path, policy: Path, micro_batch_size: int
) -> tuple[StageReport, dict[str, torch.Tensor]]:
    config = SFTConfig(epochs=3, batch_size=len(TEXTS), micro_batch_size=micro_batch_size)
    report = sft.run(
        problems=folder / "problems.jsonl",
        responses=[folder / "responses.jsonl"],
        policy=policy,
        model=folder / f"model{micro_batch_size}",
        work=folder / f"work{micro_batch_size}",
        config=config,
        seed=0,
    )
    return report, load_model(folder / f"model{micro_batch_size}", torch.float32)[0].state_dict()


def test_micro_batches_add_up_to_the_batch(tiny_model: Any, tokenizer: Any, tmp_path: Path) -> None:
    net = tiny_model(len(tokenizer))
    net.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    write_problems(tmp_path / "problems.jsonl", [Problem("p", "3 + 4?", answer="7")])
    write_responses(
        tmp_path / "responses.jsonl", [Response("p", i, "cot", text) for i, text in enumerate(TEXTS)]
    )
    whole, weights = fine_tune(tmp_path, tmp_path / "policy", len(TEXTS))
    losses, means = [], []
    for sample in (encode(tokenizer, "3 + 4?", "cot", text) for text in TEXTS):
        with torch.no_grad():
            logprobs = torch.log_softmax(net(input_ids=torch.tensor([sample.tokens])).logits[0], -1)
        own = [-float(logprobs[i - 1, t]) for i, t in enumerate(sample.tokens) if sample.learned[i]]
        losses += own
        means.append(sum(own) / len(own))
    first = whole.curves["loss"][0][1]
    assert first == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert first != pytest.approx(sum(means) / len(means), rel=1e-2)  # not a mean of means
    for size in (1, 4):
        cut, others = fine_tune(tmp_path, tmp_path / "policy", size)
        for name in ("loss", "gradient norm"):
            assert [v for _, v in cut.curves[name]] == pytest.approx(
                [v for _, v in whole.curves[name]], rel=1e-4
            )
        assert all(torch.allclose(others[name], value, atol=1e-5) for name, value in weights.items())
