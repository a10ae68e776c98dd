"""Responses grouped by their final answers.

Two answers are equal if their normal forms have one key, or if a proof finds the expressions in them equal.
Which answers are together depends on the answers alone, never on their order: keys are compared first, then
groups of one shape, the largest first, each with those before it. A vote has `MOST_PROOFS` proof steps, each
of which compares two expressions; what is undecided after them stays apart.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from mathloop.answers.normal_form import Form

MOST_PROOFS = 32
"""Proof steps of one vote."""

_INTEGER = re.compile(r"-?[0-9]{1,15}")


class Voter(Protocol):
    """What a vote sees of a response."""

    @property
    def answer(self) -> str | None:
        """The final answer as written; None where there is none."""

    @property
    def reward(self) -> float | None:
        """The reward model's score, a logit; None where none was asked."""


AnyVoter = TypeVar("AnyVoter", bound=Voter)


@dataclass(frozen=True)
class Group(Generic[AnyVoter]):
    """One final answer, and the responses that give it in the order in which they were drawn."""

    answer: str | None
    """As its first response wrote it; None gathers the responses without an answer."""
    responses: tuple[AnyVoter, ...]

    @property
    def votes(self) -> int:
        """How many responses give the answer; no answer has no votes."""
        return 0 if self.answer is None else len(self.responses)

    @property
    def rewards(self) -> list[float]:
        """The finite ones."""
        return [reward for one in self.responses if (reward := _reward(one)) > -math.inf]

    @property
    def weight(self) -> float:
        """Sum of σ(reward); a response without a finite reward weighs nothing, as does no answer."""
        return 0.0 if self.answer is None else sum(map(sigmoid, self.rewards))

    @property
    def best(self) -> AnyVoter:
        """The response with the highest finite reward, the first of equals; the first where none has one."""
        return max(self.responses, key=_reward)


def sigmoid(logit: float) -> float:
    """1 / (1 + e^(−logit)) for any finite logit, without overflow."""
    small = math.exp(-abs(logit))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)


def group_answers(responses: Sequence[AnyVoter]) -> list[Group[AnyVoter]]:
    """The groups in the order in which their first responses were drawn, that of no answer among them.

    A blank answer is no answer. Takes bounded time for any answers.
    """
    texts = [(one.answer or "").strip() for one in responses]
    label = _labels({text: texts.count(text) for text in texts if text})
    members: dict[object, list[AnyVoter]] = defaultdict(list)
    for text, response in zip(texts, responses, strict=True):
        members[label.get(text)].append(response)
    return [Group(None if name is None else found[0].answer, tuple(found)) for name, found in members.items()]


def _labels(votes: dict[str, int]) -> dict[str, object]:
    """Texts → labels that are equal for equal answers, None for no answer; `votes` counts each text."""
    if len(votes) < 2:
        return {text: text for text in votes}
    if all(map(_INTEGER.fullmatch, votes)):
        return {text: int(text) for text in votes}
    # Only here: it brings the verifier, and most votes are over integers.
    from mathloop.answers.normal_form import normal_form

    forms = {text: normal_form(text) for text in votes}
    same = _proved({form.key: form for form in forms.values()}, _count(forms, votes))
    return {text: same.get(form.key, form.key) for text, form in forms.items()}


def _count(forms: dict[str, Form], votes: dict[str, int]) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    for text, form in forms.items():
        counts[form.key] += votes[text]
    return counts


def _proved(
    forms: dict[tuple[str, ...], Form], votes: dict[tuple[str, ...], int]
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Keys that a proof finds equal to another → that other key."""
    from mathloop.answers.fingerprints import may_be_equal, proved_equal

    same: dict[tuple[str, ...], tuple[str, ...]] = {}
    leaders: dict[str, list[Form]] = defaultdict(list)
    left = MOST_PROOFS
    for form in sorted(forms.values(), key=lambda form: (-votes[form.key], form.key)):
        for leader in leaders[form.shape]:
            pairs = [
                pair for pair in zip(form.parts, leader.parts, strict=True) if pair[0].mark != pair[1].mark
            ]
            if not all(may_be_equal(*pair) for pair in pairs) or len(pairs) > left:
                continue
            left -= len(pairs)
            if all(proved_equal(*pair) for pair in pairs):
                same[form.key] = leader.key
                break
        else:
            leaders[form.shape].append(form)
    return same


def _reward(response: Voter) -> float:
    """−∞ for one without a finite reward."""
    reward = response.reward
    return reward if reward is not None and math.isfinite(reward) else -math.inf
