"""Sketches of texts: bit vectors that select the pairs of texts that are worth a full comparison."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.hashed_features import FORMULA, HashedFeatures
from mathloop.decontamination.hashing import U64, Ints
from mathloop.decontamination.tokenization import IDEOGRAPH, Tokens

_FAMILIAR, _COMMONPLACE = 0.5, 0.45
"""Words, and numbers, with a lower weight have separate bits in a sketch."""
_BITS = (512, 512, 256, 128, 128)
"""Bits per sketch: for familiar words, other words, formulas, commonplace numbers, other numbers."""
_WEIGHTS = (0.33, 0.72, 1.0, 0.33, 0.65)
"""Approximate weight of one common feature of each kind."""
COARSE = (
    (-5.71, 2.82, 2.43, 7.21, -6.29, -3.78, 4.09, 5.80, -0.95),
    (-0.88, 1.64, 2.43, 3.50, -8.09, -5.32, 3.30, 1.91, 0.93),
)
"""Logistic regressions on `_inputs`, for pairs where not both are symbolic, and for the others. They reject
pairs that `similarity` is very unlikely to accept: of 2,700 that it accepts none has less than 0.37."""
_WORTHWHILE = 0.25


class Sketches(NamedTuple):
    """Compact features of many texts, to compare them all at once."""

    bits: U64
    """[texts, 24] A bit per feature, by its kind; few features share one."""
    masses: npt.NDArray[np.float32]
    """[texts, 3] Total weight of a text's words, formulas and numbers."""
    symbolic: npt.NDArray[np.bool_]
    """[texts] Whether it has two variables, or is in Chinese: then its words alone are not enough."""

    def of(self, places: Ints | npt.NDArray[np.int32]) -> Sketches:
        """The sketches of the texts at `places`."""
        return Sketches(self.bits[places], self.masses[places], self.symbolic[places])


def sketch(
    tokens: Tokens, variables: npt.NDArray[np.bool_], words: HashedFeatures, numbers: HashedFeatures
) -> Sketches:
    """The sketches of texts with these words and numbers."""
    texts = len(tokens.offsets) - 1
    starts = np.concatenate(([0], np.cumsum(_BITS)))
    formula = words.weights == FORMULA
    kinds = np.where(formula, 2, (words.weights > _FAMILIAR).astype(np.int64))
    bits = np.zeros((texts, int(starts[-1])), bool)
    for features, kind in ((words, kinds), (numbers, 3 + (numbers.weights > _COMMONPLACE))):
        places = (features.hashes >> np.uint64(40)).astype(np.int64) & (np.array(_BITS) - 1)[kind]
        bits[features.owners, starts[kind] + places] = True
    weights = np.where(tokens.kinds == IDEOGRAPH, 2, variables)
    sums = np.concatenate(([0], np.cumsum(weights)))
    masses = (
        np.bincount(words.owners, words.weights * ~formula, texts),
        np.bincount(words.owners, formula, texts),
        np.bincount(numbers.owners, numbers.weights, texts),
    )
    return Sketches(
        np.packbits(bits, axis=1).view(np.uint64),
        np.stack(masses, axis=1).astype(np.float32),
        sums[tokens.offsets[1:]] - sums[tokens.offsets[:-1]] > 1,
    )


def score(ours: Sketches, theirs: Sketches) -> npt.NDArray[np.float64]:
    """[pairs] Positive where a full comparison is worthwhile."""
    inputs = _inputs(ours, theirs)
    weights = np.array(COARSE)[(ours.symbolic & theirs.symbolic).astype(np.int64)]
    return np.asarray((inputs * weights).sum(axis=1)) - _WORTHWHILE


def _inputs(ours: Sketches, theirs: Sketches) -> npt.NDArray[np.float64]:
    """[pairs, 9] A constant, and how similar and how different words, numbers and formulas are."""
    familiar, other_words, formulas, *_ = _weighed(ours.bits & theirs.bits)
    words, sums = familiar + other_words, ours.masses + theirs.masses
    similar = np.minimum(2 * words / (sums[:, 0] + 1e-3), 1)
    alike = np.minimum(2 * formulas / (sums[:, 1] + 1e-3), 1)
    # From the differences: two numbers of one text may share a bit.
    lost, new = (sum(_weighed(one.bits & ~other.bits)[3:]) for one, other in ((theirs, ours), (ours, theirs)))
    numbers = np.maximum((sums[:, 2] - lost - new) / 2, 0)
    agreement = (numbers + 0.3) / (sums[:, 2] / 2 + 0.3)
    inputs = (np.log1p(words), np.log1p(numbers), np.log1p(lost), np.log1p(new), agreement * similar, alike)
    return np.stack((np.ones(len(words)), similar, *inputs, np.log1p(formulas)), axis=1)


def _weighed(bits: U64) -> list[npt.NDArray[np.float64]]:
    """[kinds][pairs] Total weight of the bits of each kind."""
    counts, ends = np.bitwise_count(bits), np.cumsum(_BITS) // 64
    return [
        weight * counts[:, end - size // 64 : end].sum(axis=1)
        for weight, end, size in zip(_WEIGHTS, ends, _BITS, strict=True)
    ]
