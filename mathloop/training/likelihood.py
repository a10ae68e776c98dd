"""One step of maximum likelihood, as pretraining and SFT take it."""

from __future__ import annotations

from collections.abc import Sequence

from mathloop.training.engine import Engine
from mathloop.training.packing import micro_batches, pack
from mathloop.training.samples import Sample


def learn(engine: Engine, batch: Sequence[Sample]) -> dict[str, float]:
    """Takes a step on the global `batch`; returns the step's values, loss among them.

    The loss is the mean over the learned tokens of the whole batch, by their weights, however it is cut into
    micro-batches and dealt to ranks.
    """
    whole = sum(sum(sample.weights[1:]) for sample in batch)
    cut = micro_batches([len(sample.tokens) for sample in batch], engine.config.micro_batch_tokens)
    value, tokens = 0.0, 0.0
    for chosen, share in engine.deal(cut):
        packed = pack([batch[i] for i in chosen], engine.ranks.device)
        loss = -(engine.forward(packed) * packed.weights).sum() * (share / whole)
        engine.backward(loss)
        value += loss.item()
        tokens += packed.count * share
    return engine.update(tokens=round(tokens), loss=value)
