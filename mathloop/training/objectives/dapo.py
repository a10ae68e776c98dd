"""DAPO's loss: GRPO with a mean over all tokens of the batch, so that every token counts the same.

Yu et al. 2025, "DAPO", arXiv 2503.14476, equation 12 and §3.3. The paper's other changes are settings of
their own: Clip-Higher (`clip_high: 0.28`), the soft overlong punishment (`overlong: punish`) and no KL
(`beta: 0`). Dynamic sampling is not implemented: zero-variance groups are skipped, not replaced, but their
tokens count.
"""

from __future__ import annotations

from mathloop.training.objectives import grpo
from mathloop.training.objectives.objective import BatchSize, Objective


def token_weight(length: int, batch: BatchSize) -> float:
    """A mean over the tokens of all responses; `length` does not matter."""
    return 1.0 / max(1, batch.tokens)


DAPO = Objective(grpo.advantages, token_weight, grpo.loss)
