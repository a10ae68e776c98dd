"""`mathloop reproduce`: the paper's whole story at nano scale, and its claims over several seeds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mathloop.errors import BadConfig
from pipelines.commands.options import Sets, explicit_params
from pipelines.commands.rounds import watch


def reproduce(
    ctx: typer.Context,
    seed: Annotated[int, typer.Option(min=0, max=2**30, help="Seed of every part.")] = 0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the seeds; each has its own folder in it.")
    ] = Path("runs/reproduce"),
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="Profile: reproduce, reproduce-tiny, or a .yaml file.")
    ] = "reproduce",
    sets: Sets = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run nothing: join the seeds that have finished in this folder."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --report: print JSON instead of text.")
    ] = False,
) -> None:
    """Has the nano model write the corpus that the next one is pretrained on, and tests the paper's claims.

    Pretraining, two rounds, a corpus that the champion writes, pretraining on it with as many tokens, one
    round, best of n; beside it v1 again and the corpus unfiltered. The same call resumes. It ends in
    report.html, report.json and a line per claim: holds, within noise, fails.
    """
    if report is not None:
        for param in explicit_params(ctx):
            if param.name not in ("report", "as_json"):
                raise BadConfig(f"--report runs nothing; leave out {param.opts[0]}")
        _report(report.expanduser(), as_json)
        return
    if as_json:
        raise BadConfig("--json needs --report DIR")
    from rich.console import Console

    from pipelines.profile import load_profile
    from pipelines.reproduction.running import begin, run_parts

    console = Console(file=sys.stdout)
    settings = load_profile(profile, [*(sets or []), f"seed={seed}"])
    out = out.expanduser()
    place = begin(settings, out)
    watch(lambda: run_parts(place, settings, console), place.path, "resume with the same command")
    print()
    _report(out, as_json=False)


def _report(folder: Path, as_json: bool) -> None:
    from mathloop.files import write_file
    from mathloop.reports import reproduction as showing
    from pipelines.paths import check_page
    from pipelines.reproduction.scoring import finished, read_scores

    seeds = [read_scores(path) for path in finished(folder)]
    page = folder / "report.html"
    check_page("--report", page)
    found = showing.to_json(seeds)
    write_file(page, showing.html(seeds).encode("utf-8"))
    write_file(folder / "report.json", json.dumps(found, ensure_ascii=False, indent=1).encode("utf-8"))
    print(json.dumps(found, ensure_ascii=False) if as_json else f"{showing.text(seeds)}\nreport: {page}")
