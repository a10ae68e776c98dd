"""Recipe: GRPO (Paper §3.3), read top to bottom.

Each step draws a group of responses for some problems, shapes a reward from verifier and reward model,
standardizes it inside the group, and takes clipped policy-gradient steps with a KL to the starting policy.
Interpreter tokens are masked. Left out, for now: several processes, another engine for the rollouts.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import torch

from mathloop.records import Mode, read_problems
from mathloop.sampling.judging import judge
from mathloop.sampling.sampler import TransformersSampler, load_model
from mathloop.sampling.scoring import RewardModel, score
from mathloop.stages import Progress, StageReport
from mathloop.training.config import GRPOConfig
from mathloop.training.engine import Engine, thin
from mathloop.training.losses import group_advantages, grpo_loss, shaped_reward, token_logprobs
from mathloop.training.samples import Sample, collate, padding_of
from mathloop.training.saving import save_folder


def run(
    *,
    problems: Path,
    policy: Path,
    reward_model: Path,
    model: Path,
    work: Path,
    config: GRPOConfig,
    seed: int,
) -> StageReport:
    """Trains `policy` on `problems` (all with gold answers) and saves the challenger to `model`.

    Without any such problem the challenger is `policy` itself, with a note. The policy of the loss is the one
    that was sampled, its temperature included. Raises TrainingDiverged when loss or KL is not finite.
    """
    started = time.monotonic()
    pool = [p for p in read_problems(problems) if p.answer is not None]
    net, tokenizer = load_model(policy, torch.float32)

    def write(folder: Path) -> None:
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    if not pool:
        save_folder(model, write)
        note = "No problem was selected, so the challenger is the SFT model: widen selection.least and most."
        return StageReport("grpo", time.monotonic() - started, notes=[note])
    reference, _ = load_model(policy, torch.float32)
    scorer = RewardModel.load(reward_model)
    engine = Engine(net, config.optimizer, config.steps * config.updates, work)
    engine.resume()
    progress = Progress("grpo", config.steps, "steps")
    progress.update(engine.step // config.updates)
    with TransformersSampler(net, tokenizer, config.sampling) as sampler:
        for step in range(engine.step // config.updates, config.steps):
            rng = random.Random(f"grpo-{seed}-{step}")
            chosen = [pool[rng.randrange(len(pool))] for _ in range(config.problems_per_step)]
            mode: Mode = "tir" if rng.random() < config.tir_share else "cot"
            rollouts = sampler.sample(
                chosen,
                mode=mode,
                samples=config.group,
                temperature=config.temperature,
                seed=seed * 65_537 + step,
            )
            verdicts = torch.tensor(
                [
                    float(judge(chosen[i // config.group].answer, r.response).correct is True)
                    for i, r in enumerate(rollouts)
                ],
                device=net.device,
            )
            dialogues = [
                (chosen[i // config.group].problem, mode, r.response.text) for i, r in enumerate(rollouts)
            ]
            scores = torch.tensor(score(*scorer, dialogues), device=net.device)
            rewards = shaped_reward(scores, verdicts, config.alpha).view(-1, config.group)
            advantages = group_advantages(rewards)
            flat = int((advantages == 0).all(1).sum())
            told = {
                "reward": float(rewards.mean()),
                "verifier accuracy": float(verdicts.mean()),
                "RM score": float(scores.mean()),
                "response tokens": sum(r.response.tokens for r in rollouts) / len(rollouts),
                "truncated share": sum(r.response.finish_reason != "stop" for r in rollouts) / len(rollouts),
            }
            batch = [
                Sample(r.prompt_tokens + r.tokens, [False] * len(r.prompt_tokens) + r.sampled)
                for r in rollouts
            ]
            tokens, attention, learned = collate(batch, padding_of(tokenizer), net.device)
            mask = learned[:, 1:]
            with torch.no_grad():
                anchor = token_logprobs(reference(input_ids=tokens).logits / config.temperature, tokens)
            net.train()
            old: torch.Tensor | None = None
            # Before the last update of the batch, which may write the checkpoint.
            engine.counts["groups with no spread"] += flat
            engine.counts["tokens"] += int(attention.sum())
            for update in range(config.updates):
                logprobs = token_logprobs(net(input_ids=tokens).logits / config.temperature, tokens)
                old = logprobs.detach() if old is None else old
                loss, divergence = grpo_loss(
                    logprobs, old, anchor, advantages.flatten(), mask, clip=config.clip, beta=config.beta
                )
                loss.backward()  # type: ignore[no-untyped-call]
                engine.update(
                    checkpoint=update == config.updates - 1,
                    loss=float(loss.detach()),
                    KL=float(divergence),
                    **told,
                )
            progress.update(tokens=int(attention.sum()), reward=told["reward"], KL=float(divergence))

    save_folder(model, write)
    seconds = time.monotonic() - started
    last = {name: sum(v for _, v in curve[-10:]) / len(curve[-10:]) for name, curve in engine.curves.items()}
    return StageReport(
        "grpo",
        seconds,
        taken=len(pool),
        made=config.steps * config.problems_per_step * config.group,
        values={
            "tokens_per_second": engine.counts["tokens"] / engine.seconds,
            "groups with no spread": engine.counts["groups with no spread"],
            **last,
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()},
    )
