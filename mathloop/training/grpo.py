"""Recipe: GRPO (Paper §3.3), read top to bottom.

Each step samples a group of responses per problem, shapes a reward from verifier and reward model, turns it
into advantages within the group, and takes policy-gradient steps with a KL to the starting policy. What is
maximized is the configured objective (`objectives/`). Interpreter tokens are masked; a zero-variance group,
whose rewards are all equal, contributes nothing and is not put through the policy.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathloop.curves import thin
from mathloop.models.attention import use_attention
from mathloop.models.dtypes import working_dtype
from mathloop.models.linear import speed_up
from mathloop.models.loading import load_policy, load_reward_model
from mathloop.models.packing import Pack, pack
from mathloop.records import read_problems
from mathloop.sampling.engines import begin_sampler
from mathloop.stages import Progress, StageReport, timed
from mathloop.training.adapters import add_adapters, check_targets, without_adapters
from mathloop.training.capacity import check_recipe
from mathloop.training.config import GRPOConfig
from mathloop.training.dealing import parts_per_group
from mathloop.training.engine import Engine
from mathloop.training.handover import sampling_with
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.losses import importance_weights
from mathloop.training.objectives.objective import BatchSize, Objective, Tokens, load_objective
from mathloop.training.order import hash_data
from mathloop.training.policy_saving import save_policy
from mathloop.training.ranks import join_ranks
from mathloop.training.rollout_log import join_rollouts, log_rollouts
from mathloop.training.rollouts import (
    Batch,
    choose,
    collect,
    draw,
    split_by_mode,
)
from mathloop.training.sharded import load_trainable, save_untrained


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    reward_model: Path,
    model: Path,
    work: Path,
    config: GRPOConfig,
    seed: int,
    rollouts: Path | None = None,
) -> StageReport:
    """Trains `policy` on `problems` (all with gold answers) and saves the challenger to `model`.

    All rollouts, with verdicts, rewards and advantages, are written to the Parquet file `rollouts`, if given.
    Without any problem the challenger is `policy` itself, with a note. Log-probabilities are taken at the
    sampling temperature, so that they are those of the policy that was sampled.

    Raises:
        TrainingDiverged: loss, KL or gradient is not finite.
        BadConfig: the groups cannot be divided evenly among ranks and mini-batches.
    """
    ranks = join_ranks()  # sets this process's GPU, onto which models are loaded
    parts_per_group(config, ranks.world)  # refuses what cannot be divided, before anything is loaded
    pool = [p for p in read_problems(problems) if p.answer is not None]
    check_targets(policy, config.lora)
    check_recipe("grpo", policy, config, ranks)
    net, tokenizer = load_trainable(policy, config.engine, ranks, config.lora)
    if not pool:
        save_untrained(model, policy, net, tokenizer, ranks)
        if ranks.first and rollouts is not None:
            join_rollouts(work, rollouts)
        ranks.barrier()
        note = "No problem was selected, so the challenger is the SFT model: widen selection.least and most."
        return StageReport("grpo", notes=[note])
    objective = load_objective(config.objective)
    per_batch = config.mini_batches * config.epochs_per_batch
    data = hash_data(f"{p.id}\0{p.problem}\0{p.answer}".encode() for p in pool)
    torch.manual_seed(seed)  # adapters start at random: the same on every rank and after a restart
    with ExitStack() as stack:
        module = PackedPolicy(add_adapters(net, config.lora))
        engine = stack.enter_context(
            Engine(module, config, config.steps * per_batch, work, recipe="grpo", seed=seed, data=data)
        )
        reference = _Reference(net, policy, config, engine)
        scorer = load_reward_model(reward_model, working_dtype(config.engine.dtype))
        sampler = stack.enter_context(begin_sampler(policy, net, tokenizer, config.sampling))
        progress = Progress("grpo", config.steps, "steps")
        progress.update(engine.step // per_batch)
        for step in range(engine.step // per_batch, config.steps):
            chosen, mode = choose(pool, step, config, seed)
            with engine.full_weights(), sampling_with(sampler, net, working_dtype(config.engine.dtype)):
                drawn = draw(chosen, mode, sampler, config, engine.ranks, step=step, seed=seed)
            # Scored while the sampler sleeps, and without the gathered weights.
            batch = collect(chosen, mode, drawn, scorer, objective, config, engine.ranks, step=step)
            net.train()
            log_rollouts(work, batch, step, engine.ranks.rank, engine.ranks.world)
            zero_variance, right, tokens = engine.ranks.total(
                batch.zero_variance, batch.right, sum(batch.lengths)
            )
            engine.counts["zero-variance groups"] += round(zero_variance)
            engine.counts["right responses"] += round(right)
            responses = config.problems_per_step * config.group_size
            if step == 0 and engine.ranks.first and (lack := _lack(engine, config, 1)):
                print(f"grpo, first step: {lack[0]}", file=sys.stderr, flush=True)
            size = BatchSize(responses, round(tokens), config.sampling.max_tokens)
            metrics = _train_on(batch, size, engine, reference, objective, config)
            progress.update(
                tokens=round(metrics["response tokens"] * responses),
                reward=metrics["reward"],
                KL=metrics["KL"],
            )
        save_policy(model, engine, net, tokenizer)
        if rollouts is not None and engine.ranks.first:
            join_rollouts(work, rollouts)
    modes = [choose(pool, step, config, seed)[1] for step in range(config.steps)]
    curves = split_by_mode(engine.curves, modes, per_batch)
    last = {name: sum(v for _, v in curve[-10:]) / len(curve[-10:]) for name, curve in curves.items()}
    return StageReport(
        "grpo",
        inputs=len(pool),
        generated=config.steps * config.problems_per_step * config.group_size,
        values={**last, **engine.summary(), "zero-variance groups": engine.counts["zero-variance groups"]},
        curves={name: thin(curve) for name, curve in curves.items()},
        notes=[*_lack(engine, config, config.steps), *engine.notes],
    )


def _lack(engine: Engine, config: GRPOConfig, steps: int) -> list[str]:
    """A sentence if the rollouts of the first `steps` steps give nothing to learn from, else nothing."""
    groups = steps * config.problems_per_step
    responses = groups * config.group_size
    if not engine.counts["right responses"]:
        return [
            f"0 of {responses:,} rollouts are right, so the verifier teaches nothing: select easier problems "
            "(selection.least), start from a better policy, or check grpo.sampling.max_tokens."
        ]
    if engine.counts["zero-variance groups"] == groups:
        return [
            f"In all {groups:,} groups the rewards are equal, so nothing can be learned: select problems "
            "that are solved sometimes (selection.least, selection.most), or raise grpo.group_size."
        ]
    return []


def _train_on(
    batch: Batch,
    size: BatchSize,
    engine: Engine,
    reference: _Reference,
    objective: Objective,
    config: GRPOConfig,
) -> dict[str, float]:
    """Takes all optimizer steps on one rollout batch; returns the metrics of the last one."""
    weights = [objective.token_weight(length, size) for length in batch.lengths]
    mini_batches = [_micro_batches(batch, groups, weights, engine) for groups in batch.mini_batches]
    # Metrics are means over the learned tokens of all ranks; a mini-batch of zero-variance groups has none.
    total_weights = engine.ranks.total(
        *(sum(float(micro.weights.sum()) * share for micro, share in mini) for mini in mini_batches)
    )
    for mini in mini_batches:
        for micro, _ in mini:
            micro.reference_logprobs = reference.logprobs(micro.packed)
            if config.mini_batches * config.epochs_per_batch > 1:
                with torch.no_grad():
                    micro.old_logprobs = engine.forward(micro.packed, config.temperature)
    metrics: dict[str, float] = {}
    for epoch in range(config.epochs_per_batch):
        for index, mini in enumerate(mini_batches):
            sums: defaultdict[str, float] = defaultdict(float)
            count, total_weight = 0.0, max(total_weights[index] * config.mini_batches, 1e-9)
            for micro, share in mini:
                logprobs = engine.forward(micro.packed, config.temperature)
                tokens = micro.tokens(logprobs, share * config.mini_batches, config)
                loss, watched = objective.loss(tokens, config)
                engine.backward(loss)
                sums["loss"] += loss.item()
                ratio = importance_weights(tokens.old_logprobs, micro.sampler_logprobs, math.inf)
                watched["sampler ratio"] = (ratio * tokens.weights).sum()
                watched["capped sampler ratio"] = (tokens.importance * tokens.weights).sum()
                for name, value in watched.items():
                    sums[name] += value.item() / total_weight
                count += micro.packed.count * share
            is_last = epoch == config.epochs_per_batch - 1 and index == config.mini_batches - 1
            metrics = engine.update(checkpoint=is_last, tokens=round(count), **sums, **batch.metrics)
    return metrics


class _MicroBatch:
    """Rollouts for one forward pass, with what stays the same in every epoch."""

    def __init__(
        self, chosen: Sequence[int], batch: Batch, weights: Sequence[float], device: torch.device
    ) -> None:
        self.packed: Pack = pack([batch.samples[i] for i in chosen], device, share_prompts=True)
        rollout = torch.tensor(chosen, device=device)[self.packed.owner]
        self.advantages = batch.advantages.to(device)[rollout]
        self.weights = self.packed.weights * torch.tensor(weights, device=device)[rollout]
        sampled = [logprob for i in chosen for logprob in batch.sampler_logprobs[i]]
        self.sampler_logprobs = torch.tensor(sampled, dtype=torch.float32, device=device)
        self.old_logprobs: Tensor | None = None
        """None while they are those of the policy being trained."""
        self.reference_logprobs: Tensor | None = None

    def tokens(self, logprobs: Tensor, scale: float, config: GRPOConfig) -> Tokens:
        """Its learned tokens, with `logprobs` [n] of the policy being trained and weights times `scale`."""
        old = logprobs.detach() if self.old_logprobs is None else self.old_logprobs
        return Tokens(
            logprobs=logprobs,
            old_logprobs=old,
            reference_logprobs=self.reference_logprobs,
            importance=importance_weights(old, self.sampler_logprobs, config.importance_cap),
            advantages=self.advantages,
            weights=self.weights * scale,
            response=self.packed.owner,
            responses=len(self.packed.ends),
        )


def _micro_batches(
    batch: Batch, groups: Sequence[int], weights: Sequence[float], engine: Engine
) -> list[tuple[_MicroBatch, float]]:
    """This rank's micro-batches of some groups, each with its share: 1, or 0 if it only fills up the rank."""
    cut = batch.cut(groups, engine.config.micro_batch_tokens)
    dealt = engine.deal(cut or [[0]], own=True)
    return [
        (_MicroBatch(chosen, batch, weights, engine.ranks.device), share if cut else 0.0)
        for chosen, share in dealt
    ]


class _Reference:
    """The starting policy: a copy, or the trained policy with its adapters disabled.

    A copy computes as the policy does, to the last bit: before the first step the KL is 0.
    """

    def __init__(self, net: Any, policy: Path, config: GRPOConfig, engine: Engine) -> None:
        self._net, self._engine, self._config = net, engine, config
        self._copy: PackedPolicy | None = None
        dtype = working_dtype(config.engine.dtype)
        # Without ZeRO the policy has float32 weights, of which the products take a bfloat16 copy.
        self._autocast = dtype == torch.bfloat16 and not config.engine.zero
        if config.beta and config.lora is None:
            copy, _ = load_policy(policy, torch.float32 if self._autocast else dtype)
            if self._autocast:
                _round_products(copy)
            speed_up(copy)
            self._copy = PackedPolicy(copy.to(engine.ranks.device).eval().requires_grad_(False))
            use_attention(self._copy, config.engine.attention)

    @torch.no_grad()
    def logprobs(self, packed: Pack) -> Tensor | None:
        """Log-probabilities [n] of a pack's learned tokens; None if the KL has no weight."""
        if not self._config.beta:
            return None
        if self._copy is not None:
            with torch.autocast(packed.tokens.device.type, torch.bfloat16, enabled=self._autocast):
                copied: Tensor = self._copy(packed, self._config.temperature)
            return copied
        with without_adapters(self._net):
            plain: Tensor = self._engine.forward(packed, self._config.temperature)
            return plain


def _round_products(model: torch.nn.Module) -> None:
    """Stores in bfloat16 what autocast would round to it: linear layers whose weights nobody else reads."""
    read = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and id(module.weight) not in read:
            module.to(torch.bfloat16)
