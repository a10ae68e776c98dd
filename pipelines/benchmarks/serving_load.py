"""`mathloop benchmark serve`: throughput and latency of the solver, next to its engine without it.

Three sides answer the same questions with the same models in one process, in turns:

    ours    the solver: queue, continuous batching, rewards, comparison of answers, vote; 20 clients at once
    batches the engine alone, all questions in one batch: the most that this engine gives; without votes
    loop    a plain best-of-n loop: one question after the other, sampled, scored and voted on

Costs are CPU seconds of the process per question. Other programs change even these, through caches and cores
that they share, so the sides take turns, in changing order, and ratios are medians over the turns.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from mathloop.records import Problem
from pipelines.benchmarks.printing import Progress, aligned, machine

CLIENTS = 20
SAMPLES = 8
TOKENS = 48
"""Longest response: with random weights, few end before."""
ALONE = 5
"""Questions of the one client whose latency is measured, in each turn."""
TURNS, TURNS_ALONE = 3, 9
"""Of the sides with many questions, and of the one client and the loop."""


@dataclass(frozen=True)
class Cost:
    """Of a question, in seconds."""

    cpu: float
    wall: float
    tokens: float = 0.0
    """Sampled, where they were counted."""

    @classmethod
    def mean(cls, costs: Sequence[Cost]) -> Cost:
        """Of turns with equally many questions."""
        return cls(
            *(fmean(values) for values in zip(*((c.cpu, c.wall, c.tokens) for c in costs), strict=True))
        )


@dataclass(frozen=True)
class Models:
    """Loaded models with their tokenizers."""

    policy: tuple[Any, Any]
    reward_model: tuple[Any, Any] | None


def run(model: Path | None, reward_model: Path | None, questions: int) -> None:
    """Prints the table. Without a model, one of random weights and the laptop profile's size is made.

    Raises BadModel if a folder is not a model's.
    """
    problems = nano_problems(questions + ALONE * TURNS_ALONE)
    texts = [problem.problem for problem in problems]
    with tempfile.TemporaryDirectory(prefix="mathloop-benchmark-") as folder, Progress() as progress:
        if model is None:
            progress.step("making a policy and a reward model of random weights")
            model, reward_model = random_models(Path(folder), problems)
        rows = asyncio.run(_measure(model, reward_model, texts, progress))
    print(f"{machine()}; {questions} questions, {CLIENTS} clients, at most {TOKENS} tokens")
    head = ("", "ours", "batches", "loop", "ours to batches", "ours to loop", "one client, to loop")
    print(aligned(head, rows))
    print("CPU seconds per question; ratios above 1: ours is faster. one client: its latency in CPU time.")


async def _measure(
    policy: Path, reward_model: Path | None, problems: Sequence[str], progress: Progress
) -> list[tuple[str, ...]]:
    from mathloop.models.loading import load_policy, load_reward_model
    from mathloop.serving.config import SolverConfig
    from mathloop.serving.local import LocalEngine
    from mathloop.serving.solver import Solver

    config = SolverConfig(parallel=CLIENTS, max_tokens=TOKENS, adaptive="never")
    models = Models(load_policy(policy), None if reward_model is None else load_reward_model(reward_model))
    engine = LocalEngine("benchmark", models.policy, models.reward_model, config)
    solver = Solver(engine, config)
    await solver.prepare()
    alone = ALONE * TURNS_ALONE
    many, few = problems[:-alone], problems[-alone:]
    strategy = "rm" if models.reward_model is not None else "maj"
    settled = "weighted" if strategy == "rm" else strategy
    sides = [
        ("greedy", "greedy", 1, False),
        (f"{strategy}@{SAMPLES}", strategy, SAMPLES, False),
        (f"{settled}@{SAMPLES}, adaptive", settled, SAMPLES, True),
    ]
    rows = []
    try:
        for name, chosen, samples, adaptive in sides:
            progress.step(name)
            await _ours(solver, problems[:2], chosen, samples, adaptive, 1)  # warm-up
            _loop(models, problems[:1], chosen, samples)
            costs: dict[str, list[Cost]] = {"ours": [], "batches": [], "loop": []}
            for turn in range(TURNS):
                progress.step(f"{name}, turn {turn + 1} of {TURNS}")
                for side in _rotated(list(costs), turn):
                    if side == "ours":
                        found = await _ours(solver, many, chosen, samples, adaptive, CLIENTS)
                    elif side == "batches":
                        found = engine_batches(models, many, chosen, samples)
                    else:
                        found = _loop(models, many, chosen, samples)
                    costs[side].append(found)
            progress.step(f"{name}, one client")
            single: dict[str, list[Cost]] = {"ours": [], "loop": []}
            for turn in range(TURNS_ALONE):
                asked = few[turn * ALONE :][:ALONE]
                for side in _rotated(list(single), turn):
                    if side == "ours":
                        found = await _ours(solver, asked, chosen, samples, adaptive, 1)
                    else:
                        found = _loop(models, asked, chosen, samples)
                    single[side].append(found)
            rows.append(
                (
                    name,
                    *(f"{median(cost.cpu for cost in side):.3f}" for side in costs.values()),
                    f"{_ratio(costs['batches'], costs['ours']):.2f}x",
                    f"{_ratio(costs['loop'], costs['ours']):.1f}x",
                    f"{_ratio(single['loop'], single['ours']):.2f}x",
                )
            )
    finally:
        await solver.close()
    return rows


def _rotated(sides: list[str], turn: int) -> list[str]:
    first = turn % len(sides)
    return sides[first:] + sides[:first]


def _ratio(theirs: Sequence[Cost], ours: Sequence[Cost]) -> float:
    return median(one.cpu / two.cpu for one, two in zip(theirs, ours, strict=True))


async def _ours(
    solver: Any, problems: Sequence[str], strategy: str, samples: int, adaptive: bool, clients: int
) -> Cost:
    from mathloop.serving.questions import Question

    left = iter(enumerate(problems))
    greedy = strategy == "greedy"

    async def client() -> None:
        for number, problem in left:
            await solver.ask(
                Question(
                    problem=problem,
                    strategy=strategy,
                    samples=samples,
                    mode="cot",
                    temperature=0.0 if greedy else 1.0,
                    top_p=1.0,
                    seed=number,
                    max_tokens=TOKENS,
                    adaptive=adaptive,
                )
            )

    clock = _Clock(len(problems))
    await asyncio.gather(*(client() for _ in range(clients)))
    return clock.cost()


def engine_batches(models: Models, problems: Sequence[str], strategy: str, samples: int) -> Cost:
    """What sampling the answers in one batch costs, with rewards where the strategy needs them."""
    clock = _Clock(len(problems))
    responses = _sample(models, problems, strategy, samples)
    return replace(clock.cost(), tokens=sum(one.tokens for one in responses) / len(problems))


def _loop(models: Models, problems: Sequence[str], strategy: str, samples: int) -> Cost:
    from mathloop.voting import choose, group_answers

    clock = _Clock(len(problems))
    for problem in problems:
        choose(strategy, group_answers(_sample(models, [problem], strategy, samples)))
    return clock.cost()


def _sample(models: Models, problems: Sequence[str], strategy: str, samples: int) -> list[Any]:
    """Responses to all problems in one batch, with rewards where the strategy needs them."""
    from mathloop.sampling.config import SamplingConfig
    from mathloop.sampling.engines.transformers_engine import TransformersSampler
    from mathloop.sampling.scoring import score

    greedy = strategy == "greedy"
    config = SamplingConfig(max_tokens=TOKENS, batch_size=max(1, samples * len(problems)))
    with TransformersSampler(*models.policy, config) as sampler:
        asked = [Problem(str(number), text) for number, text in enumerate(problems)]
        temperature = 0.0 if greedy else 1.0
        rollouts = sampler.sample(asked, mode="cot", samples=samples, temperature=temperature, seed=1)
    responses = [rollout.response for rollout in rollouts]
    if strategy in ("greedy", "maj") or models.reward_model is None:
        return responses
    dialogues = [(problems[at // samples], "cot", one.text) for at, one in enumerate(responses)]
    rewards = score(*models.reward_model, dialogues, max_tokens=1024)  # type: ignore[arg-type]
    return [replace(one, reward=reward) for one, reward in zip(responses, rewards, strict=True)]


class _Clock:
    """CPU and wall time from its making on, per question."""

    def __init__(self, questions: int) -> None:
        self._questions = questions
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def cost(self) -> Cost:
        cpu, wall = time.process_time() - self._cpu, time.monotonic() - self._wall
        return Cost(cpu / self._questions, wall / self._questions)


def nano_problems(count: int) -> list[Problem]:
    """Generated problems, which no model needs to be able to solve."""
    from mathloop.problems.nano import generate

    return [one.problem for one in generate("benchmark", count, seed=0)]


def random_models(folder: Path, problems: list[Problem]) -> tuple[Path, Path]:
    """Folders of a policy and a reward model of random weights, with a tokenizer made of these problems."""
    from pipelines.benchmarks.training_inputs import Sizes, prepare

    inputs, _ = prepare(folder, Sizes(vocabulary=600, hidden=128, layers=4, heads=4), problems, None)
    return inputs.policy, inputs.reward_model
