"""Recipe: the reward model, all responses of a problem in one forward pass, listwise loss (Paper §3.2)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.curves import thin
from mathloop.models.packing import Pack, Sample, micro_batches, pack
from mathloop.models.reward_model import RewardModel
from mathloop.models.saving import save_folder
from mathloop.records import Drops, Problem, Response, open_drops, read_problems, read_responses
from mathloop.sampling.scoring import dialogue_tokens, share_prefix
from mathloop.stages import Progress, StageReport, timed
from mathloop.training.calibration import Calibration, calibrate
from mathloop.training.capacity import check_recipe
from mathloop.training.config import RewardModelConfig
from mathloop.training.engine import Engine
from mathloop.training.losses import listwise_reward_loss
from mathloop.training.order import batch_of, hash_data, steps_of
from mathloop.training.ranks import join_ranks
from mathloop.training.sharded import new_trainable_reward_model, whole_weights


@dataclass(frozen=True)
class Group:
    """One problem's responses: some correct, some wrong."""

    samples: list[Sample]
    right: list[bool]

    @property
    def tokens(self) -> int:
        """Tokens of all responses, with their common prefix counted once."""
        shared = self.samples[0].prompt
        return shared + sum(len(sample.tokens) - shared for sample in self.samples)


class PackedRewardModel(nn.Module):
    """Gives a reward model's weights the names that checkpoints have."""

    def __init__(self, model: RewardModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, packed: Pack) -> Tensor:
        """Scores (logits) [samples], float32."""
        scores: Tensor = self.model(packed)
        return scores


@timed
def run(
    *,
    problems: Path,
    responses: Path,
    policy: Path,
    model: Path,
    work: Path,
    config: RewardModelConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Fits a scalar head and the policy's backbone to the verifier's verdicts.

    Problems whose responses are all correct or all wrong have no pair and are dropped. Pair accuracy and
    calibration are measured on held-out problems. With fewer than two problems that have both there are too
    few pairs: the model gives every response the score 0, with a note. `dropped` becomes JSON lines of the
    responses that are not used, each with the reason.
    """
    ranks = join_ranks()  # sets this process's GPU, onto which models are loaded
    check_recipe("reward_model", policy, config, ranks)
    torch.manual_seed(seed)
    net, tokenizer = new_trainable_reward_model(policy, config.engine, ranks)
    with open_drops(dropped if ranks.first else None) as drops:
        read, taken = _read_responses(problems, responses, drops)
    groups, held_out = _split_groups(read, tokenizer, config, seed)

    def save(trained: dict[str, Tensor]) -> None:
        save_folder(model, lambda folder: net.save(folder, tokenizer, trained))

    if not groups:
        for parameter in net.head[-1].parameters():
            nn.init.zeros_(parameter)
        weights = whole_weights(net, ranks)
        if ranks.first:
            save(weights)
        ranks.barrier()
        note = "Not enough pairs to train on, so the reward model gives every response the score 0."
        return StageReport("reward_model", inputs=taken, dropped=drops.counts, notes=[note])
    batch_size = min(config.batch_size, len(groups))
    steps = steps_of(len(groups), batch_size, config.epochs)
    data = hash_data(s.tokens for group in groups for s in group.samples)
    module = PackedRewardModel(net)
    with Engine(module, config, steps, work, recipe="reward_model", seed=seed, data=data) as engine:
        progress = Progress("reward_model", steps, "steps")
        progress.update(engine.step)
        while engine.step < steps:
            batch = [groups[i] for i in batch_of(len(groups), batch_size, engine.step, seed)]
            values = _learn(engine, batch)
            progress.update(tokens=sum(group.tokens for group in batch), loss=values["loss"])
        calibration = _measure(engine, held_out)
        trained = {name.removeprefix("model."): whole.cpu() for name, whole in engine.weights()}
        if engine.ranks.first:
            save(trained)
        engine.ranks.barrier()
    return StageReport(
        "reward_model",
        inputs=taken,
        kept=sum(len(group.right) for group in (*groups, *held_out)),
        dropped=drops.counts,
        values={
            "pair accuracy on held-out problems": calibration.accuracy,
            "held-out pairs": calibration.pairs,
            "calibration error on held-out pairs": calibration.error,
            **engine.summary(),
            "loss": engine.curves["loss"][-1][1],
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()}
        | {"calibration: share right over predicted": calibration.curve},
        notes=engine.notes,
    )


def _learn(engine: Engine, batch: Sequence[Group]) -> dict[str, float]:
    """One step: the mean over the problems of the batch of each problem's mean over its pairs."""
    value, tokens = 0.0, 0.0
    for chosen, weight in engine.deal(
        micro_batches([group.tokens for group in batch], engine.config.micro_batch_tokens)
    ):
        some = [batch[i] for i in chosen]
        scores, right, problem, count = _scores(engine, some)
        loss = listwise_reward_loss(scores, right, problem) * (len(some) * weight / len(batch))
        engine.backward(loss)
        value += loss.item()
        tokens += count * weight
    return engine.update(tokens=round(tokens), loss=value)


def _scores(engine: Engine, groups: Sequence[Group]) -> tuple[Tensor, Tensor, Tensor, int]:
    """(scores, right, problem index) of all responses, each [responses]; and their number of tokens."""
    device = engine.ranks.device
    packed = pack([s for group in groups for s in group.samples], device, share_prompts=True)
    right = torch.tensor([r for group in groups for r in group.right], device=device)
    problem = torch.tensor([i for i, group in enumerate(groups) for _ in group.right], device=device)
    return engine.forward(packed), right, problem, packed.count


@torch.no_grad()
def _measure(engine: Engine, groups: Sequence[Group]) -> Calibration:
    """Calibration over all pairs of a correct and a wrong response to one problem."""
    margins: list[float] = []
    for chosen in micro_batches([group.tokens for group in groups], engine.config.micro_batch_tokens):
        scores, right, problem, _ = _scores(engine, [groups[i] for i in chosen])
        pairs = right[:, None] & ~right[None, :] & (problem[:, None] == problem[None, :])
        margins += (scores[:, None] - scores[None, :])[pairs].tolist()
    return calibrate(margins)


def _read_responses(
    problems: Path, responses: Path, drops: Drops
) -> tuple[dict[Problem, list[Response]], int]:
    """Problem → its labeled responses, correct and wrong ones; and the number of responses read."""
    known = {problem.id: problem for problem in read_problems(problems)}
    read: dict[str, list[Response]] = defaultdict(list)
    taken = 0
    for response in read_responses(responses):
        taken += 1
        if response.problem_id not in known:
            drops.add("its problem was removed", response)
        elif response.correct is None:
            drops.add("no verdict", response, problem=known[response.problem_id].problem)
        else:
            read[response.problem_id].append(response)
    usable = {}
    for name, group in read.items():
        if len({response.correct for response in group}) == 2:
            usable[known[name]] = group
            continue
        for response in group:
            reason = "its problem's responses are all right or all wrong"
            drops.add(reason, response, problem=known[name].problem)
    return usable, taken


def _split_groups(
    read: dict[Problem, list[Response]], tokenizer: Any, config: RewardModelConfig, seed: int
) -> tuple[list[Group], list[Group]]:
    """(train, held out), both empty if there are fewer than two problems."""
    if len(read) < 2:
        return [], []
    # Variations of one problem stay on one side, or the training set would leak into the held-out one.
    families = sorted({_family(problem) for problem in read})
    random.Random(f"reward-{seed}").shuffle(families)
    place = {family: at for at, family in enumerate(families)}
    problems = sorted(read, key=lambda problem: (place[_family(problem)], problem.id))
    cut = max(1, round(config.heldout_share * len(problems)))
    while cut + 1 < len(problems) and _family(problems[cut]) == _family(problems[cut - 1]):
        cut += 1
    groups = []
    for problem in problems:
        rows = [
            dialogue_tokens(tokenizer, problem.problem, r.mode, r.text, config.max_tokens)
            for r in read[problem]
        ]
        groups.append(Group(share_prefix(rows), [bool(r.correct) for r in read[problem]]))
    return groups[cut:], groups[:cut]


def _family(problem: Problem) -> str:
    return problem.parent or problem.id
