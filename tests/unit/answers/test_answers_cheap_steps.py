"""Cheap exact steps come before expensive ones: no process, few points, one reading of each text."""

from __future__ import annotations

from typing import Any

import pytest

from mathloop.answers import expressions, prover, reading, tree, verification, verify
from mathloop.answers.exact import Exact
from mathloop.answers.tokens import tokenize


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        (r"x^{2/3}", r"\sqrt[3]{x}^2"),
        (r"\frac{1}{3x^{2/3}}", r"\frac{1}{3\sqrt[3]{x}^2}"),
        (r"x^{-5/2}", r"\frac{1}{\sqrt{x}^5}"),
        (r"8^{2/3}", "4"),
        (r"\left(\frac{16}{81}\right)^{-3/4}", r"\frac{27}{8}"),
        (r"e^{-x}", r"\frac{1}{e^x}"),
        (r"0^{2/3}", "0"),
    ],
)
def test_powers_need_no_prover(monkeypatch: pytest.MonkeyPatch, gold: str, prediction: str) -> None:
    monkeypatch.setattr(prover.Prover, "prove", _fail)
    assert verify(gold, prediction).correct
    assert verify(prediction, gold).correct


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        (r"x^{2/3}", r"\sqrt{x}^3"),
        (r"x^{-2/3}", r"\sqrt[3]{x}^2"),
        (r"8^{2/3}", r"\frac{16}{3}"),
        (r"9^{2/3}", "3"),
        (r"(\sqrt2)^n", r"2^{n/3}"),
        (r"(-8)^{2/3}", "-4"),
        (r"\sqrt{x^2}", "x"),
        (r"0^{-1/2}", "0"),
    ],
)
def test_other_fractional_powers_differ(gold: str, prediction: str) -> None:
    assert not verify(gold, prediction).correct
    assert not verify(prediction, gold).correct


def test_sums_in_another_order_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[int] = []

    class Counted(Exact):
        def __init__(self, point: int, integer: bool = False) -> None:
            points.append(point)
            super().__init__(point, integer)

    monkeypatch.setattr(expressions, "Exact", Counted)
    assert verify(r"\sum_{k=0}^{n-1} F_k F_{n-k-1}", r"\sum_{k=0}^{n-1} F_{n-k-1} F_k").correct
    assert len(points) == 2
    assert not verify(r"\sum_{k=0}^{n-1} F_k F_{n-k-1}", r"\sum_{k=0}^{n-1} F_{n-k} F_k").correct


def test_each_text_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def counted(text: str) -> Any:
        texts.append(text)
        return tokenize(text)

    monkeypatch.setattr(reading, "tokenize", counted)
    tree._cached.cache_clear()
    verification._cached_readings.cache_clear()
    one, other = "(0; 0; 17), (0; -2; 17), (4; 0; 17)", "(0, -2, 17), (4, 0, 17), (0, 0, 17)"
    assert verify(one, other).correct
    assert sorted(texts) == sorted({*texts})


def _fail(*question: object) -> bool:
    raise AssertionError("the prover was asked")
