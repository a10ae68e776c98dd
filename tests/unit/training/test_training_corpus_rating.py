"""Documents are rated by the odds of YES that a language model gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mathloop.corpus import rating
from mathloop.corpus.config import QualityConfig
from mathloop.models.loading import load_policy


def test_the_rating_is_the_odds_of_yes(tmp_path: Path, save_policy: Callable[..., Path]) -> None:
    folder = save_policy(tmp_path / "policy")
    model, tokenizer = load_policy(folder)
    load = rating.loader(QualityConfig(model=str(folder), max_tokens=16))
    assert load is not None
    texts = ["1+1=2", "3*4=12"]

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    before, after = map(tokens, rating._QUESTION.split("{text}"))
    yes, no = (sorted({tokens(word)[0] for word in words}) for words in (rating._YES, rating._NO))
    expected = []
    for text in texts:
        with torch.no_grad():
            chances = model(torch.tensor([[*before, *tokens(text), *after]])).logits[0, -1].float().softmax(0)
        expected.append(float(torch.log(chances[yes].sum() / chances[no].sum())))
    assert load()(texts) == pytest.approx(expected, abs=1e-4)
    assert rating.loader(QualityConfig()) is None
