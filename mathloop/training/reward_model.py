"""Recipe: the reward model, all responses of a problem in one forward, listwise loss (Paper §3.2)."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from pathlib import Path

import torch

from mathloop.records import Response, read_problems, read_responses
from mathloop.sampling.sampler import load_model
from mathloop.sampling.scoring import RewardModel, dialogue_tokens, pad
from mathloop.stages import Progress, StageReport
from mathloop.training.config import RewardModelConfig
from mathloop.training.engine import Engine, order, thin
from mathloop.training.losses import listwise_reward_loss
from mathloop.training.saving import save_folder


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
    accuracy is measured on held-out problems. With fewer than two problems that have both there is nothing
    to learn, and the model scores every response 0, with a note.
    """
    started = time.monotonic()
    told, families = {}, {}
    for p in read_problems(problems):
        told[p.id], families[p.id] = p.problem, p.parent or p.id
    groups: dict[str, list[Response]] = defaultdict(list)
    for response in read_responses(responses):
        if response.problem_id in told and response.correct is not None:
            groups[response.problem_id].append(response)
    usable = {k: g for k, g in groups.items() if 0 < sum(bool(r.correct) for r in g) < len(g)}
    torch.manual_seed(seed)
    net, tokenizer = RewardModel.from_policy(policy)

    def write(folder: Path) -> None:
        around, _ = load_model(policy, torch.float32)
        around.model.load_state_dict(net.backbone.state_dict())
        net.save(folder, around, tokenizer)

    one_sided = sum(len(g) for k, g in groups.items() if k not in usable)
    dropped = {"problem is all right or all wrong": one_sided}
    taken = sum(map(len, groups.values()))
    if len(usable) < 2:
        with torch.no_grad():
            for parameter in net.head[-1].parameters():
                parameter.zero_()
        save_folder(model, write)
        note = "Fewer than two problems have right and wrong responses: the reward model scores all alike."
        return StageReport(
            "reward_model", time.monotonic() - started, taken=taken, dropped=dropped, notes=[note]
        )
    # Variations of one problem stay on one side, or the held-out ones would be known.
    kinds = sorted({families[name] for name in usable})
    random.Random(f"reward-{seed}").shuffle(kinds)
    place = {kind: at for at, kind in enumerate(kinds)}
    names = sorted(usable, key=lambda name: (place[families[name]], name))
    held = max(1, round(config.heldout_share * len(names)))
    while held + 1 < len(names) and families[names[held]] == families[names[held - 1]]:
        held += 1
    rows = {
        name: [
            dialogue_tokens(tokenizer, told[name], r.mode, r.text, config.max_tokens) for r in usable[name]
        ]
        for name in names
    }
    train = names[held:]
    lengths = [max(map(len, rows[name])) for name in train]
    steps = config.epochs * max(1, len(train) // config.batch_size)
    engine = Engine(net.train(), config.optimizer, steps, work)
    engine.resume()
    progress = Progress("reward_model", steps, "steps")
    progress.update(engine.step)
    while engine.step < steps:
        scores, right, problem, count = _forward(
            net, [train[i] for i in order(lengths, config.batch_size, engine.step, seed)], rows, usable
        )
        loss = listwise_reward_loss(scores, right, problem)
        loss.backward()  # type: ignore[no-untyped-call]
        engine.update(loss=loss.item())
        engine.counts["tokens"] += count
        progress.update(tokens=count, loss=loss.item())
    net.eval()
    ordered = pairs = 0
    with torch.inference_mode():
        for start in range(0, held, config.batch_size):
            scores, right, problem, _ = _forward(
                net, names[start : min(held, start + config.batch_size)], rows, usable
            )
            mask = right[:, None] & ~right[None, :] & (problem[:, None] == problem[None, :])
            ordered += int(((scores[:, None] > scores[None, :]) & mask).sum())
            pairs += int(mask.sum())

    save_folder(model, write)
    seconds = time.monotonic() - started
    return StageReport(
        "reward_model",
        seconds,
        taken=taken,
        kept=sum(map(len, usable.values())),
        dropped=dropped,
        values={
            "pair accuracy on held-out problems": ordered / max(1, pairs),
            "held-out pairs": pairs,
            "tokens_per_second": engine.counts["tokens"] / engine.seconds,
            "loss": engine.curves["loss"][-1][1],
        },
        curves={name: thin(curve) for name, curve in engine.curves.items()},
    )


def _forward(
    net: RewardModel, names: list[str], rows: dict[str, list[list[int]]], groups: dict[str, list[Response]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """(scores, right, problem index) of all responses of `names`, each [responses]; and how many tokens."""
    device = next(net.parameters()).device
    tokens, attention = pad([row for name in names for row in rows[name]], device)
    right = torch.tensor([bool(r.correct) for name in names for r in groups[name]], device=device)
    problem = torch.tensor([at for at, name in enumerate(names) for _ in groups[name]], device=device)
    return net(tokens, attention), right, problem, int(attention.sum())
