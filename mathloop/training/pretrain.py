"""Recipe: pretraining of a small Qwen2 from random weights, or of a given model (Paper §2, at small scale).

The loss includes every token. In dialogues, those of the nano world, the problem has less weight, since its
names and numbers cannot be predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from mathloop.corpus.writing_exercises import WRITING
from mathloop.curves import thin
from mathloop.errors import BadData
from mathloop.files import filled, replacing_folder
from mathloop.models import model_import
from mathloop.models.packing import Sample
from mathloop.records import read_rows
from mathloop.sampling.prompts import DEFAULT, UNINSTRUCTED
from mathloop.stages import Progress, StageReport, timed
from mathloop.training.config import PretrainConfig
from mathloop.training.documents import packed
from mathloop.training.encoded import EncodedSamples, write_samples
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.order import batch_of, hash_data
from mathloop.training.policy_saving import save_policy
from mathloop.training.ranks import Ranks, join_ranks
from mathloop.training.samples import encode
from mathloop.training.sharded import load_trainable
from mathloop.training.tokenizer import train_tokenizer


@timed
def run(*, corpus: Path, model: Path, work: Path, config: PretrainConfig, seed: int) -> StageReport:
    """Trains on `corpus` and saves a model folder.

    Rows with `text` are documents, packed to `config.max_tokens`; others are dialogues: problem, solution,
    mode. If it was killed, the same call resumes from its last checkpoint.

    Raises:
        BadData: the corpus is empty.
        BadModel: `config.model` cannot be loaded.
    """
    ranks = join_ranks()  # sets this process's GPU, before anything is on it
    first = next(read_rows(corpus), None)
    if first is None:
        raise BadData("the corpus has no documents to pretrain on", path=corpus)
    of_text = isinstance(first.get("text"), str)
    if config.model:
        net, tokenizer = load_trainable(_imported(config.model, work, ranks), config.engine, ranks)
    else:
        texts = map(_text, islice(read_rows(corpus), 20_000))
        net, tokenizer = None, train_tokenizer(texts, config.vocabulary)
    samples: Sequence[Sample]
    if of_text:
        if ranks.local == 0:
            counts = {"documents": 0}
            write_samples(
                work / "encoded", packed(tokenizer, _texts(corpus, counts), config.max_tokens), counts
            )
        ranks.barrier()
        samples = encoded = EncodedSamples(work / "encoded")
        data, inputs = encoded.summary["hash"], encoded.summary["documents"]
    else:
        samples = [_dialogue(tokenizer, row, config) for row in read_rows(corpus)]
        data, inputs = hash_data(s.tokens for s in samples), len(samples)
    steps = _steps(samples, config)
    torch.manual_seed(seed)
    net = _random(tokenizer, config) if net is None else net
    with Engine(PackedPolicy(net), config, steps, work, recipe="pretrain", seed=seed, data=data) as engine:
        progress = Progress("pretrain", steps, "steps")
        progress.update(engine.step)
        while engine.step < steps:
            batch = [samples[i] for i in batch_of(len(samples), config.batch_size, engine.step, seed)]
            values = learn(engine, batch)
            progress.update(tokens=sum(len(s.tokens) for s in batch), loss=values["loss"])
        save_policy(model, engine, net, tokenizer)
    return StageReport(
        "pretrain",
        inputs=inputs,
        values={
            "parameters": sum(p.numel() for p in net.parameters()),
            **engine.summary(),
            "loss": engine.curves["loss"][-1][1],
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()},
        notes=engine.notes,
    )


def _steps(samples: Sequence[Sample], config: PretrainConfig) -> int:
    """The steps that are set, or those that train on `config.tokens` with samples of mean length."""
    if not config.tokens:
        return config.steps
    mean = sum(len(sample.tokens) for sample in samples) / len(samples)
    return max(1, round(config.tokens / (config.batch_size * mean)))


def _texts(corpus: Path, counts: dict[str, Any]) -> Iterator[str]:
    """The documents' texts, which are counted."""
    for row in read_rows(corpus):
        counts["documents"] += 1
        yield row["text"]


def _text(row: dict[str, Any]) -> str:
    return str(row["text"]) if "text" in row else f"{row['problem']}\n{row['solution']}"


def _dialogue(tokenizer: Any, row: dict[str, Any], config: PretrainConfig) -> Sample:
    return encode(
        tokenizer,
        row["problem"],
        row["mode"],
        row["solution"],
        prompt_weight=config.problem_weight,
        asked=UNINSTRUCTED if row.get("style") == WRITING else DEFAULT,
    )


def _imported(source: str, work: Path, ranks: Ranks) -> Path:
    """The model to continue from, brought into a folder once per machine."""
    folder = work / "model"
    if ranks.local == 0 and not filled(folder):
        with replacing_folder(folder) as partial:
            model_import.run(source=source, model=partial)
    ranks.barrier()
    return folder


def _random(tokenizer: Any, config: PretrainConfig) -> Any:
    """A Qwen2 with random weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=3 * config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,  # grouped ones would be expanded at every decoding step
            max_position_embeddings=max(1024, config.max_tokens),
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
