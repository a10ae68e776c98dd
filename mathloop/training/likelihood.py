"""One maximum-likelihood step, for pretraining and SFT."""

from __future__ import annotations

from collections.abc import Sequence

from mathloop.models.packing import Sample, micro_batches, pack
from mathloop.training.engine import Engine


def learn(engine: Engine, batch: Sequence[Sample]) -> dict[str, float]:
    """Takes a step on the global `batch`; returns the step's metrics, including the loss.

    The loss is the weighted mean over the learned tokens of the global batch, however it is split into
    micro-batches and ranks.
    """
    total_weight = sum(sum(sample.weights[1:]) for sample in batch)
    batches = micro_batches([len(sample.tokens) for sample in batch], engine.config.micro_batch_tokens)
    value, tokens = 0.0, 0.0
    for chosen, weight in engine.deal(batches):
        packed = pack([batch[i] for i in chosen], engine.ranks.device)
        loss = -(engine.forward(packed) * packed.weights).sum() * (weight / total_weight)
        engine.backward(loss)
        value += loss.item()
        tokens += packed.count * weight
    return engine.update(tokens=round(tokens), loss=value)
