"""Recipe: GRPO (Paper §3.3), read top to bottom.

Each step draws a group of responses for some problems, shapes a reward from verifier and reward model,
standardizes it inside the group, and takes clipped policy-gradient steps with a KL to the starting policy.
Interpreter tokens are masked; a group whose rewards are all alike teaches nothing and costs no pass.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathloop.curves import thin
from mathloop.errors import BadConfig
from mathloop.records import read_problems
from mathloop.sampling.sampler import load_model
from mathloop.sampling.scoring import RewardModel
from mathloop.stages import Progress, StageReport
from mathloop.training.adapters import add_adapters, without_adapters
from mathloop.training.config import GRPOConfig
from mathloop.training.engine import Engine
from mathloop.training.linear import speed_up
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.losses import grpo_loss, importance_weights
from mathloop.training.order import name_data
from mathloop.training.packing import Pack, pack
from mathloop.training.rollouts import Batch, choose, collect, join_rollouts, log_rollouts
from mathloop.training.samplers import begin_sampler, drawing
from mathloop.training.saving import save_model, save_policy


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

    Every rollout goes to `rollouts`, a Parquet file, if it is given, with its verdict, rewards and advantage.
    Without any problem the challenger is `policy` itself, with a note. The policy of the loss is the one that
    was sampled, its temperature included.

    Raises:
        TrainingDiverged: loss, KL or gradient is not finite.
        BadConfig: the groups cannot be dealt evenly to ranks and mini-batches.
    """
    started = time.monotonic()
    pool = [p for p in read_problems(problems) if p.answer is not None]
    net, tokenizer = load_model(policy, torch.float32)
    if not pool:
        save_model(model, net, tokenizer)
        if rollouts is not None:
            join_rollouts(work, rollouts)
        note = "No problem was selected, so the challenger is the SFT model: widen selection.least and most."
        return StageReport("grpo", time.monotonic() - started, notes=[note])
    per_batch = config.mini_batches * config.epochs_per_batch
    data = name_data(f"{p.id}\0{p.problem}\0{p.answer}".encode() for p in pool)
    torch.manual_seed(seed)  # adapters begin at random: alike after a kill and on every rank
    with ExitStack() as stack:
        module = PackedPolicy(add_adapters(net, config.lora))
        engine = stack.enter_context(
            Engine(module, config, config.steps * per_batch, work, recipe="grpo", seed=seed, data=data)
        )
        _check_even(config, engine.ranks.world)
        reference = _Reference(net, policy, config, engine)
        scorer = RewardModel.load(reward_model)
        sampler = stack.enter_context(begin_sampler(policy, net, tokenizer, config.sampling))
        progress = Progress("grpo", config.steps, "steps")
        progress.update(engine.step // per_batch)
        for step in range(engine.step // per_batch, config.steps):
            chosen, mode = choose(pool, step, config, seed)
            with engine.whole(), drawing(sampler, net):
                batch = collect(chosen, mode, sampler, scorer, config, engine.ranks, step=step, seed=seed)
            net.train()
            log_rollouts(work, batch, step, engine.ranks.rank, engine.ranks.world)
            engine.counts["zero-variance groups"] += int(engine.ranks.total(batch.flat)[0])
            values = _learn(engine, reference, batch, config)
            progress.update(
                tokens=round(values["response tokens"] * config.problems_per_step * config.group_size),
                reward=values["reward"],
                KL=values["KL"],
            )
        save_policy(model, engine, net, tokenizer)
        if rollouts is not None and engine.ranks.first:
            join_rollouts(work, rollouts)
    last = {name: sum(v for _, v in curve[-10:]) / len(curve[-10:]) for name, curve in engine.curves.items()}
    return StageReport(
        "grpo",
        time.monotonic() - started,
        taken=len(pool),
        made=config.steps * config.problems_per_step * config.group_size,
        values={**last, **engine.summary(), "zero-variance groups": engine.counts["zero-variance groups"]},
        curves={name: thin(curve) for name, curve in engine.curves.items()},
        notes=engine.notes,
    )


def _learn(engine: Engine, reference: _Reference, batch: Batch, config: GRPOConfig) -> dict[str, float]:
    """All updates of one rollout batch; returns the last one's values."""
    device = engine.ranks.device
    advantages = batch.advantages.to(device)
    values: dict[str, float] = {}
    # Each update takes its share of the groups; what the policy thought before the first is kept for all.
    parts = []
    for update in range(config.mini_batches):
        groups = range(update, batch.groups, config.mini_batches)
        cut = batch.pieces(groups, engine.config.micro_batch_tokens)
        dealt = list(engine.deal(cut or [[0]], own=True))
        parts.append([(_Piece(chosen, batch, device), share if cut else 0.0) for chosen, share in dealt])
    # What is watched is a mean over learned tokens; groups that teach nothing have none.
    learned = engine.ranks.total(
        *(sum(float(piece.packed.weights.sum()) * share for piece, share in pieces) for pieces in parts)
    )
    for pieces in parts:
        for piece, _ in pieces:
            piece.reference = reference.logprobs(piece.packed)
            if config.mini_batches * config.epochs_per_batch > 1:
                with torch.no_grad():
                    piece.old = engine.forward(piece.packed, config.temperature)
    for turn in range(config.epochs_per_batch):
        for update, pieces in enumerate(parts):
            told = dict.fromkeys(("loss", "KL", "clipped share", "sampler ratio"), 0.0)
            tokens, whole = 0.0, max(learned[update] * config.mini_batches, 1e-9)
            for piece, share in pieces:
                logprobs = engine.forward(piece.packed, config.temperature)
                old = logprobs.detach() if piece.old is None else piece.old
                importance = importance_weights(old, piece.sampler_logprobs, config.importance_cap)
                weights = piece.packed.weights * (share * config.mini_batches)
                loss, divergence, bound = grpo_loss(
                    logprobs,
                    old,
                    advantages[piece.owner],
                    weights,
                    clip=config.clip,
                    beta=config.beta,
                    reference_logprobs=piece.reference,
                    importance=importance,
                )
                engine.backward(loss)
                told["loss"] += loss.item()
                told["KL"] += divergence.item() / whole
                told["clipped share"] += bound.item() / whole
                told["sampler ratio"] += float((importance * weights).sum()) / whole
                tokens += piece.packed.count * share
            final = turn == config.epochs_per_batch - 1 and update == config.mini_batches - 1
            values = engine.update(checkpoint=final, tokens=round(tokens), **told, **batch.values)
    return values


class _Piece:
    """A micro-batch of rollouts, with what stays the same through all updates."""

    def __init__(self, chosen: list[int], batch: Batch, device: torch.device) -> None:
        self.packed: Pack = pack([batch.samples[i] for i in chosen], device, share_prompts=True)
        self.owner = torch.tensor(chosen, device=device)[self.packed.owner]
        written = [value for i in chosen for value in batch.sampler_logprobs[i]]
        self.sampler_logprobs = torch.tensor(written, dtype=torch.float32, device=device)
        self.old: Tensor | None = None
        self.reference: Tensor | None = None


class _Reference:
    """The starting policy: another copy, or the same weights without their adapters."""

    def __init__(self, net: Any, policy: Path, config: GRPOConfig, engine: Engine) -> None:
        self._net, self._engine, self._config = net, engine, config
        self._copy: PackedPolicy | None = None
        if config.beta and config.lora is None:
            copy, _ = load_model(policy, getattr(torch, config.engine.dtype))
            speed_up(copy)
            self._copy = PackedPolicy(copy.to(engine.ranks.device).eval().requires_grad_(False))

    @torch.no_grad()
    def logprobs(self, packed: Pack) -> Tensor | None:
        """Log-probabilities [n] of a pack's learned tokens; None where no KL is asked for."""
        if not self._config.beta:
            return None
        if self._copy is not None:
            kept: Tensor = self._copy(packed, self._config.temperature)
            return kept
        with without_adapters(self._net):
            plain: Tensor = self._engine.forward(packed, self._config.temperature)
            return plain


def _check_even(config: GRPOConfig, world: int) -> None:
    if config.problems_per_step % (world * config.mini_batches):
        raise BadConfig(
            f"grpo.problems_per_step={config.problems_per_step} cannot be dealt evenly to {world} "
            f"process{'es' if world > 1 else ''} and mini_batches={config.mini_batches}: "
            f"take a multiple of {world * config.mini_batches}"
        )
