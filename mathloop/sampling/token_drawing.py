"""The next token of each sequence, drawn from the logits."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(
    logits: Tensor, temperature: float, top_p: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Tokens [batch] drawn from logits [batch, vocabulary], and their log-probabilities [batch] before top-p.

    Temperature 0 takes the likeliest token; its log-probability is that at temperature 1.
    """
    logits = logits.float()
    if temperature not in (0, 1):
        logits = logits / temperature
    norm = logits.logsumexp(-1, keepdim=True)
    tokens = logits.argmax(-1) if temperature == 0 else _sample((logits - norm).exp_(), top_p, generator)
    return tokens, logits.gather(-1, tokens[:, None])[:, 0] - norm[:, 0]


def _sample(probabilities: Tensor, top_p: float, generator: torch.Generator) -> Tensor:
    tokens = _pick(probabilities, generator)
    if top_p == 1:
        return tokens
    # A token is in the nucleus if the likelier ones weigh less than top_p. A row that drew one outside draws
    # again from the nucleus alone: the same distribution, and few rows have to be sorted.
    drawn = probabilities.gather(-1, tokens[:, None])
    likelier = torch.where(probabilities > drawn, probabilities, 0.0).sum(-1)
    outside = (likelier >= top_p).nonzero()[:, 0]
    if len(outside):
        ordered, index = probabilities[outside].sort(dim=-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= top_p
        again = _pick(ordered.masked_fill_(beyond, 0.0), generator)
        tokens[outside] = index.gather(-1, again[:, None])[:, 0]
    return tokens


def _pick(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Indices [batch], each as likely as its share of weights [batch, choices].

    One random number per row: torch.multinomial draws one per choice, a quarter of a small model's step.
    """
    passed = weights.cumsum(-1)
    total = passed[:, -1:]
    drawn = torch.rand(total.shape, generator=generator, device=weights.device) * total
    # Rounding must not reach the sum itself: no choice is beyond it.
    drawn = torch.minimum(drawn, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(passed, drawn, right=True)[:, 0]
