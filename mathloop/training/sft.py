"""Recipe: supervised fine-tuning on selected CoT and TIR responses together (Paper §3.1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mathloop.curves import thin
from mathloop.errors import BadData
from mathloop.records import read_problems, read_responses
from mathloop.sampling.sampler import load_model
from mathloop.stages import Progress, StageReport
from mathloop.training.adapters import add_adapters
from mathloop.training.config import SFTConfig
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.order import batch_of, name_data, steps_of
from mathloop.training.samples import encode
from mathloop.training.saving import save_model, save_policy


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

    With no response to learn from, `model` is `policy` itself, with a note. Raises BadData where there are
    responses and every one is longer than `max_tokens`.
    """
    started = time.monotonic()
    net, tokenizer = load_model(policy, torch.float32)
    told = {p.id: p.problem for p in read_problems(problems)}
    read = [r for path in responses for r in read_responses(path)]
    dropped = {"problem was dropped": sum(r.problem_id not in told for r in read)}
    encoded = [encode(tokenizer, told[r.problem_id], r.mode, r.text) for r in read if r.problem_id in told]
    samples = [s for s in encoded if len(s.tokens) <= config.max_tokens]
    dropped["longer than max_tokens"] = len(encoded) - len(samples)
    if encoded and not samples:
        shortest = min(len(s.tokens) for s in encoded)
        raise BadData(
            f"every response with its problem is longer than sft.max_tokens={config.max_tokens}, the "
            f"shortest has {shortest} tokens: raise max_tokens to {shortest} or more",
            path=responses[0],
        )
    if not samples:
        save_model(model, net, tokenizer)
        note = (
            f"None of {len(read)} responses can be learned from, so the SFT model is the champion: draw more."
        )
        return StageReport("sft", time.monotonic() - started, taken=len(read), dropped=dropped, notes=[note])
    batch_size = min(config.batch_size, len(samples))
    steps = steps_of(len(samples), batch_size, config.epochs)
    torch.manual_seed(seed)  # adapters begin at random: alike after a kill and on every rank
    module = PackedPolicy(add_adapters(net, config.lora))
    data = name_data(s.tokens for s in samples)
    with Engine(module, config, steps, work, recipe="sft", seed=seed, data=data) as engine:
        progress = Progress("sft", steps, "steps")
        progress.update(engine.step)
        while engine.step < steps:
            batch = [samples[i] for i in batch_of(len(samples), batch_size, engine.step, seed)]
            values = learn(engine, batch)
            progress.update(tokens=sum(len(s.tokens) for s in batch), loss=values["loss"])
        save_policy(model, engine, net, tokenizer)
    return StageReport(
        "sft",
        time.monotonic() - started,
        taken=len(read),
        kept=len(samples),
        dropped=dropped,
        values={**engine.summary(), "loss": engine.curves["loss"][-1][1]},
        curves={name: thin(curve) for name, curve in engine.curves.items()},
        notes=engine.notes,
    )
