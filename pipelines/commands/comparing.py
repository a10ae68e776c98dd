"""`mathloop compare`: two runs, two champions or two evaluations beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.paths import check_page

SideName = Annotated[str, typer.Argument(metavar="A", help="Run, champion's number, round, or evaluation.")]
OtherName = Annotated[str, typer.Argument(metavar="B", help="The one to compare with A.")]


def compare(
    a: SideName,
    b: OtherName,
    store: Annotated[
        str,
        typer.Option(metavar="URL", help="Store of champions and rounds: a folder or s3://bucket/prefix."),
    ] = "runs/store",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page, with the changed responses: page.html.")
    ] = None,
) -> None:
    """Compares two runs, champions or evaluations: paired differences, fixed and broken problems, settings.

    Of a run or round, the challenger is compared, or the model that RUN:base, RUN:sft, RUN:champion names.
    """
    from mathloop.evaluation.comparing import compare as compared
    from mathloop.files import write_file
    from mathloop.reports import comparison as showing
    from pipelines.sides import open_sides

    if out is not None:
        check_page("--out", out)
    with open_sides([a, b], store) as (one, other):
        found = compared(one, other, seed=seed)
        print(json.dumps(showing.to_json(found), ensure_ascii=False) if as_json else showing.text(found))
        if out is not None:
            write_file(out, showing.html(found).encode("utf-8"))
    if out is not None and not as_json:
        print(f"\npage: {out}")
