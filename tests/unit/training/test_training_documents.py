"""Pretraining on plain documents: packed to a fixed length, from random weights or from a given model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.errors import BadData, BadModel
from mathloop.models.loading import load_policy
from mathloop.records import Document, write_documents, write_rows
from mathloop.training import pretrain
from mathloop.training.config import OptimizerConfig, PretrainConfig
from mathloop.training.documents import packed

SMALL: dict[str, Any] = {"vocabulary": 320, "hidden": 32, "layers": 2, "heads": 2, "max_tokens": 32}
TEXTS = [f"The sum of {k} and {k + 1} is {2 * k + 1}." for k in range(40)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_documents(tmp_path / "corpus.parquet", (Document(str(k), text) for k, text in enumerate(TEXTS)))
    return tmp_path / "corpus.parquet"


def run(corpus: Path, name: str, **settings: Any) -> Any:
    config = PretrainConfig(**{**SMALL, "batch_size": 4, **settings})
    folder = corpus.parent
    return pretrain.run(
        corpus=corpus, model=folder / name, work=folder / f"work-{name}", config=config, seed=1
    )


def test_documents_are_packed_without_loss(letters: Any) -> None:
    texts = ["12+3=15", "", "7" * 50, "4"]
    samples = list(packed(letters, texts, 16))
    end = letters.get_vocab().get("<|endoftext|>", letters.eos_token_id)
    expected: list[int] = []
    for text in texts:
        expected += [*letters(text, add_special_tokens=False)["input_ids"], end]
    assert [token for sample in samples for token in sample.tokens] == expected
    assert [len(sample.tokens) for sample in samples[:-1]] == [16] * (len(samples) - 1)
    assert all(weight == 1 for sample in samples for weight in sample.weights)
    assert list(packed(letters, [], 16)) == []


def test_pretraining_learns_documents_and_goes_on_from_a_given_model(corpus: Path) -> None:
    fast = OptimizerConfig(learning_rate=1e-2, final_learning_rate=1e-3)
    first = run(corpus, "first", steps=25, optimizer=fast)
    assert first.inputs == len(TEXTS)
    losses = [loss for _, loss in first.curves["loss"]]
    assert losses[-1] < losses[0]
    slow = OptimizerConfig(learning_rate=1e-5, final_learning_rate=1e-6)
    second = run(corpus, "second", steps=2, model=str(corpus.parent / "first"), optimizer=slow)
    assert second.curves["loss"][0][1] < losses[0] - 1  # where the first one ended, not at random weights
    before, after = (load_policy(corpus.parent / name)[0].state_dict() for name in ("first", "second"))
    assert before.keys() == after.keys()
    changes = [float((after[name] - before[name]).abs().max()) for name in before]
    assert 0 < max(changes) < 1e-3


def test_a_wrong_model_or_an_empty_corpus_is_one_line(corpus: Path) -> None:
    with pytest.raises(BadModel):
        run(corpus, "none", steps=1, model=str(corpus.parent / "missing"))
    write_rows(corpus.with_name("empty.jsonl"), [])
    with pytest.raises(BadData, match="no documents to pretrain on"):
        run(corpus.with_name("empty.jsonl"), "none", steps=1)


def test_the_same_model_whether_killed_or_not(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    often = OptimizerConfig(checkpoint_steps=1)
    run(corpus, "whole", steps=4, optimizer=often)
    learn, steps = pretrain.learn, 0

    def killed(engine: Any, batch: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt
        return learn(engine, batch)

    monkeypatch.setattr(pretrain, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, "killed", steps=4, optimizer=often)
    run(corpus, "killed", steps=4, optimizer=often)
    assert steps < 7
    whole, resumed = (load_policy(corpus.parent / name)[0].state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
