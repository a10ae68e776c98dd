"""Equal budgets of tokens on corpora of other lengths."""

from mathloop.models.packing import Sample
from mathloop.training.config import PretrainConfig
from mathloop.training.pretrain import _steps


def of_lengths(*lengths: int) -> list[Sample]:
    return [Sample([1] * length, [1.0] * length, 0) for length in lengths]


def test_steps_reach_the_budget_with_documents_of_mean_length():
    config = PretrainConfig(steps=7, batch_size=4, tokens=1200)
    assert _steps(of_lengths(10, 20), config) == 20
    assert _steps(of_lengths(*range(20, 42, 2)), config) == 10
    assert _steps(of_lengths(5000), config) == 1
    assert _steps(of_lengths(10, 20), config.model_copy(update={"tokens": 0})) == 7
