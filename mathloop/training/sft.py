"""Recipe: supervised fine-tuning on selected CoT and TIR responses together (Paper §3.1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

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
    With no response to learn from, `model` is `policy` itself, with a note.
    """
    started = time.monotonic()
    net, tokenizer = load_model(policy, torch.float32)
    told = {p.id: p.problem for p in read_problems(problems)}
    read = [r for path in responses for r in read_responses(path)]
    dropped = {"problem was dropped": sum(r.problem_id not in told for r in read)}
    encoded = [encode(tokenizer, told[r.problem_id], r.mode, r.text) for r in read if r.problem_id in told]
    samples = [s for s in encoded if len(s.tokens) <= config.max_tokens]
    dropped["longer than max_tokens"] = len(encoded) - len(samples)

    def write(folder: Path) -> None:
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    if not samples:
        save_folder(model, write)
        note = (
            f"None of {len(read)} responses can be learned from, so the SFT model is the champion: draw more."
        )
        return StageReport("sft", time.monotonic() - started, taken=len(read), dropped=dropped, notes=[note])
    lengths = [len(s.tokens) for s in samples]
    steps = config.epochs * max(1, len(samples) // config.batch_size)
    net.train()
    engine = Engine(net, config.optimizer, steps, work)
    engine.resume()
    progress = Progress("sft", steps, "steps")
    progress.update(engine.step)
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
            engine.counts["tokens"] += int(attention.sum())
        engine.update(loss=value)
        progress.update(tokens=sum(lengths[i] for i in chosen), loss=value)

    save_folder(model, write)
    seconds = time.monotonic() - started
    return StageReport(
        "sft",
        seconds,
        taken=len(read),
        kept=len(samples),
        dropped=dropped,
        values={
            "tokens": engine.counts["tokens"],
            "tokens_per_second": engine.counts["tokens"] / engine.seconds,
            "loss": engine.curves["loss"][-1][1],
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()},
    )
