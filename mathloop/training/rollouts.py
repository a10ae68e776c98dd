"""One rollout batch of GRPO: sampled, verified, scored, given advantages, and logged."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mathloop.curves import Point
from mathloop.files import disk, replacing
from mathloop.models.reward_model import RewardModel
from mathloop.records import Mode, Problem
from mathloop.sampling.judging import judge
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.sampling.scoring import score
from mathloop.training.config import GRPOConfig
from mathloop.training.losses import shaped_reward
from mathloop.training.objectives.objective import Objective
from mathloop.training.order import batch_of
from mathloop.training.packing import micro_batches
from mathloop.training.ranks import Ranks
from mathloop.training.samples import Sample


@dataclass
class Batch:
    """This rank's share of a rollout batch: `groups` groups of `size` responses, in order."""

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
    zero_variance: int
    """Number of zero-variance groups, whose rewards are all equal."""
    rows: list[dict[str, Any]]
    """Rows of the log, one per response."""

    @property
    def groups(self) -> int:
        return len(self.samples) // self.size

    @property
    def right(self) -> int:
        """Number of this rank's responses that the verifier accepts."""
        return sum(row["correct"] is True for row in self.rows)

    def cut(self, groups: Sequence[int], budget: int) -> list[list[int]]:
        """Micro-batches of at most `budget` tokens of the learned responses of `groups`, as their indices.

        A shared prompt counts once. A response that is longer than the budget is a micro-batch of its own.
        """
        # Responses of one group share a micro-batch, and so their prompt, as far as the budget allows.
        parts: list[list[int]] = []
        sizes: list[int] = []
        for group in groups:
            room = 0
            for i in range(group * self.size, (group + 1) * self.size):
                sample = self.samples[i]
                if not any(sample.weights):
                    continue
                own = len(sample.tokens) - sample.prompt
                if room < own:
                    parts.append([])
                    sizes.append(sample.prompt)
                    room = budget - sample.prompt
                parts[-1].append(i)
                sizes[-1] += own
                room -= own
        return [[i for part in chosen for i in parts[part]] for chosen in micro_batches(sizes, budget)]


def choose(pool: Sequence[Problem], step: int, config: GRPOConfig, seed: int) -> tuple[list[Problem], Mode]:
    """The problems of a rollout batch, over all ranks, and its mode: a function of seed and step."""
    chosen = batch_of(len(pool), config.problems_per_step, step, seed)
    mode: Mode = "tir" if random.Random(f"grpo-{seed}-{step}").random() < config.tir_share else "cot"
    return [pool[i] for i in chosen], mode


def collect(
    problems: Sequence[Problem],
    mode: Mode,
    sampler: Sampler,
    scorer: tuple[RewardModel, Any],
    objective: Objective,
    config: GRPOConfig,
    ranks: Ranks,
    *,
    step: int,
    seed: int,
) -> Batch:
    """Samples, verifies and scores this rank's groups of `problems`."""
    size = config.group_size
    mine = problems[ranks.rank :: ranks.world]
    rollouts = sampler.sample(
        mine,
        mode=mode,
        samples=size,
        temperature=config.temperature,
        seed=(seed * 65_537 + step) * ranks.world + ranks.rank,
    )
    responses = [judge(mine[i // size].answer, r.response) for i, r in enumerate(rollouts)]
    verdicts = torch.tensor([float(r.correct is True) for r in responses])
    dialogues = [(mine[i // size].problem, mode, r.text) for i, r in enumerate(responses)]
    scores = torch.tensor(score(*scorer, dialogues))
    rewards = shaped_reward(scores, verdicts, config.alpha)
    if config.overlong == "punish":
        rewards = rewards - _overlong_penalties([len(r.tokens) for r in rollouts], config)
    advantages = objective.advantages(rewards.view(-1, size)).flatten()
    varied = (advantages.view(-1, size) != 0).any(1).repeat_interleave(size)
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
    return Batch(
        samples=[_sample(rollout, learn) for rollout, learn in zip(rollouts, learned, strict=True)],
        lengths=[0 if mask else len(own) for own, mask in zip(written, masked.tolist(), strict=True)],
        advantages=advantages,
        sampler_logprobs=[own if learn else [] for own, learn in zip(written, learned, strict=True)],
        size=size,
        metrics={name: value / (config.problems_per_step * size) for name, value in sums.items()},
        zero_variance=int((~varied).sum()) // size,
        rows=rows,
    )


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


def log_rollouts(work: Path, batch: Batch, step: int, rank: int, world: int = 1) -> None:
    """Writes a batch to Parquet; a step that is repeated after a restart writes the same file.

    Files of this step and later ones that a killed attempt left, maybe one of more ranks, are removed first.
    """
    folder = work / "rollouts"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:06d}-{rank:04d}.parquet"
    if rank == 0:
        first_stale = folder / f"step-{step:06d}-{world:04d}.parquet"
        for stale in folder.glob("step-*.parquet"):
            if stale.name >= first_stale.name:
                stale.unlink()
    with replacing(path) as partial, disk(path):
        pq.write_table(pa.Table.from_pylist(batch.rows, schema=_SCHEMA), partial, compression="zstd")


def join_rollouts(work: Path, out: Path) -> None:
    """Joins this machine's logged batches into one Parquet file, in order of steps and ranks."""
    with (
        replacing(out) as partial,
        disk(out),
        pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer,
    ):
        for table in _tables(work / "rollouts"):
            writer.write_table(table)


def _tables(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("step-*.parquet")):
        yield pq.read_table(path, schema=_SCHEMA)


def _sample(rollout: Rollout, learn: bool) -> Sample:
    prompt = len(rollout.prompt_tokens)
    weights = [0.0] * prompt + [float(own and learn) for own in rollout.sampled]
    return Sample(rollout.prompt_tokens + rollout.tokens, weights, prompt)


def _overlong_penalties(lengths: Sequence[int], config: GRPOConfig) -> Tensor:
    """0 until `overlong_buffer` tokens before the limit, then up to 1 (DAPO, arXiv 2503.14476, eq. 13)."""
    start = config.sampling.max_tokens - config.overlong_buffer
    return ((torch.tensor(lengths) - start) / config.overlong_buffer).clamp(0, 1)


_TITLES = {"cot": "CoT", "tir": "TIR"}
_OF_BOTH_MODES = {"gradient norm", "learning rate", "tokens per second", "utilization"}
"""Curves that tell of the training as a whole."""
_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("problem_id", pa.string()),
        ("problem", pa.string()),
        ("gold", pa.string()),
        ("sample", pa.int64()),
        ("mode", pa.string()),
        ("text", pa.string()),
        ("answer", pa.string()),
        ("correct", pa.bool_()),
        ("reason", pa.string()),
        ("reward", pa.float64()),
        ("shaped_reward", pa.float64()),
        ("advantage", pa.float64()),
        ("finish_reason", pa.string()),
        ("tokens", pa.int64()),
        ("tool_calls", pa.int64()),
        ("temperature", pa.float64()),
    ]
)
