"""What of a dialogue is learned: all that the model wrote, nothing that it was given."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest

from mathloop.models.packing import Sample
from mathloop.records import Mode
from mathloop.sampling.prompts import render_prompt
from mathloop.training.samples import encode

END = "<|im_end|>"
PROBLEM = "Mia has 3 apples. Tom gives her 4 more."
COT = "3 + 4 is 7.\nSo the answer is \\boxed{7}."
TIR = [
    ("Let us see.\n```python\nx = 3\nprint(x)\n```\n```output", True),
    ("\n3\n```\n", False),
    ("And then\n```python\nfor i in (1, 2):\n    print(x + 4)\n```\n```output", True),
    ("\n7\n7\n```\n", False),
    ("So the answer is \\boxed{7}.", True),
]


def runs(tokenizer: Any, sample: Sample) -> list[tuple[str, bool]]:
    """The sample's text, cut where the weights change between 0 and 1."""
    pairs = zip(sample.tokens, sample.weights, strict=True)
    grouped = [(list(group), weight) for weight, group in groupby(pairs, key=lambda pair: pair[1])]
    return [(tokenizer.decode([token for token, _ in group]), weight == 1.0) for group, weight in grouped]


def test_cot_learns_the_whole_response(tokenizer: Any) -> None:
    prompt = render_prompt(tokenizer, PROBLEM, "cot")
    sample = encode(tokenizer, PROBLEM, "cot", COT)
    assert runs(tokenizer, sample) == [(prompt, False), (COT + END, True)]


def test_tir_learns_all_but_the_output(tokenizer: Any) -> None:
    prompt = render_prompt(tokenizer, PROBLEM, "tir")
    sample = encode(tokenizer, PROBLEM, "tir", "".join(text for text, _ in TIR))
    assert runs(tokenizer, sample) == [(prompt, False), *TIR[:-1], (TIR[-1][0] + END, True)]


def test_empty_output_is_an_output(tokenizer: Any) -> None:
    parts = [("```python\nx = 1\n```\n```output", True), ("\n\n```\n", False), ("Done." + END, True)]
    sample = encode(tokenizer, PROBLEM, "tir", "".join(text for text, _ in parts).removesuffix(END))
    assert runs(tokenizer, sample)[1:] == parts


def test_a_cot_response_has_no_interpreter(tokenizer: Any) -> None:
    text = "".join(part for part, _ in TIR)
    assert runs(tokenizer, encode(tokenizer, PROBLEM, "cot", text))[1:] == [(text + END, True)]


@pytest.mark.parametrize(("mode", "text"), [("cot", COT), ("tir", "".join(part for part, _ in TIR))])
def test_the_text_is_recovered(tokenizer: Any, mode: Mode, text: str) -> None:
    sample = encode(tokenizer, PROBLEM, mode, text)
    assert tokenizer.decode(sample.tokens) == render_prompt(tokenizer, PROBLEM, mode) + text + END
    assert sample.tokens[-1] == tokenizer.eos_token_id


def test_the_prompt_is_told_apart(tokenizer: Any) -> None:
    sample = encode(tokenizer, PROBLEM, "cot", COT)
    assert tokenizer.decode(sample.tokens[: sample.prompt]) == render_prompt(tokenizer, PROBLEM, "cot")
    assert sample.prompt == sample.weights.index(1.0)


def test_pretraining_weighs_the_prompt(tokenizer: Any) -> None:
    told, learned = (encode(tokenizer, PROBLEM, "cot", COT, prompt_weight=w) for w in (0.0, 0.25))
    assert told.tokens == learned.tokens
    assert learned.weights == [0.25] * told.prompt + [1.0] * (len(told.tokens) - told.prompt)
    assert learned.prompt == 0  # what is learned is not shared
