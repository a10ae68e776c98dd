"""The plan of a round: every stage's work, memory and time, storage, and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig
from mathloop.models.shapes import SHAPES, Shape, read_shape
from mathloop.planning import findings
from mathloop.planning.assumptions import ASSUMED, Assumptions
from mathloop.planning.fitting import HOST, lacks, need, sequences
from mathloop.planning.timing import Seconds, seconds
from mathloop.planning.work import Work
from mathloop.planning.workload import workload
from mathloop.settings import Settings
from mathloop.training.gpus import GPUS, Gpu
from mathloop.training.memory import FLOAT32, Need
from mathloop.validation import closest

DEFAULT_KIND = "H100"
RESPONSE_BYTES = 4.0
"""Bytes on disk per token of text, verdicts and log-probabilities included, compressed."""
SAMPLED_AT_ONCE = (("writing",), ("cot", "tir"), ("reward_data", "selection"), ("evaluation",))
"""Stages of a round that sample; those of one line depend on the same policy alone."""


@dataclass(frozen=True)
class StagePlan:
    """One stage: its work, its memory on each GPU, its time."""

    work: Work
    gpus: int
    """GPUs that its pods hold."""
    working: int
    """GPUs that do the work."""
    need: Need
    seconds: Seconds
    fits: bool = True
    """Without it there is no time either."""

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds.total / 3600


@dataclass(frozen=True)
class Plan:
    """A round's plan; `fits` if every stage does."""

    profile: str
    model: str
    shape: Shape
    kind: str
    """Kind of GPU; empty for a machine without one."""
    gpu: Gpu
    assumed: Assumptions
    stages: list[StagePlan]
    storage: dict[str, float]
    """What is stored → bytes."""
    misfits: list[str]
    """What does not fit, each with the settings to change."""
    remarks: list[str]
    price: float | None = None
    """Of one GPU-hour."""
    nodes: tuple[int, ...] = ()
    """GPUs of the nodes that a round needs: of both pools together if these select the same nodes."""

    @property
    def rented_hours(self) -> float:
        """GPU-hours of all nodes from the first stage to the last, at work or not."""
        return sum(self.nodes) * self.wall_seconds / 3600

    @property
    def gpu_hours(self) -> float:
        return sum(stage.gpu_hours for stage in self.stages)

    @property
    def wall_seconds(self) -> float:
        return sum(stage.seconds.total for stage in self.stages)


def make_plan(
    settings: Settings,
    gpus: str | None = None,
    *,
    problems: int | None = None,
    price: float | None = None,
    utilization: float | None = None,
) -> Plan:
    """The plan of an improvement round with these settings; needs neither GPU nor model nor network.

    Args:
        gpus: `8xH100` GPUs per node in place of the pools' numbers, `4x8xH100` with the number of training
            nodes too, or a kind alone; None: the pools' numbers of H100.
        problems: training problems, in place of `problems.train`.
        price: of one GPU-hour, in any currency.
        utilization: share of the GPUs' peak that training reaches; None: the model's assumption.

    Raises:
        BadConfig: the kind of GPU or the model is not known.
        BadModel: the model's config.json cannot be read.
    """
    name, shape = find_shape(settings)
    kind, settings = _with_gpus(settings, gpus)
    gpu = GPUS[kind] if kind else HOST
    assumed = ASSUMED.get(name, Assumptions())
    if utilization is not None:
        assumed = replace(assumed, utilization=utilization)
    stages = [_stage(work, settings, shape, gpu, assumed) for work in workload(settings, assumed, problems)]
    return Plan(
        profile=settings.name,
        model=name,
        shape=shape,
        kind=kind,
        gpu=gpu,
        assumed=assumed,
        stages=stages,
        storage=_storage(stages, settings, shape),
        misfits=findings.misfits([s.work for s in stages], settings, shape, gpu, assumed, problems),
        remarks=findings.remarks([s.work for s in stages], settings, shape, gpu),
        price=price,
        nodes=_nodes(settings) if kind else (),
    )


def _nodes(settings: Settings) -> tuple[int, ...]:
    sampler, trainer = settings.pools.sampler, settings.pools.trainer
    gpus = sorted(pool.nodes * max(1, pool.gpus) for pool in (sampler, trainer))
    return tuple(gpus[1:] if sampler.node_selector == trainer.node_selector else gpus)


def find_shape(settings: Settings) -> tuple[str, Shape]:
    """(name of the model, its shape): by its folder's config.json, by the table, or the nano model's."""
    model = settings.model
    if model == "nano":
        config = settings.pretrain  # as pretrain.py builds it
        head = config.hidden // config.heads
        return "nano", Shape(
            config.vocabulary,
            config.hidden,
            3 * config.hidden,
            config.layers,
            config.heads,
            config.heads,
            head,
            tied=True,
            context=1024,
        )
    if "://" not in model and ":" not in model and Path(model).is_dir():
        return Path(model).name, read_shape(Path(model))
    name = re.split(r"[/:]", model.partition("@")[0].rstrip("/"))[-1]
    if name not in SHAPES:
        raise BadConfig(
            f"model {model}: its shape is not known here{closest(name, list(SHAPES))}; known: "
            f"{', '.join(SHAPES)}; or --set model=FOLDER with its config.json"
        )
    return name, SHAPES[name]


def _with_gpus(settings: Settings, gpus: str | None) -> tuple[str, Settings]:
    """(kind, the settings with these numbers of GPUs in both pools)."""
    pools = settings.pools
    if gpus is None:
        there = pools.trainer.gpus or pools.sampler.gpus
        return (DEFAULT_KIND if there else ""), settings
    *numbers, kind = gpus.split("x")
    if kind not in GPUS:
        raise BadConfig(
            f"--gpus {gpus}: {kind!r} is no kind of GPU{closest(kind, list(GPUS))}; known: {', '.join(GPUS)}"
        )
    if len(numbers) > 2 or not all(re.fullmatch(r"[1-9][0-9]{0,3}", number) for number in numbers):
        raise BadConfig(f"--gpus {gpus}: expected 8xH100, 4x8xH100 (4 nodes of 8) or H100")
    update: dict[str, Any] = {}
    each = int(numbers[-1]) if numbers else max(1, pools.trainer.gpus)
    nodes = int(numbers[0]) if len(numbers) == 2 else pools.trainer.nodes
    for pool in ("trainer", "sampler"):
        most = each if pool == "trainer" or numbers else max(1, pools.sampler.gpus)
        changes: dict[str, Any] = {"gpus": most}
        if pool == "trainer":
            changes["nodes"] = nodes
        update[pool] = getattr(pools, pool).model_copy(update=changes)
    return kind, settings.model_copy(update={"pools": pools.model_copy(update=update)})


def _stage(work: Work, settings: Settings, shape: Shape, gpu: Gpu, assumed: Assumptions) -> StagePlan:
    held, working = findings.gpus_of(work, settings)
    wanted = need(work, settings, shape, gpu, working)
    if gpu is HOST:
        return StagePlan(work, 0, 0, wanted, Seconds())
    if lacks(work, settings, shape, gpu, working):
        return StagePlan(work, held, working, wanted, Seconds(), fits=False)
    pods = 1 if work.engine else findings.pods_of(work.stage, settings)
    starts = findings.starts_of(work, settings)
    took = seconds(work, shape, gpu, working, sequences(work, shape, gpu), assumed, pods, starts)
    return StagePlan(work, held, working, wanted, took)


def _storage(stages: Sequence[StagePlan], settings: Settings, shape: Shape) -> dict[str, float]:
    """Bytes that a round leaves, and those that it needs while it runs."""
    optimizer = max((s.work.engine.keep for s in stages if s.work.engine), default=0)
    text = sum(s.work.prompted + s.work.written for s in stages)
    shared = {} if settings.pools.sampler.nodes == 1 else _shared(stages, settings, shape)
    policy = float(FLOAT32 * shape.parameters)
    reward_model = float(FLOAT32 * shape.reward_parameters)
    return {
        "a first round's base model, made and published": 2 * policy,
        "policies: the champion's copy, SFT's, the challenger": (3 + settings.sft.earlier) * policy,
        "reward model": reward_model,
        "both again, if published": policy + reward_model,
        "responses": RESPONSE_BYTES * text,
        f"checkpoints while training ({optimizer} of weights and moments)": optimizer * 3 * policy,
        **shared,
    }


def _shared(stages: Sequence[StagePlan], settings: Settings, shape: Shape) -> dict[str, float]:
    """Bytes in the store while several pods share a stage: stages of one line run at the same time."""
    works = {s.work.stage: s.work for s in stages if findings.pods_of(s.work.stage, settings) > 1}
    at_once = [[works[name] for name in line if name in works] for line in SAMPLED_AT_ONCE]
    rewarding = 1 + bool(settings.reward_data.champion_samples) + settings.sft.earlier
    sent = {"evaluation": 3, "reward_data": rewarding}
    return {
        "shards of several sampler pods, until a stage has read them": max(
            sum(RESPONSE_BYTES * work.written for work in line) for line in at_once
        ),
        "copies of models for them, while they sample": max(
            sum(
                float(FLOAT32)
                * (sent.get(w.stage, 1) * shape.parameters + bool(w.scored) * shape.reward_parameters)
                for w in line
            )
            for line in at_once
        ),
    }
