"""Responses grouped by their final answers.

Two answers are equal if their normal forms have one key, or if proofs find the expressions in them equal. A
name or a noun tells two answers of one key apart where both have one: x = 5 and y = 5 are two answers, 12
apples and 12 are one. Which answers are together depends on the answers alone, never on their order: keys
come first, then the classes of one shape, the largest first, each with those before it. A vote has
`MOST_PROOFS` proof steps, of which each compares two expressions; what is undecided after them stays apart.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from mathloop.answers.normal_form import Form

MOST_PROOFS = 64
"""Proof steps of one vote."""

_INTEGER = re.compile(r"-?[0-9]{1,15}")


class Voter(Protocol):
    """A response as a vote sees it."""

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
        return 0.0 if self.answer is None else math.fsum(map(sigmoid, self.rewards))

    @property
    def best(self) -> AnyVoter:
        """The response with the highest finite reward, the first of equals; the first where none has one."""
        return max(self.responses, key=_reward)


def sigmoid(logit: float) -> float:
    """1 / (1 + e^(−logit)) for any finite logit, without overflow."""
    small = math.exp(-abs(logit))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)


def is_plain(texts: Collection[str]) -> bool:
    """Whether grouping these answers takes no time to speak of: one text, or integers."""
    return len(texts) < 2 or all(map(_INTEGER.fullmatch, texts))


def group_answers(responses: Sequence[AnyVoter]) -> list[Group[AnyVoter]]:
    """The groups in the order in which their first responses were drawn, that of no answer among them.

    A blank answer is no answer. Takes bounded time for any answers.
    """
    texts = [(one.answer or "").strip() for one in responses]
    label = _labels({text: texts.count(text) for text in texts if text})
    members: dict[object, list[AnyVoter]] = defaultdict(list)
    for text, response in zip(texts, responses, strict=True):
        members[label.get(text)].append(response)
    return [
        Group(None if name is None else together[0].answer, tuple(together))
        for name, together in members.items()
    ]


def _labels(votes: dict[str, int]) -> Mapping[str, Hashable]:
    """Texts → labels that are equal for equal answers; `votes` counts each text."""
    if len(votes) < 2:
        return {text: text for text in votes}
    if all(map(_INTEGER.fullmatch, votes)):
        return {text: int(text) for text in votes}
    # Only here: it brings the verifier, and most votes are over integers.
    from mathloop.answers.normal_form import normal_form

    forms = {text: normal_form(text) for text in votes}
    names, nouns = _conflicts(forms.values(), "name"), _conflicts(forms.values(), "noun")
    labels: dict[str, _Label] = {}
    classes: dict[_Label, _Class] = {}
    for text, form in sorted(forms.items(), key=itemgetter(0)):
        label = form.key, form.name if form.key in names else "", form.noun if form.key in nouns else ""
        labels[text] = label
        classes.setdefault(label, _Class(label, form)).add(form, votes[text])
    merged = _merge_by_proofs(list(classes.values()))
    return {text: merged.get(label, label) for text, label in labels.items()}


_Label = tuple[tuple[str, ...], str, str]
"""Key, name and noun."""


@dataclass
class _Class:
    """Equal answers of one vote."""

    label: _Label
    form: Form
    votes: int = 0
    names: set[str] = field(default_factory=set)
    nouns: set[str] = field(default_factory=set)

    def add(self, form: Form, votes: int) -> None:
        self.votes += votes
        self.names |= {form.name} - {""}
        self.nouns |= {form.noun} - {""}

    def may_include(self, other: _Class) -> bool:
        """Whether names and nouns allow the two to be one answer."""
        return len(self.names | other.names) <= 1 and len(self.nouns | other.nouns) <= 1


def _conflicts(forms: Iterable[Form], tag: Literal["name", "noun"]) -> set[tuple[str, ...]]:
    """Keys shared by answers with different names, or nouns: x = 5 and y = 5 are two answers."""
    tags: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for form in forms:
        tags[form.key] |= {form.name if tag == "name" else form.noun} - {""}
    return {key for key, different in tags.items() if len(different) > 1}


def _merge_by_proofs(classes: list[_Class]) -> dict[_Label, _Label]:
    """Labels of classes that are proved equal to another class → its label."""
    from mathloop.answers.fingerprints import may_be_equal, proved_equal

    merged: dict[_Label, _Label] = {}
    leaders: dict[str, list[_Class]] = defaultdict(list)
    left = MOST_PROOFS
    for one in sorted(classes, key=lambda each: (-each.votes, each.label)):
        for leader in leaders[one.form.shape]:
            pairs = zip(one.form.parts, leader.form.parts, strict=True)
            open_pairs = [pair for pair in pairs if pair[0].mark != pair[1].mark]
            if not open_pairs or len(open_pairs) > left or not leader.may_include(one):
                continue
            if not all(may_be_equal(*pair) for pair in open_pairs):
                continue
            left -= len(open_pairs)
            if all(proved_equal(*pair) for pair in open_pairs):
                merged[one.label] = leader.label
                leader.names |= one.names
                leader.nouns |= one.nouns
                break
        else:
            leaders[one.form.shape].append(one)
    return merged


def _reward(response: Voter) -> float:
    """−∞ for one without a finite reward."""
    reward = response.reward
    return reward if reward is not None and math.isfinite(reward) else -math.inf
