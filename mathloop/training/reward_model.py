"""Recipe: the reward model, all responses of a problem in one forward, listwise loss (Paper §3.2)."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.curves import thin
from mathloop.records import Response, read_problems, read_responses
from mathloop.sampling.sampler import load_model
from mathloop.sampling.scoring import RewardModel, dialogue_tokens
from mathloop.stages import Progress, StageReport
from mathloop.training.attention import hidden_states
from mathloop.training.calibration import Calibration, calibrate
from mathloop.training.config import RewardModelConfig
from mathloop.training.engine import Engine
from mathloop.training.losses import listwise_reward_loss
from mathloop.training.order import batch_of, name_data, steps_of
from mathloop.training.packing import Pack, micro_batches, pack
from mathloop.training.samples import Sample
from mathloop.training.saving import save_folder


@dataclass(frozen=True)
class Group:
    """One problem's responses: some right, some wrong."""

    samples: list[Sample]
    right: list[bool]

    @property
    def tokens(self) -> int:
        """Tokens of all, their common beginning counted once."""
        shared = self.samples[0].prompt
        return shared + sum(len(sample.tokens) - shared for sample in self.samples)


class PackedRewardModel(nn.Module):
    """A reward model whose `forward` takes a pack: one score for each of its samples."""

    def __init__(self, model: RewardModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, packed: Pack) -> Tensor:
        """Scores (logits) [samples], float32."""
        states = hidden_states(self.model.backbone, packed)
        head = self.model.head
        scores: Tensor = head(states[packed.ends].to(next(head.parameters()).dtype))[:, 0]
        return scores.float()


def run(
    *,
    problems: Path,
    responses: Path,
    policy: Path,
    model: Path,
    work: Path,
    config: RewardModelConfig,
    seed: int,
) -> StageReport:
    """Fits a scalar head and the policy's backbone to the verifier's verdicts.

    Problems whose responses are all right or all wrong have no pair and are dropped and counted. Pair
    accuracy and calibration are measured on held-out problems. With fewer than two problems that have both
    there is nothing to learn, and the model scores every response 0, with a note.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    net, tokenizer = RewardModel.from_policy(policy)
    groups, held_out, taken, dropped = _read_groups(problems, responses, tokenizer, config, seed)

    def save(trained: dict[str, Tensor]) -> None:
        around, _ = load_model(policy, torch.float32)
        whole = RewardModel(around.base_model, around.config.hidden_size)
        whole.load_state_dict(trained)
        save_folder(model, lambda folder: whole.save(folder, around, tokenizer))

    if not groups:
        for parameter in net.head[-1].parameters():
            nn.init.zeros_(parameter)
        save(net.state_dict())
        note = "Fewer than two problems have right and wrong responses: the reward model scores all alike."
        seconds = time.monotonic() - started
        return StageReport("reward_model", seconds, taken=taken, dropped=dropped, notes=[note])
    batch_size = min(config.batch_size, len(groups))
    steps = steps_of(len(groups), batch_size, config.epochs)
    data = name_data(s.tokens for group in groups for s in group.samples)
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
        engine.ranks.wait()
    return StageReport(
        "reward_model",
        time.monotonic() - started,
        taken=taken,
        kept=sum(len(group.right) for group in (*groups, *held_out)),
        dropped=dropped,
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
    for chosen, share in engine.deal(
        micro_batches([group.tokens for group in batch], engine.config.micro_batch_tokens)
    ):
        some = [batch[i] for i in chosen]
        scores, right, problem, count = _scores(engine, some)
        loss = listwise_reward_loss(scores, right, problem) * (len(some) * share / len(batch))
        engine.backward(loss)
        value += loss.item()
        tokens += count * share
    return engine.update(tokens=round(tokens), loss=value)


def _scores(engine: Engine, groups: Sequence[Group]) -> tuple[Tensor, Tensor, Tensor, int]:
    """(scores, right, problem index) of all responses, each [responses]; and how many tokens they have."""
    device = engine.ranks.device
    packed = pack([s for group in groups for s in group.samples], device, share_prompts=True)
    right = torch.tensor([r for group in groups for r in group.right], device=device)
    problem = torch.tensor([i for i, group in enumerate(groups) for _ in group.right], device=device)
    return engine.forward(packed), right, problem, packed.count


@torch.no_grad()
def _measure(engine: Engine, groups: Sequence[Group]) -> Calibration:
    """Of every pair of a right and a wrong response to one problem: how much higher the right one scores."""
    margins: list[float] = []
    for chosen in micro_batches([group.tokens for group in groups], engine.config.micro_batch_tokens):
        scores, right, problem, _ = _scores(engine, [groups[i] for i in chosen])
        pairs = right[:, None] & ~right[None, :] & (problem[:, None] == problem[None, :])
        margins += (scores[:, None] - scores[None, :])[pairs].tolist()
    return calibrate(margins)


def _read_groups(
    problems: Path, responses: Path, tokenizer: Any, config: RewardModelConfig, seed: int
) -> tuple[list[Group], list[Group], int, dict[str, int]]:
    """(train, held out, responses read, dropped); variations of one problem stay on one side."""
    told, families = {}, {}
    for p in read_problems(problems):
        told[p.id], families[p.id] = p.problem, p.parent or p.id
    read: dict[str, list[Response]] = defaultdict(list)
    for response in read_responses(responses):
        if response.problem_id in told and response.correct is not None:
            read[response.problem_id].append(response)
    usable = {name: group for name, group in read.items() if len({r.correct for r in group}) == 2}
    dropped = {"problem is all right or all wrong": sum(len(read[name]) for name in read.keys() - usable)}
    taken = sum(map(len, read.values()))
    if len(usable) < 2:
        return [], [], taken, dropped
    # Variations of one problem stay on one side, or the held-out ones would be known.
    kinds = sorted({families[name] for name in usable})
    random.Random(f"reward-{seed}").shuffle(kinds)
    place = {kind: at for at, kind in enumerate(kinds)}
    names = sorted(usable, key=lambda name: (place[families[name]], name))
    held = max(1, round(config.heldout_share * len(names)))
    while held + 1 < len(names) and families[names[held]] == families[names[held - 1]]:
        held += 1
    groups = []
    for name in names:
        rows = [
            dialogue_tokens(tokenizer, told[name], r.mode, r.text, config.max_tokens) for r in usable[name]
        ]
        shared = min(_common(rows), min(map(len, rows)) - 1)
        samples = [Sample(row, [0.0] * len(row), shared) for row in rows]
        groups.append(Group(samples, [bool(r.correct) for r in usable[name]]))
    return groups[held:], groups[:held], taken, dropped


def _common(rows: Sequence[Sequence[int]]) -> int:
    """Tokens with which all rows begin alike."""
    columns = zip(*rows, strict=False)  # up to the shortest
    return next((i for i, column in enumerate(columns) if len(set(column)) > 1), min(map(len, rows)))
