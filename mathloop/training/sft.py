"""Recipe: supervised fine-tuning on selected CoT and TIR responses together (Paper §3.1)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from mathloop.curves import thin
from mathloop.errors import BadData
from mathloop.files import disk
from mathloop.models.folders import EARLIER
from mathloop.models.packing import Sample
from mathloop.models.tokenizers import end_tokens
from mathloop.records import Drops, open_drops, read_problems, read_responses
from mathloop.stages import Progress, StageReport, timed
from mathloop.training.adapters import add_adapters, check_targets
from mathloop.training.capacity import check_recipe
from mathloop.training.config import SFTConfig
from mathloop.training.encoded import EncodedSamples, write_samples
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.order import batch_of, steps_of
from mathloop.training.policy_saving import save_policy
from mathloop.training.ranks import join_ranks
from mathloop.training.samples import encode
from mathloop.training.sharded import load_trainable, save_untrained


@timed
def run(
    *,
    problems: Path,
    responses: Sequence[Path],
    policy: Path,
    model: Path,
    work: Path,
    config: SFTConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Fine-tunes `policy` on the responses and saves it to `model`.

    Policies on the way (`config.earlier`) are in its folder `EARLIER`, named after their steps.

    With no response to learn from, `model` is `policy` itself, with a note. `dropped` becomes JSON lines of
    the responses that are not used, each with the reason. Raises BadData if there are responses and every
    one is longer than `max_tokens`.
    """
    ranks = join_ranks()  # sets this process's GPU, onto which models are loaded
    check_targets(policy, config.lora)
    check_recipe("sft", policy, config, ranks)
    net, tokenizer = load_trainable(policy, config.engine, ranks, config.lora)
    encoded = work / "encoded"
    drops = Drops()
    if ranks.local == 0:
        with open_drops(dropped if ranks.first else None) as drops:
            ends = end_tokens(tokenizer, getattr(net, "generation_config", None))
            counts = {"taken": 0, "shortest": 0}
            fitting = _encode(problems, responses, tokenizer, ends, config, drops, counts)
            write_samples(encoded, fitting, counts)
    ranks.barrier()
    samples = EncodedSamples(encoded)
    taken, shortest = samples.summary["taken"], samples.summary["shortest"]
    if shortest and not samples:
        raise BadData(
            f"every response with its problem is longer than sft.max_tokens={config.max_tokens}, the "
            f"shortest has {shortest} tokens: raise max_tokens to {shortest} or more",
            path=responses[0],
        )
    if not samples:
        save_untrained(model, policy, net, tokenizer, ranks)
        note = (
            f"None of {taken} responses can be learned from, so the SFT model is the champion: sample more."
        )
        return StageReport("sft", inputs=taken, dropped=drops.counts, notes=[note])
    batch_size = min(config.batch_size, len(samples))
    steps = steps_of(len(samples), batch_size, config.epochs)
    torch.manual_seed(seed)  # adapters start random: the same after a resume and on every rank
    module = PackedPolicy(add_adapters(net, config.lora))
    data = samples.summary["hash"]
    marks = {steps * number // (config.earlier + 1) for number in range(1, config.earlier + 1)} - {0}
    with Engine(module, config, steps, work, recipe="sft", seed=seed, data=data) as engine:
        progress = Progress("sft", steps, "steps")
        progress.update(engine.step)
        while engine.step < steps:
            batch = [samples[i] for i in batch_of(len(samples), batch_size, engine.step, seed)]
            values = learn(engine, batch)
            progress.update(tokens=sum(len(s.tokens) for s in batch), loss=values["loss"])
            if engine.step in marks:
                save_policy(work / EARLIER / str(engine.step), engine, net, tokenizer)
        save_policy(model, engine, net, tokenizer)
    if ranks.first and marks:
        with disk(model):
            shutil.move(work / EARLIER, model / EARLIER)
    if ranks.local == 0:
        shutil.rmtree(encoded, ignore_errors=True)
    return StageReport(
        "sft",
        inputs=taken,
        kept=len(samples),
        dropped=drops.counts,
        values={**engine.summary(), "loss": engine.curves["loss"][-1][1]},
        curves={name: thin(curve) for name, curve in engine.curves.items()},
        notes=engine.notes,
    )


def _encode(
    problems: Path,
    responses: Sequence[Path],
    tokenizer: Any,
    ends: frozenset[int],
    config: SFTConfig,
    drops: Drops,
    counts: dict[str, int],
) -> Iterator[Sample]:
    """Yields the samples to learn from; counts responses read, and tokens of the shortest too long."""
    statements = {p.id: p.problem for p in read_problems(problems)}
    for response in (r for path in responses for r in read_responses(path)):
        counts["taken"] += 1
        if response.problem_id not in statements:
            drops.add("its problem was removed", response)
            continue
        statement = statements[response.problem_id]
        ended = response.finish_reason == "stop"
        sample = encode(tokenizer, statement, response.mode, response.text, ended=ended, ends=ends)
        length = len(sample.tokens)
        if length > config.max_tokens:
            counts["shortest"] = min(counts["shortest"] or length, length)
            drops.add("longer than max_tokens", response, problem=statement, encoded_tokens=length)
        elif not any(sample.weights):
            drops.add("nothing to learn from", response, problem=statement)
        else:
            yield sample
