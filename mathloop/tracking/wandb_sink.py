"""Weights & Biases, by its own package, which the extra `tracking` installs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from mathloop.tracking.tracked import Tracked


def send(config: Mapping[str, Any], tracked: Tracked) -> str:
    """Logs a round as one wandb run with the round's id; returns where it is. Raises what wandb raises."""
    try:
        import wandb
    except ImportError:
        raise ValueError("the package wandb is not installed: pip install 'mathloop[tracking]'") from None
    # Nothing of the machine or the code goes along: only what Tracked says.
    settings = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        host="mathloop",
        save_code=False,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
    )
    run = wandb.init(
        project=config["project"],
        name=tracked.run,
        id=tracked.run,
        resume="allow",
        mode=config["wandb"],
        config=dict(tracked.settings),
        settings=settings,
    )
    steps: defaultdict[str, defaultdict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, curve in tracked.curves.items():
        for step, value in curve:
            steps[name.partition("/")[0]][int(step)][name] = value
    for stage, rows in steps.items():
        run.define_metric(f"{stage}/step")
        run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        for step in sorted(rows):
            run.log({f"{stage}/step": step, **rows[step]})
    run.summary.update(dict(tracked.scores))
    place = run.dir if config["wandb"] == "offline" else run.url
    run.finish()
    return f"run {tracked.run}, {place}"
