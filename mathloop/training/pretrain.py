"""Recipe: a small Qwen2 from random weights, on dialogues of a written corpus (Paper §2, in small).

The loss counts every token, but the problem's less: the names and numbers in it cannot be foreseen.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from mathloop.records import read_rows
from mathloop.stages import Progress, StageReport
from mathloop.training.config import PretrainConfig
from mathloop.training.engine import Engine, order, thin
from mathloop.training.losses import token_logprobs
from mathloop.training.samples import Sample, collate, encode, padding_of
from mathloop.training.saving import save_folder
from mathloop.training.tokenizer import train_tokenizer


def run(*, corpus: Path, model: Path, work: Path, config: PretrainConfig, seed: int) -> StageReport:
    """Trains on `corpus` (rows of problem, solution, mode) and saves a model folder.

    Killed and started again with the same arguments it goes on from its last checkpoint.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    started = time.monotonic()
    rows = list(read_rows(corpus))
    tokenizer = train_tokenizer(
        (f"{r['problem']}\n{r['solution']}" for r in rows[:20_000]), config.vocabulary
    )
    samples = [encode(tokenizer, r["problem"], r["mode"], r["solution"]) for r in rows]
    torch.manual_seed(seed)
    net = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=3 * config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,  # shared ones would be copied out at every decoding step
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    net.to("cuda" if torch.cuda.is_available() else "cpu").train()
    engine = Engine(net, config.optimizer, config.steps, work)
    engine.resume()
    lengths = [len(s.tokens) for s in samples]
    progress = Progress("pretrain", config.steps, "steps")
    progress.update(engine.step)
    while engine.step < config.steps:
        chosen = [samples[i] for i in order(lengths, config.batch_size, engine.step, seed)]
        whole = sum(_weight(sample, config) for sample in chosen)
        value = 0.0
        for at in range(0, len(chosen), config.micro_batch_size):
            micro = chosen[at : at + config.micro_batch_size]
            tokens, attention, learned = collate(micro, padding_of(tokenizer), net.device)
            # Padding stands on the right, where no token before it looks: causal attention needs no mask.
            logprobs = token_logprobs(net(input_ids=tokens).logits, tokens)
            weights = config.problem_weight * attention + (1 - config.problem_weight) * learned
            loss = -(logprobs * weights[:, 1:]).sum() / whole
            loss.backward()  # type: ignore[no-untyped-call]
            value += loss.item()
        engine.update(loss=value)
        count = sum(len(sample.tokens) for sample in chosen)
        engine.counts["tokens"] += count
        progress.update(tokens=count, loss=value)

    def write(folder: Path) -> None:
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save_folder(model, write)
    seconds = time.monotonic() - started
    return StageReport(
        "pretrain",
        seconds,
        taken=len(rows),
        values={
            "parameters": sum(p.numel() for p in net.parameters()),
            "tokens": engine.counts["tokens"],
            "tokens_per_second": engine.counts["tokens"] / engine.seconds,
            "loss": engine.curves["loss"][-1][1],
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()},
    )


def _weight(sample: Sample, config: PretrainConfig) -> float:
    """Sum of a sample's loss weights, its first token's left out: nothing foretells it."""
    learned = sum(sample.learned)
    return learned + config.problem_weight * (len(sample.tokens) - 1 - learned)
