"""Prompts around questions are looked through; questions that only look like prompts stay whole."""

from __future__ import annotations

from random import Random

import pytest

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item
from mathloop.decontamination.matching import find_matches
from mathloop.decontamination.prompts import _ASCII_CUT, _CUT, without_prompt
from mathloop.decontamination.sources import read_items
from tests.paths import SHARED_DATA

DATA = SHARED_DATA / "benchmarks"
PROMPTS = (
    "Solve the following math problem step by step. {} Put your final answer within \\boxed{{}}.",
    "Solve the following math problem step by step. The last line of your response should be of the form"
    " Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\nRemember to put"
    ' your answer on its own line after "Answer:".',
    "{}\nPlease reason step by step, and put your final answer within \\boxed{{}}.",
    "Below is an instruction that describes a task. Write a response that appropriately completes the"
    " request.\n\n### Instruction:\n{}\n\n### Response: Let's think step by step.",
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n",
    "Question: {}\nAnswer:",
    "[INST] {} [/INST]",
    "请逐步推理，并将最终答案放在\\boxed{{}}中。\n题目：{}",
)
ITEM = "A train travels 270 miles in 3 hours. At the same rate, how many miles does it travel in 5 hours?"
ROWS = (
    "A plane travels 1200 miles in 4 hours. At the same rate, how many miles does it travel in 7 hours?",
    "In three hours a train covers 270 miles. How far does that train get in five hours if its speed stays?",
)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_other_numbers_and_other_words_are_found_inside_a_prompt(prompt: str) -> None:
    index = Index.build([Item("bench", ITEM)], ngram=13)
    rules = index.rules(["structure", "rephrased"], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
    texts = [prompt.format(row) for row in (*ROWS, "How many primes are there between 20 and 30?")]
    matches = find_matches([[Passage(text, True)] for text in texts], rules, index.items)
    assert [match and match.rule for match in matches] == ["structure", "rephrased", None]


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not beside the checkout")
def test_the_question_comes_out_of_each_prompt_as_it_was() -> None:
    items = Random(3).sample(list(read_items(sorted(DATA.glob("*/*.jsonl")))), 60)
    for item in items:
        for prompt in PROMPTS:
            wrapped = without_prompt(prompt.format(item.text)).strip()
            assert wrapped in (item.text.strip(), without_prompt(item.text).strip())


@pytest.mark.parametrize(
    "text",
    [
        ITEM,
        "Please put your final answer within \\boxed{}.",
        "There are 12 boxes. Each step has 3 boxes. How many steps are there?",
        "You are playing a game. You have 7 cards and draw 2. What is the chance of a pair?",
        "Solve the following system of equations: $x + y = 3$, $x - y = 1$.",
        "Question " * 5_000,
    ],
)
def test_a_text_without_a_prompt_or_without_a_question_stays(text: str) -> None:
    assert without_prompt(text) == text


def test_an_ascii_text_is_cut_alike_by_the_faster_pattern() -> None:
    parts = [
        *" \n\t.!?:<|>[]/$){}aZ5-'\x1c\r",
        "[INST]",
        "[/INST]",
        "<|user|>",
        "Please",
        "Put  your ",
        "Enclose",
    ]
    rng, cuts = Random(1), 0
    for _ in range(4000):
        text = "".join(rng.choices(parts, k=rng.randrange(14)))
        found = [match.span() for match in _CUT.finditer(text)]
        assert [match.span() for match in _ASCII_CUT.finditer(text)] == found
        cuts += len(found)
    assert cuts > 2000
