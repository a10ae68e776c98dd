"""One rollout batch of GRPO: sampled, verified, scored, and given advantages."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mathloop.curves import Point
from mathloop.models.packing import Sample, share_prompts
from mathloop.models.reward_model import RewardModel
from mathloop.records import Mode, Problem
from mathloop.sampling.judging import judge
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.sampling.scoring import score
from mathloop.training.config import GRPOConfig
from mathloop.training.dealing import parts_per_group
from mathloop.training.losses import shaped_reward
from mathloop.training.objectives.objective import Objective
from mathloop.training.order import batch_of
from mathloop.training.ranks import Ranks


@dataclass
class Batch:
    """This rank's share of a rollout batch: groups, or equal parts of them, of `size` responses, in order."""

    samples: list[Sample]
    """A token has weight 1 if it is learned: the policy wrote it, its group is not a zero-variance group, and
    its response is not masked."""
    lengths: list[int]
    """Tokens that the policy wrote, per response; 0 if the response is masked."""
    advantages: Tensor
    """[responses]"""
    sampler_logprobs: list[list[float]]
    """Of the learned tokens, per response."""
    size: int
    metrics: dict[str, float]
    """This rank's part of the batch's means: their sum over ranks is the mean over all responses."""
    zero_variance: float
    """Number of zero-variance groups, whose rewards are all equal; a part counts as its share of one."""
    rows: list[dict[str, Any]]
    """Rows of the log, one per response."""
    mini_batches: list[list[int]]
    """Indices of the groups or parts in each mini-batch."""

    @property
    def right(self) -> int:
        """Number of this rank's responses that the verifier accepts."""
        return sum(row["correct"] is True for row in self.rows)

    def cut(self, groups: Sequence[int], budget: int) -> list[list[int]]:
        """Micro-batches of at most `budget` tokens of the learned responses of `groups`, as their indices.

        A shared prompt counts once. A response that is longer than the budget is a micro-batch of its own.
        """
        learned = [
            [i for i in range(g * self.size, (g + 1) * self.size) if any(self.samples[i].weights)]
            for g in groups
        ]
        return share_prompts(learned, self.samples, budget)


def choose(pool: Sequence[Problem], step: int, config: GRPOConfig, seed: int) -> tuple[list[Problem], Mode]:
    """The problems of a rollout batch, over all ranks, and its mode: a function of seed and step."""
    chosen = batch_of(len(pool), config.problems_per_step, step, seed)
    mode: Mode = "tir" if random.Random(f"grpo-{seed}-{step}").random() < config.tir_share else "cot"
    return [pool[i] for i in chosen], mode


class Part(NamedTuple):
    """A rank's part of one group."""

    problem: int
    """Index in the rollout batch."""
    part: int
    """Which of the group's equal parts, of consecutive responses."""
    mini_batch: int


def parts_of(config: GRPOConfig, ranks: Ranks) -> list[Part]:
    """This rank's parts of a rollout batch, in the order of its problems.

    Groups are dealt to the mini-batches in turn, whatever the number of ranks, and a mini-batch's parts to
    the ranks.
    """
    count = parts_per_group(config, ranks.world)
    own = []
    for problem in range(config.problems_per_step):
        group, mini_batch = divmod(problem, config.mini_batches)
        for part in range(count):
            if (group * count + part) % ranks.world == ranks.rank:
                own.append(Part(problem, part, mini_batch))
    return own


def draw(
    problems: Sequence[Problem],
    mode: Mode,
    sampler: Sampler,
    config: GRPOConfig,
    ranks: Ranks,
    *,
    step: int,
    seed: int,
) -> list[Rollout]:
    """Samples this rank's parts of the groups of `problems`, one part after the other."""
    parts = parts_of(config, ranks)
    size = config.group_size // parts_per_group(config, ranks.world)
    rollouts = sampler.sample(
        [problems[part.problem] for part in parts],
        mode=mode,
        samples=size,
        temperature=config.temperature,
        seed=(seed * 65_537 + step) * ranks.world + ranks.rank,
    )
    for i, rollout in enumerate(rollouts):  # number them within their group
        number = parts[i // size].part * size + i % size
        rollout.response = replace(rollout.response, sample=number)
    return rollouts


def collect(
    problems: Sequence[Problem],
    mode: Mode,
    rollouts: Sequence[Rollout],
    scorer: tuple[RewardModel, Any],
    objective: Objective,
    config: GRPOConfig,
    ranks: Ranks,
    *,
    step: int,
) -> Batch:
    """Verifies and scores this rank's `rollouts`, which `draw` sampled; every rank calls this.

    Raises BadConfig if the reward model does not fit into memory beside the policy.
    """
    parts = parts_of(config, ranks)
    size = config.group_size // parts_per_group(config, ranks.world)
    mine = [problems[part.problem] for part in parts]
    responses = [judge(mine[i // size].answer, r.response) for i, r in enumerate(rollouts)]
    verdicts = torch.tensor([float(r.correct is True) for r in responses])
    dialogues = [(mine[i // size].problem, mode, r.text) for i, r in enumerate(responses)]
    scores = torch.tensor(
        score(*scorer, dialogues, tokens=config.engine.micro_batch_tokens, remedy=_SCORING_REMEDY)
    )
    rewards = shaped_reward(scores, verdicts, config.alpha)
    if config.overlong == "punish":
        rewards = rewards - _overlong_penalties([len(r.tokens) for r in rollouts], config)
    advantages, varied = _advantages(rewards.view(-1, size), parts, objective, config, ranks)
    truncated = torch.tensor([r.finish_reason == "length" for r in responses])
    masked = truncated if config.overlong == "mask" else torch.zeros_like(truncated)
    learned = (varied & ~masked).tolist()
    written = [[lp for lp, own in zip(r.logprobs, r.sampled, strict=True) if own] for r in rollouts]
    sums = {
        "reward": float(rewards.sum()),
        "verifier accuracy": float(verdicts.sum()),
        "RM score": float(scores.sum()),
        "response tokens": sum(map(len, written)),
        "truncated share": int(truncated.sum()),
        "zero-variance share": int((~varied).sum()),
        # The mean of −log π over sampled tokens is an unbiased estimate of the sampler's entropy.
        "entropy": sum(-sum(own) / max(1, len(own)) for own in written),
    }
    rows = [
        {
            "step": step,
            "problem": mine[i // size].problem,
            "gold": mine[i // size].answer,
            **asdict(response),
            "reward": float(scores[i]),
            "shaped_reward": float(rewards[i]),
            "advantage": float(advantages[i]),
        }
        for i, response in enumerate(responses)
    ]
    whole = config.problems_per_step * config.group_size
    return Batch(
        samples=[_sample(rollout, learn) for rollout, learn in zip(rollouts, learned, strict=True)],
        lengths=[0 if mask else len(own) for own, mask in zip(written, masked.tolist(), strict=True)],
        advantages=advantages,
        sampler_logprobs=[own if learn else [] for own, learn in zip(written, learned, strict=True)],
        size=size,
        metrics={name: value / whole for name, value in sums.items()},
        zero_variance=int((~varied).sum()) / config.group_size,
        rows=rows,
        mini_batches=[
            [i for i, part in enumerate(parts) if part.mini_batch == number]
            for number in range(config.mini_batches)
        ],
    )


def _advantages(
    rewards: Tensor, parts: Sequence[Part], objective: Objective, config: GRPOConfig, ranks: Ranks
) -> tuple[Tensor, Tensor]:
    """(advantages, whether the response's group has variance) [responses] of rewards [parts, size]."""
    size = rewards.shape[1]
    if size == config.group_size:
        advantages = objective.advantages(rewards)
        return advantages.flatten(), (advantages != 0).any(1).repeat_interleave(size)
    # Each response is one rank's, so that the sum over ranks is the reward itself.
    batch = torch.zeros(config.problems_per_step, config.group_size)
    problem = torch.tensor([part.problem for part in parts])
    columns = torch.tensor([part.part * size for part in parts])[:, None] + torch.arange(size)
    batch[problem[:, None], columns] = rewards
    batch = torch.tensor(ranks.total(*batch.flatten().tolist())).view_as(batch)
    advantages = objective.advantages(batch)
    varied = (advantages != 0).any(1)
    return advantages[problem[:, None], columns].flatten(), varied[problem].repeat_interleave(size)


def split_by_mode(
    curves: Mapping[str, list[Point]], modes: Sequence[Mode], updates: int
) -> dict[str, list[Point]]:
    """Each curve as two, `name (CoT)` and `name (TIR)`, where both modes occur; else the curves themselves.

    Args:
        curves: points (optimizer step, value).
        modes: mode of each rollout batch.
        updates: optimizer steps per rollout batch.
    """
    if len(set(modes)) < 2:
        return dict(curves)
    split: dict[str, list[Point]] = {}
    for name, curve in curves.items():
        if name in _OF_BOTH_MODES:
            split[name] = curve
            continue
        for mode in ("cot", "tir"):
            points = [point for point in curve if modes[int(point[0]) // updates] == mode]
            split[f"{name} ({_TITLES[mode]})"] = points
    return split


def _sample(rollout: Rollout, learn: bool) -> Sample:
    prompt = len(rollout.prompt_tokens)
    weights = [0.0] * prompt + [float(own and learn) for own in rollout.sampled]
    return Sample(rollout.prompt_tokens + rollout.tokens, weights, prompt)


def _overlong_penalties(lengths: Sequence[int], config: GRPOConfig) -> Tensor:
    """0 until `overlong_buffer` tokens before the limit, then up to 1 (DAPO, arXiv 2503.14476, eq. 13)."""
    start = config.sampling.max_tokens - config.overlong_buffer
    return ((torch.tensor(lengths) - start) / config.overlong_buffer).clamp(0, 1)


_SCORING_REMEDY = (
    "lower grpo.engine.micro_batch_tokens or grpo.sampling.max_tokens, set grpo.engine.dtype=bfloat16, raise "
    "grpo.engine.zero and the number of processes, or take a smaller reward model; then start again to resume"
)
_TITLES = {"cot": "CoT", "tir": "TIR"}
_OF_BOTH_MODES = {"gradient norm", "learning rate", "tokens per second", "utilization"}
"""Curves that tell of the training as a whole."""
