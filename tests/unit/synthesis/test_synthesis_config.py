"""Settings that contradict each other are named, with what the other one says."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from mathloop.corpus.config import CorpusConfig
from mathloop.synthesis.config import CoTConfig, SelectionConfig


@pytest.mark.parametrize(
    ("config", "given", "field", "said"),
    [
        (SelectionConfig, {"least": 3, "most": 2}, "most", r"at least least \(3\) and at most samples \(8\)"),
        (SelectionConfig, {"least": 6}, "most", r"at least least \(6\)"),
        (SelectionConfig, {"most": 9}, "most", r"at most samples \(8\)"),
        (SelectionConfig, {"samples": 4}, "most", r"at most samples \(4\)"),
        (CoTConfig, {"keep": 9}, "keep", r"at most samples \(8\)"),
        (CoTConfig, {"samples": 3}, "keep", r"at most samples \(3\)"),
        (CorpusConfig, {"misread_low": 0.7}, "misread_high", r"at least misread_low \(0.7\)"),
        (SelectionConfig, {"samples": 0}, "samples", "greater than or equal to 2"),
    ],
)
def test_bounds_that_cross_are_refused(
    config: type[BaseModel], given: dict[str, float], field: str, said: str
) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        config(**given)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_bounds_that_meet_are_not() -> None:
    SelectionConfig(samples=2, least=2, most=2)
    SelectionConfig(least=0, most=0)
    CoTConfig(samples=1, keep=1)
    CorpusConfig(misread_low=0.6)
