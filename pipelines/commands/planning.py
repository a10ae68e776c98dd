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
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Compare a finished round's plan with what the round took; its settings are those planned.",
        ),
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

    if run is not None:
        others = {"--profile": profile != "laptop", "--set": sets, "--gpus": gpus, "--problems": problems}
        others |= {"--price": price is not None, "--utilization": utilization is not None}
        if refused := [option for option, given in others.items() if given]:
            raise BadConfig(f"--run plans the run's own settings; leave out {refused[0]}")
        _compare(run, as_json)
        return
    settings = load_profile(profile, sets or [])
    made = make_plan(settings, gpus, problems=problems, price=price, utilization=utilization)
    print(json.dumps(to_json(made), indent=2, ensure_ascii=False) if as_json else to_markdown(made))
    if made.misfits:
        raise BadConfig(
            f"{len(made.misfits)} of the plan's stages do not fit; see the plan for what to change"
        )


def _compare(name: str, as_json: bool) -> None:
    """Prints the plan of a finished run beside what it took."""
    import json

    from mathloop.errors import BadConfig
    from mathloop.planning import make_plan
    from mathloop.planning.measured import compare, refit
    from mathloop.planning.showing import compared_json, compared_markdown
    from mathloop.settings import parse_settings
    from pipelines.local.folder import RunFolder
    from pipelines.local.measured import measured_stages

    folder = RunFolder.find(name)
    settings = parse_settings(folder.settings["profile"])
    made, measured = make_plan(settings), measured_stages(folder)
    rows = compare(made, measured, first=bool(folder.settings.get("first")))
    if not rows:
        raise BadConfig(
            f"{folder.path}: no stage that a plan knows has finished; wait for one, or resume the run"
        )
    fitted = refit(made.assumed, settings, measured)
    shown = compared_json(made, rows, fitted) if as_json else None
    print(json.dumps(shown, indent=2) if shown else compared_markdown(made, rows, fitted))
