"""The next token of each sequence, drawn from the logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def draw(
    logits: Tensor, temperature: float, top_p: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Tokens [batch] drawn from logits [batch, vocabulary], and their log-probabilities [batch] before top-p.

    Temperature 0 takes the likeliest token; its log-probability is that at temperature 1.
    """
    if temperature == 0:
        return draw_greedily(logits)
    logits = logits.float()
    if temperature != 1:
        logits = logits / temperature
    norm = logits.logsumexp(-1, keepdim=True)
    tokens = _sample((logits - norm).exp_(), top_p, generator)
    return tokens, logits.gather(-1, tokens[:, None])[:, 0] - norm[:, 0]


def draw_greedily(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest tokens [batch], and their log-probabilities at temperature 1."""
    logits = logits.float()
    tokens = logits.argmax(-1)
    return tokens, logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)


def draw_rows(
    logits: Tensor, temperature: Tensor | None, top_p: Tensor | None, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """`draw` with each row's own temperature and top_p, both [batch, 1], and numbers, [batch, 2] from [0, 1).

    None stands for ones. A row's token depends on its own arguments alone.
    """
    logits = logits.float()
    greedy = None
    if temperature is not None:
        greedy = temperature == 0
        logits = logits / torch.where(greedy, 1.0, temperature)
    norm = logits.logsumexp(-1, keepdim=True)
    probabilities = (logits - norm).exp_()
    tokens = _pick(probabilities, uniform[:, :1])
    if top_p is not None:
        tokens = _in_nucleus(tokens, probabilities, top_p, uniform[:, 1:])
    if greedy is not None:
        tokens = torch.where(greedy[:, 0], logits.argmax(-1), tokens)
    return tokens, logits.gather(-1, tokens[:, None])[:, 0] - norm[:, 0]


def likeliest_rows(
    wanted: Sequence[int], logits: Tensor, temperature: Tensor | None
) -> dict[int, list[tuple[int, float]]]:
    """Row → its `wanted` likeliest tokens with log-probabilities, under the distribution that it draws from.

    `temperature` is [batch, 1]; None stands for ones. Rows that want none are left out.
    """
    rows = [row for row, count in enumerate(wanted) if count]
    if not rows:
        return {}
    scale = 1.0 if temperature is None else torch.where(temperature == 0, 1.0, temperature)[rows]
    found = (logits[rows].float() / scale).log_softmax(-1).topk(min(max(wanted), logits.shape[-1]))
    return {
        row: list(zip(tokens, values, strict=True))[: wanted[row]]
        for row, tokens, values in zip(rows, found.indices.tolist(), found.values.tolist(), strict=True)
    }


def _sample(probabilities: Tensor, top_p: float, generator: torch.Generator) -> Tensor:
    tokens = _pick(probabilities, _random(probabilities, generator))
    if top_p == 1:
        return tokens
    return _in_nucleus(tokens, probabilities, top_p, generator)


def _in_nucleus(
    tokens: Tensor, probabilities: Tensor, top_p: float | Tensor, random: torch.Generator | Tensor
) -> Tensor:
    """The tokens, with those outside the nucleus drawn again; top_p may be [batch, 1], 1 for no nucleus."""
    # A token is in the nucleus if the likelier ones weigh less than top_p. A row that drew one outside draws
    # again from the nucleus alone: the same distribution, and few rows have to be sorted.
    drawn = probabilities.gather(-1, tokens[:, None])
    likelier = torch.where(probabilities > drawn, probabilities, 0.0).sum(-1, keepdim=True)
    beyond_it = likelier >= top_p
    if isinstance(top_p, Tensor):
        beyond_it &= top_p < 1
    outside = beyond_it.nonzero()[:, 0]
    if len(outside):
        ordered, index = probabilities[outside].sort(dim=-1, descending=True)
        most = top_p[outside] if isinstance(top_p, Tensor) else top_p
        beyond = ordered.cumsum(-1) - ordered >= most
        uniform = random[outside] if isinstance(random, Tensor) else _random(ordered, random)
        again = _pick(ordered.masked_fill_(beyond, 0.0), uniform)
        tokens[outside] = index.gather(-1, again[:, None])[:, 0]
    return tokens


def _random(weights: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(weights), 1, generator=generator, device=weights.device)


def _pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Indices [batch], each as likely as its share of weights [batch, choices]; `uniform` is [batch, 1].

    One random number per row: torch.multinomial draws one per choice, a quarter of a small model's step.
    """
    passed = weights.cumsum(-1)
    total = passed[:, -1:]
    drawn = uniform * total
    # Rounding must not reach the sum itself: no choice is beyond it.
    drawn = torch.minimum(drawn, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(passed, drawn, right=True)[:, 0]
