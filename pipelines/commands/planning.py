"""`mathloop plan`: what a round with a profile takes, before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.options import Profile, Sets


def plan(
    profile: Profile = "laptop",
    sets: Sets = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="GPUS",
            help="8xH100: GPUs per node; 4x8xH100: on 4 training nodes; H200: the profile's number of these.",
        ),
    ] = None,
    problems: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Training problems, in place of problems.train.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="Price of one GPU-hour, for the costs.")
    ] = None,
    utilization: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, metavar="U", help="Share of the GPU's peak in training. Default: 0.3."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as one JSON object.")] = False,
) -> None:
    """Plans a round: samples, tokens, memory per GPU, GPU-hours, storage and cost of every stage.

    Needs no GPU, no cluster and no model. Exits with 2 if a stage does not fit, after the plan.
    """
    import json

    from mathloop.errors import BadConfig
    from mathloop.planning import make_plan
    from mathloop.planning.showing import to_json, to_markdown
    from pipelines.profile import load_profile

    settings = load_profile(profile, sets or [])
    made = make_plan(settings, gpus, problems=problems, price=price, utilization=utilization)
    print(json.dumps(to_json(made), indent=2, ensure_ascii=False) if as_json else to_markdown(made))
    if made.misfits:
        raise BadConfig(
            f"{len(made.misfits)} of the plan's stages do not fit; see the plan for what to change"
        )
