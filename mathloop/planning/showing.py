"""A plan as Markdown for a terminal and the docs, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mathloop.planning.fitting import HOST, usable
from mathloop.planning.measured import NEAR, Compared
from mathloop.planning.plan import Plan, StagePlan


def to_markdown(plan: Plan) -> str:
    """The plan as Markdown: what is planned, work and time, memory, storage, findings."""
    shape, assumed = plan.shape, plan.assumed
    blocks = [
        f"**{plan.profile}**: {plan.model}, {_short(shape.parameters)} parameters, {shape.layers} layers, "
        f"{shape.cache_bytes():,} bytes of keys and values per token in bfloat16.",
        f"Assumed: {assumed.prompt:g} tokens per prompt, {assumed.cot:g} per CoT and {assumed.tir:g} per TIR "
        f"response, {assumed.right:.0%} of responses right; {assumed.utilization:.0%} of the GPU's peak in "
        f"training and scoring, {assumed.bandwidth:.0%} of its bandwidth in decoding.",
        _table(
            ("stage", "GPUs", "samples", "tokens", "steps", "time", "GPU-hours", *_price_head(plan)),
            [*(_work_row(plan, one) for one in plan.stages), _sum_row(plan)],
        ),
        *_nodes(plan),
        _memory(plan),
        _table(("stored", "GB"), ((name, _gb(size)) for name, size in plan.storage.items())),
    ]
    if plan.misfits:
        blocks.append("\n".join(["Does not fit:", "", *(f"- {line}" for line in plan.misfits)]))
    elif plan.gpu is not HOST:
        blocks.append("Every stage fits.")
    if plan.remarks:
        blocks.append("\n".join(["Remarks:", "", *(f"- {line}" for line in plan.remarks)]))
    return "\n\n".join(blocks)


def to_json(plan: Plan) -> dict[str, Any]:
    """All numbers of the plan: tokens, bytes, seconds, GPU-hours."""
    return {
        "profile": plan.profile,
        "model": plan.model,
        "parameters": plan.shape.parameters,
        "cache_bytes_per_token": plan.shape.cache_bytes(),
        "gpu": plan.kind,
        "assumed": asdict(plan.assumed),
        "stages": [_stage_json(plan, one) for one in plan.stages],
        "gpu_hours": plan.gpu_hours,
        "seconds": plan.wall_seconds,
        "rented_gpu_hours": plan.rented_hours,
        "cost": None if plan.price is None else plan.price * plan.gpu_hours,
        "storage_bytes": plan.storage,
        "misfits": plan.misfits,
        "remarks": plan.remarks,
    }


def compared_markdown(plan: Plan, rows: Sequence[Compared], fitted: Mapping[str, float]) -> str:
    """A finished round's plan beside what it took, and the constants that it shows."""
    far = [row for row in rows if not row.near]
    table = [
        (
            row.stage,
            row.quantity,
            _quantity(row, row.planned),
            _quantity(row, row.measured),
            f"{row.error:+.0%}",
        )
        for row in rows
    ]
    lines = [f"{len(rows) - len(far)} of {len(rows)} are within {NEAR:.0%} of what was measured."]
    if fitted:
        shown = ", ".join(
            f"{name} {value:.2f} (assumed {getattr(plan.assumed, name):g})" for name, value in fitted.items()
        )
        lines.append(f"This round's own constants: {shown}.")
    head = f"**{plan.profile}**: {plan.model}, planned and measured."
    return "\n\n".join([head, _table(("stage", "", "planned", "measured", "off by"), table), *lines])


def compared_json(plan: Plan, rows: Sequence[Compared], fitted: Mapping[str, float]) -> dict[str, Any]:
    """All numbers of `compared_markdown`; memory in bytes."""
    return {
        "profile": plan.profile,
        "model": plan.model,
        "assumed": asdict(plan.assumed),
        "fitted": dict(fitted),
        "rows": [{**asdict(row), "error": row.error} for row in rows],
    }


def _quantity(row: Compared, value: float) -> str:
    return f"{value / 1e9:.2f} GB" if row.quantity == "memory" else _short(value)


def _stage_json(plan: Plan, one: StagePlan) -> dict[str, Any]:
    work = one.work
    counts = ("problems", "samples", "prompted", "written", "scored", "forwarded", "trained", "steps")
    return {
        "stage": work.stage,
        "gpus": one.gpus,
        "fits": one.fits,
        **{name: getattr(work, name) for name in counts},
        "tokens": work.tokens,
        "memory_bytes": one.need.parts,
        "phase_bytes": {name: sum(parts.values()) for name, parts in one.need.phases.items()},
        "peak_bytes": one.need.peak,
        "host_bytes": one.need.host,
        "seconds": one.seconds.total,
        "decoding_seconds": one.seconds.decoding,
        "gpu_hours": one.gpu_hours,
        "cost": None if plan.price is None else plan.price * one.gpu_hours,
    }


def _work_row(plan: Plan, one: StagePlan) -> tuple[str, ...]:
    work = one.work
    gpus = f"{one.gpus} × {plan.kind}" if one.gpus else "none"
    cost: tuple[str, ...] = () if plan.price is None else (f"{plan.price * one.gpu_hours:,.0f}",)
    timed = (_duration(one.seconds.total), _hours(one.gpu_hours)) if one.gpus else ("", "")
    if not one.fits:
        timed, cost = ("does not fit", ""), tuple("" for _ in cost)
    return (work.stage, gpus, _short(work.samples), _short(work.tokens), f"{work.steps or ''}", *timed, *cost)


def _sum_row(plan: Plan) -> tuple[str, ...]:
    samples, tokens = (sum(getattr(s.work, name) for s in plan.stages) for name in ("samples", "tokens"))
    cost = () if plan.price is None else (f"{plan.price * plan.gpu_hours:,.0f}",)
    timed = ("", "") if plan.gpu is HOST else (_duration(plan.wall_seconds), _hours(plan.gpu_hours))
    return ("all", "", _short(samples), _short(tokens), "", *timed, *cost)


def _nodes(plan: Plan) -> list[str]:
    """What the nodes cost that are rented for a whole round; nothing where a stage has no time."""
    if not plan.nodes or not all(one.fits for one in plan.stages):
        return []
    where = "one set of nodes" if len(plan.nodes) == 1 else "nodes of their own per pool"
    gpus = " + ".join(f"{count} {plan.kind}" for count in plan.nodes)
    paid = "" if plan.price is None else f", {plan.price * plan.rented_hours:,.0f} at this price"
    took = _duration(plan.wall_seconds)
    return [
        f"One stage after the other, on {where} ({gpus}): rented for {took}, they are "
        f"{_hours(plan.rented_hours)} GPU-hours{paid}. Loading, start-up and steps without a GPU come on top."
    ]


def _price_head(plan: Plan) -> tuple[str, ...]:
    return () if plan.price is None else ("cost",)


def _memory(plan: Plan) -> str:
    rows = []
    for one in plan.stages:
        parts = sorted(one.need.parts.items(), key=lambda part: -part[1])
        phase = f" ({one.need.largest})" if len(one.need.phases) > 1 else ""
        shown = ", ".join(f"{name} {_gb(size)}" for name, size in parts if size >= 5e7) or "under 0.1"
        if one.need.host:
            offloaded = sorted(one.need.host.items(), key=lambda part: -part[1])
            shown += f"; in the host's memory {', '.join(f'{name} {_gb(size)}' for name, size in offloaded)}"
        rows.append((one.work.stage + phase, _gb(one.need.peak), shown))
    limit = "" if plan.gpu is HOST else f" of {_gb(usable(plan.gpu))}"
    return _table(("memory of a process at its peak", f"GB{limit}", "parts in GB"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    rule = tuple("-" * width for width in widths)
    lines = ([c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in (head, rule, *cells[1:]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f}" if size < 1e11 else f"{size / 1e9:,.0f}"


def _short(number: float) -> str:
    """1,234; 56.7 k; 8.90 M; 1.54 B."""
    for limit, unit in ((1e9, " B"), (1e6, " M"), (1e4, " k")):
        if number >= limit:
            scaled = number / (1e3 if unit == " k" else limit)
            return f"{scaled:.2f}{unit}" if scaled < 10 else f"{scaled:.1f}{unit}"
    return f"{number:,.0f}" if number else ""


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours < 10 else f"{hours:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
