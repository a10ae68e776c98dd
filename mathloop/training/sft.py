"""Recipe: supervised fine-tuning on selected CoT and TIR responses together (Paper §3.1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mathloop.errors import BadData
from mathloop.records import read_problems, read_responses
from mathloop.sampling.sampler import load_model
from mathloop.stages import Progress, StageReport
from mathloop.training.config import SFTConfig
from mathloop.training.engine import Engine, order, thin
from mathloop.training.losses import token_logprobs
from mathloop.training.samples import collate, encode, padding_of
from mathloop.training.saving import save_folder


def run(
    *,
    problems: Path,
    responses: Sequence[Path],
    policy: Path,
    model: Path,
    work: Path,
    config: SFTConfig,
    seed: int,
) -> StageReport:
    """Fine-tunes `policy` on the responses and saves it to `model`.

    The loss is a mean over the learned tokens of the whole batch, however it is cut into micro-batches.
    Raises BadData when no response is left to learn from.
    """
    started = time.monotonic()
    net, tokenizer = load_model(policy, torch.float32)
    told = {p.id: p.problem for p in read_problems(problems)}
    read = [r for path in responses for r in read_responses(path)]
    dropped = {"problem was dropped": sum(r.problem_id not in told for r in read)}
    encoded = [encode(tokenizer, told[r.problem_id], r.mode, r.text) for r in read if r.problem_id in told]
    samples = [s for s in encoded if len(s.tokens) <= config.max_tokens]
    dropped["longer than max_tokens"] = len(encoded) - len(samples)
    if not samples:
        raise BadData(
            f"no response left to learn from ({len(read)} read); raise sft.max_tokens or draw more samples",
            path=responses[0] if responses else None,
        )
    lengths = [len(s.tokens) for s in samples]
    steps = config.epochs * max(1, len(samples) // config.batch_size)
    net.train()
    engine = Engine(net, config.optimizer, steps, work)
    engine.resume()
    progress = Progress("sft", steps, "steps")
    progress.update(engine.step)
    total = 0
    while engine.step < steps:
        chosen = order(lengths, config.batch_size, engine.step, seed)
        learned_tokens = sum(sum(samples[i].learned) for i in chosen)
        value = 0.0
        for at in range(0, len(chosen), config.micro_batch_size):
            batch = [samples[i] for i in chosen[at : at + config.micro_batch_size]]
            tokens, attention, learned = collate(batch, padding_of(tokenizer), net.device)
            logprobs = token_logprobs(net(input_ids=tokens).logits, tokens)
            loss = -(logprobs * learned[:, 1:]).sum() / learned_tokens
            loss.backward()  # type: ignore[no-untyped-call]
            value += loss.item()
            total += int(attention.sum())
        engine.update(loss=value)
        progress.update(tokens=sum(lengths[i] for i in chosen), loss=value)

    def write(folder: Path) -> None:
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save_folder(model, write)
    seconds = time.monotonic() - started
    return StageReport(
        "sft",
        seconds,
        taken=len(read),
        kept=len(samples),
        dropped={reason: count for reason, count in dropped.items() if count},
        values={"tokens": total, "tokens_per_second": total / seconds, "loss": engine.curves["loss"][-1][1]},
        curves={name: thin(curve) for name, curve in engine.curves.items()},
    )
