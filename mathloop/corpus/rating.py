"""Rates texts with a small language model: whether it would call them good material (AutoMathText).

The rating is the log-odds of YES against NO as the next token after a question about the text
(arXiv:2402.07625, §2): it needs no generation and no instruction-tuned model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mathloop.corpus.config import QualityConfig

_QUESTION = (
    "Is the following text about mathematics, correct, and useful for learning mathematics?\n\n"
    "TEXT:\n{text}\n\nAnswer YES or NO.\nANSWER:"
)
_YES, _NO = (" YES", " Yes", "YES", "Yes"), (" NO", " No", "NO", "No")


class Rater:
    """A scorer for `quality.run`."""

    def __init__(self, model: Path, max_tokens: int) -> None:
        """Loads the policy in a folder; raises BadModel. `max_tokens` of each text are read."""
        from mathloop.models.loading import load_policy

        self._model, self._tokenizer = load_policy(model, chat=False)
        self._model.eval()
        self._most = max_tokens
        self._before, self._after = map(self._tokens, _QUESTION.split("{text}"))
        self._yes, self._no = (sorted({self._tokens(word)[0] for word in words}) for words in (_YES, _NO))

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """[texts] Log-odds of YES."""
        from mathloop.stages import Progress

        progress = Progress("rating", len(texts), "documents")
        ratings = []
        for text in texts:
            ratings.append(self._rate(text))
            progress.update()
        return ratings

    def _rate(self, text: str) -> float:
        import torch

        own = self._tokens(text[: self._most * 20])[: self._most]
        prompt = torch.tensor([[*self._before, *own, *self._after]], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=prompt, logits_to_keep=1).logits[0, -1].float()
        odds = torch.logsumexp(logits[self._yes], 0) - torch.logsumexp(logits[self._no], 0)
        return float(odds)

    def _tokens(self, text: str) -> list[int]:
        tokens: Any = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return list(tokens)


def loader(config: QualityConfig) -> Callable[[], Rater] | None:
    """What loads the model of the settings; None if they name none."""
    if not config.model:
        return None

    def load() -> Rater:
        from mathloop.models import model_import
        from mathloop.models.sources import PACKAGE, obtained

        if not config.model.startswith(PACKAGE):
            with obtained(config.model) as folder:
                return Rater(folder, config.max_tokens)
        with tempfile.TemporaryDirectory() as folder:
            model_import.run(source=config.model, model=Path(folder) / "model")
            return Rater(Path(folder) / "model", config.max_tokens)

    return load
