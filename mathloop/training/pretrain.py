"""Recipe: a small Qwen2 from random weights, on dialogues of a generated corpus (Paper §2, at small scale).

The loss includes every token, with less weight on the problem, whose names and numbers cannot be predicted.
"""

from __future__ import annotations

from pathlib import Path

import torch

from mathloop.corpus.writing_exercises import WRITING
from mathloop.curves import thin
from mathloop.records import read_rows
from mathloop.sampling.prompts import DEFAULT, UNINSTRUCTED
from mathloop.stages import Progress, StageReport, timed
from mathloop.training.config import PretrainConfig
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.order import batch_of, hash_data
from mathloop.training.policy_saving import save_policy
from mathloop.training.ranks import join_ranks
from mathloop.training.samples import encode
from mathloop.training.tokenizer import train_tokenizer


@timed
def run(*, corpus: Path, model: Path, work: Path, config: PretrainConfig, seed: int) -> StageReport:
    """Trains on `corpus` (rows of problem, solution, mode) and saves a model folder.

    If it was killed, the same call resumes from its last checkpoint.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    join_ranks()  # sets this process's GPU, before anything is on it
    rows = list(read_rows(corpus))
    tokenizer = train_tokenizer(
        (f"{r['problem']}\n{r['solution']}" for r in rows[:20_000]), config.vocabulary
    )
    samples = [
        encode(
            tokenizer,
            r["problem"],
            r["mode"],
            r["solution"],
            prompt_weight=config.problem_weight,
            asked=UNINSTRUCTED if r.get("style") == WRITING else DEFAULT,
        )
        for r in rows
    ]
    torch.manual_seed(seed)
    net = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=3 * config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,  # grouped ones would be expanded at every decoding step
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    data = hash_data(s.tokens for s in samples)
    with Engine(
        PackedPolicy(net), config, config.steps, work, recipe="pretrain", seed=seed, data=data
    ) as engine:
        progress = Progress("pretrain", config.steps, "steps")
        progress.update(engine.step)
        while engine.step < config.steps:
            batch = [samples[i] for i in batch_of(len(samples), config.batch_size, engine.step, seed)]
            values = learn(engine, batch)
            progress.update(tokens=sum(len(s.tokens) for s in batch), loss=values["loss"])
        save_policy(model, engine, net, tokenizer)
    return StageReport(
        "pretrain",
        inputs=len(rows),
        values={
            "parameters": sum(p.numel() for p in net.parameters()),
            **engine.summary(),
            "loss": engine.curves["loss"][-1][1],
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()},
        notes=engine.notes,
    )
