"""How likely two statements are the same problem in different words."""

from __future__ import annotations

from math import exp, log, log1p
from typing import NamedTuple

from rapidfuzz.distance import LCSseq

from mathloop.decontamination.features import Features

_PLAIN = (-3.8, -2.06, 4.52, 0.18, -0.94, 2.21, 2.6)
_WITH_FORMULAS = (-2.73, -1.27, 3.33, 1.47, -0.09, 0.19, 2.74)
"""Weights of: numbers that the text lacks, numbers that it adds, rarity of the common ones, share of common
numbers, similarity of the words, rarity of the common ones, similarity where the numbers agree."""
_NO_NUMBERS, _FEW_FORMULAS = 0.35, 0.6
"""Numbers, or formulas, with a lower total weight (such as 1 and 2) are ignored."""
_RARE_NUMBERS, _AGREED = 0.6, 0.9
"""How rare common numbers are, and their share of all, where they are enough."""
_SHARED_FORMULAS, _SHARED_WORDS, _SHARED_BOTH = 0.5, 0.5, 0.95
"""Common share of two statements of one problem: of formulas, of words where one has no formulas, and of both
together."""

_FEW_NUMBERS, _FEW_WORDS, _SHARED_THINGS = 2, 9, 0.45
"""Numbers and words up to which a word problem is short, and the common share that two short ones need: of
words, or of those next to numbers."""
_ANYTHING, _MOST_WORDS = 0.2, 0.6
"""Where an answer is unknown, the common share of words, bonds or formulas; and of many words without a
number."""


_MOST_ADDED = 2.28 + 0.82 - 0.79 + 0.66 + 1e-6
"""What bonds, order and language add to a score at most."""


def likeness(item: Features, text: Features, least: float = 0.0) -> float:
    """From 0 to 1: a logistic regression, fitted on rephrased problems and on similar but different ones.

    0 where it is at most `least` whatever the bonds are, which take the longest.

    Rephrasing keeps all numbers and adds few; it keeps formulas up to the names of variables, and some of the
    words. So the strongest evidence is numbers that one side lacks, their order and the words next to them;
    words and formulas count only together with numbers that agree. Texts in two languages: 0.
    """
    chinese = _is_chinese(text)
    if chinese != _is_chinese(item):
        return 0.0
    numbers = _overlap(item.numbers, text.numbers)
    words = _overlap(item.words, text.words)
    formulas = _overlap(item.formulas, text.formulas)
    # Smoothing, so that two texts without numbers agree.
    agreement = (numbers.common + 0.3) / (numbers.common + (numbers.lost + numbers.new) / 2 + 0.3)
    similar = _share(words)
    inputs = (
        log1p(numbers.lost),
        log1p(numbers.new),
        log1p(numbers.rarity),
        (numbers.common + 0.1) / (numbers.common + max(numbers.lost, numbers.new) + 0.1),
        similar,
        log1p(words.rarity),
        agreement * similar,
    )
    with_formulas = _both_have_formulas(formulas)
    weights = _WITH_FORMULAS if with_formulas else _PLAIN
    score = -2.76 + sum(weight * value for weight, value in zip(weights, inputs, strict=True))
    if with_formulas:
        alike = formulas.common / (formulas.common + (formulas.lost + formulas.new) / 2)
        score += (1.15 * agreement + 0.78) * alike + 1.33
    else:
        if least and score + _MOST_ADDED < log(least / (1 - least)):
            return 0.0
        bonds = _overlap(item.bonds, text.bonds)
        score += 2.28 * _share(bonds)
        score -= 0.15 * log1p(bonds.rarity)
    if min(len(item.order), len(text.order)) > 1:
        in_order = LCSseq.similarity(item.order, text.order) / max(len(item.order), len(text.order))
        score += 0.82 * in_order - 0.79
    if numbers.common + numbers.lost + numbers.new < _NO_NUMBERS:
        score -= 0.48
    if chinese:
        score += 0.66
    return 1 / (1 + exp(-score))


def unknown_likeness(least: float) -> float:
    """The minimum likeness where an answer is unknown: half as far from certain as where both are known."""
    return (1 + least) / 2


def formulas_differ(one: Features, other: Features) -> bool:
    """Whether the formulas of two statements show that they are different problems.

    Rephrasing keeps formulas up to the names of variables. Short ones, such as x + 3, occur everywhere, and
    so do answers such as 3: unless several rare numbers agree, most of the formulas must be the same, the
    more the fewer words are. False where neither side has formulas with variables.
    """
    total = [sum(each.formulas.values()) for each in (one, other)]
    if not _has_variables(one, other):
        return False
    numbers = _overlap(one.numbers, other.numbers)
    several = len(set(one.order) & set(other.order)) > 1
    if several and numbers.rarity > _RARE_NUMBERS and _share(numbers) > _AGREED:
        return False
    similar = _share(_overlap(one.words, other.words))
    if min(total) <= _FEW_FORMULAS:
        return similar < _SHARED_WORDS
    alike = _share(_overlap(one.formulas, other.formulas))
    return alike < _SHARED_FORMULAS or alike + similar < _SHARED_BOTH


def coincide(one: Features, other: Features, *, known: bool) -> bool:
    """Whether two likely statements share no more than different problems do; `known`: both answers are.

    Many one-step problems have the same two numbers and the same answer, so of short ones the things must
    agree as well. Where an answer is unknown, numbers alone are not enough, and of many words without a
    number (parabolas and their foci) most must agree.
    """
    formulas = _overlap(one.formulas, other.formulas)
    words, bonds = (_share(_overlap(*pair)) for pair in ((one.words, other.words), (one.bonds, other.bonds)))
    numbers, count = min(len(one.order), len(other.order)), min(len(one.words), len(other.words))
    if numbers <= _FEW_NUMBERS and count <= _FEW_WORDS and not _both_have_formulas(formulas):
        return max(words, bonds) < _SHARED_THINGS
    if known:
        return False
    if not numbers and count > _FEW_WORDS:
        return words < _MOST_WORDS
    # 1/3 and 20 % are numbers too.
    return max(words, bonds, _share(formulas) if _has_variables(one, other) else 0.0) < _ANYTHING


def _has_variables(*statements: Features) -> bool:
    """Whether one of the statements has formulas with variables."""
    sums = [sum(weight for name, weight in each.formulas.items() if "@" in name) for each in statements]
    return max(sums) > _FEW_FORMULAS


def _both_have_formulas(formulas: _Overlap) -> bool:
    return min(formulas.common + formulas.lost, formulas.common + formulas.new) > _FEW_FORMULAS


def _is_chinese(features: Features) -> bool:
    return any(word[0] > "\u3040" for word in features.words)


class _Overlap(NamedTuple):
    """Total weights of the common features, and of those that only one side has."""

    common: float
    lost: float
    new: float
    rarity: float
    """Sum of the squared weights of the common features."""


def _share(overlap: _Overlap) -> float:
    return overlap.common / (overlap.common + (overlap.lost + overlap.new) / 2 + 1e-4)


def _overlap(one: dict[str, float], other: dict[str, float]) -> _Overlap:
    common = [min(weight, other[name]) for name, weight in one.items() if name in other]
    both = sum(common)
    lost, new = sum(one.values()) - both, sum(other.values()) - both
    # Equal sums may differ in the last bit.
    return _Overlap(both, max(lost, 0.0), max(new, 0.0), sum(weight * weight for weight in common))
