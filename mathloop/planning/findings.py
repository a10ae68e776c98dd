"""What of a plan does not fit, and the settings that would make it fit; remarks on what runs but wastes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mathloop.errors import BadConfig
from mathloop.models.shapes import Shape
from mathloop.planning.assumptions import Assumptions
from mathloop.planning.fitting import HOST, candidates, change, lacks, sequences, usable
from mathloop.planning.work import Work
from mathloop.planning.workload import measured_problems, workload
from mathloop.settings import Settings
from mathloop.settings.one_pod import needs_one_pod
from mathloop.training.dealing import parts_per_group
from mathloop.training.gpus import GPUS, Gpu
from mathloop.training.memory import BFLOAT16

NODES = (1, 2, 4, 8, 16, 32)
"""Numbers of training nodes that are tried."""
Change = tuple[str, Any]


def gpus_of(work: Work, settings: Settings) -> tuple[int, int]:
    """(GPUs that the stage's pods hold, GPUs that do its work)."""
    pool = getattr(settings.pools, work.pool)
    each_pod = max(1, pool.gpus)
    if work.engine is None:
        assert work.sampling is not None
        pods = pods_of(work.stage, settings)
        each = work.sampling.tensor_parallel
        return each_pod * pods, each * (work.sampling.engines or max(1, each_pod // each)) * pods
    held = each_pod * pool.nodes
    own = work.engine.processes * pool.nodes
    return held, own or held


def pods_of(stage: str, settings: Settings) -> int:
    """Pods of a sampling stage: the nodes of its pool share what it samples, unless its settings need one."""
    return 1 if needs_one_pod(settings, stage) else settings.pools.sampler.nodes


def starts_of(work: Work, settings: Settings) -> float:
    """Times that each pod begins to sample anew and waits for the longest response: its passes or shards."""
    if work.engine is not None or (pods := pods_of(work.stage, settings)) == 1:
        return work.batches
    return max(1.0, work.batches / pods, work.samples / settings.pools.sampler.shard_responses / pods)


def misfits(
    works: Sequence[Work],
    settings: Settings,
    shape: Shape,
    gpu: Gpu,
    assumed: Assumptions,
    problems: int | None,
) -> list[str]:
    """One sentence per stage that cannot run so, with the settings to change."""
    if gpu is HOST:
        return []
    found = []
    for work in works:
        _, world = gpus_of(work, settings)
        if lack := lacks(work, settings, shape, gpu, world):
            remedy = _remedy(work, settings, shape, gpu, assumed, problems)
            found.append(f"{work.stage} {lack}: {remedy}")
        if work.sampling is not None and work.longest > shape.context:
            most = shape.context - round(assumed.prompt)
            found.append(
                f"{work.stage}: a prompt of {assumed.prompt:.0f} tokens and {work.stage}.sampling.max_tokens="
                f"{work.sampling.max_tokens} exceed the model's context of {shape.context}: lower it to "
                f"{most} or less"
            )
    _, world = gpus_of(next(w for w in works if w.stage == "grpo"), settings)
    try:
        parts_per_group(settings.grpo, world)
    except BadConfig as error:
        found.append(str(error))
    return found


def remarks(works: Sequence[Work], settings: Settings, shape: Shape, gpu: Gpu) -> list[str]:
    """Sentences on what runs, but not well, and on what is not counted."""
    said = []
    idle = [work.stage for work in works if gpus_of(work, settings)[0] > gpus_of(work, settings)[1]]
    if gpu is not HOST and idle:
        held, _ = gpus_of(next(w for w in works if w.stage == idle[0]), settings)
        said.append(
            f"{', '.join(idle)}: engines and tensor_parallel leave some of the pod's {held} GPUs idle"
        )
    if gpu is HOST:
        said.append(
            "No GPUs in this profile's pools: times are those of a machine; --gpus 8xH100 plans some."
        )
    else:
        slow = [w.stage for w in works if w.sampling is not None and w.sampling.engine == "transformers"]
        if slow:
            said.append(
                f"{', '.join(slow)}: engine transformers decodes batches to their longest response; set "
                "sampling.engine to vllm"
            )
        for work in works:
            if work.sampling is not None and work.sampling.engine == "vllm":
                if lacks(work, settings, shape, gpu, gpus_of(work, settings)[1]):
                    continue
                there = sequences(work, shape, gpu)
                if there < work.sampling.batch_size / 2:
                    said.append(
                        f"{work.stage}: vLLM's cache holds {there:.0f} responses of mean length, "
                        f"sampling.batch_size is {work.sampling.batch_size}"
                    )
    if settings.writing.endpoint and (texts := len(settings.writing.templates) * settings.writing.count):
        server = settings.writing.endpoint
        said.append(f"writing: {texts:,} texts are asked of {server}, whose time is not counted")
    if unknown := measured_problems(settings)[1]:
        said.append(f"evaluation: {', '.join(unknown)} are counted as empty: their size is not recorded")
    return said


def _remedy(
    work: Work, settings: Settings, shape: Shape, gpu: Gpu, assumed: Assumptions, problems: int | None
) -> str:
    def fits(changes: Sequence[Change], on: Gpu = gpu) -> bool:
        changed = settings
        for path, value in changes:
            changed = change(changed, path, value)
        again = next(w for w in workload(changed, assumed, problems) if w.stage == work.stage)
        return not lacks(again, changed, shape, on, gpus_of(again, changed)[1])

    changes: list[Change] = []
    tried = [changes]
    for one in candidates(work, settings):
        changes = [*(c for c in changes if c[0] != one[0]), one]
        tried.append(changes)
        if fits(changes):
            return f"set {_shown(_least(changes, fits))}"
    if work.engine is not None:
        offloads = [(f"{work.stage}.engine.offload", what) for what in ("optimizer", "parameters")]
        nodes = [("pools.trainer.nodes", n) for n in NODES if n > settings.pools.trainer.nodes]
        for one in (*offloads, *nodes):  # slower on the same GPUs, or more of them
            for before in tried:
                if fits([*before, one]):
                    return f"set {_shown(_least([*before, one], fits))}"
    larger = [kind for kind, other in GPUS.items() if other.memory > gpu.memory and fits(changes, other)]
    if larger:
        changes = _least(changes, lambda some: all(fits(some, GPUS[kind]) for kind in larger))
        with_changes = f" with {_shown(changes)}" if changes else ""
        return f"no setting helps on this GPU; {' or '.join(larger)} would do{with_changes}"
    if work.engine is None and work.scored:
        return "policy and reward model do not fit beside each other on any GPU known here; take smaller ones"
    if work.engine is None or (work.sampling is not None and work.sampling.engine == "vllm"):
        least = next(
            n for n in (2, 4, 8, 16, 32) if n == 32 or BFLOAT16 * shape.parameters < 0.6 * n * usable(gpu)
        )
        return f"the policy must be split among {least} GPUs to sample, which {work.stage} cannot do yet"
    return f"no setting helps; set {work.stage}.lora, or take a smaller model"


def _least(changes: list[Change], fits: Callable[[list[Change]], bool]) -> list[Change]:
    """The changes without those that it fits without."""
    for one in list(changes):
        fewer = [c for c in changes if c is not one]
        if fits(fewer):
            changes = fewer
    return changes


def _shown(changes: Sequence[Change]) -> str:
    return ", ".join(f"{path}={str(v).lower() if isinstance(v, bool) else v}" for path, v in changes)
