"""`mathloop evaluate` and `score`: responses to benchmarks, and their scores."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mathloop.errors import BadConfig
from pipelines.commands.options import Profile, Seed, Sets
from pipelines.paths import check_folder
from pipelines.streams import visible

if TYPE_CHECKING:
    from mathloop.evaluation import Outcomes
    from mathloop.evaluation.benchmarks import Benchmark
    from mathloop.evaluation.measure import NamedProblems
    from mathloop.evaluation.rescoring import Rescored
    from mathloop.records import Mode
    from mathloop.settings import Settings

MOST_SAMPLES = 65_536
Counts = Annotated[
    str | None,
    typer.Option("--k", metavar="K,K…", help="The k of maj@k, rm@k, weighted@k and pass@k: 1,8,64."),
]


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder.")],
    benchmark: Annotated[
        Path | None, typer.Argument(metavar="BENCHMARK", help="File of problems; older form of --benchmarks.")
    ] = None,
    benchmarks: Annotated[
        str | None,
        typer.Option(metavar="A,B…", help="Benchmarks: names, .yaml files, or files or folders of problems."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for prompts, responses, verdicts, rewards and scores. After a kill, the "
            "same command resumes. With BENCHMARK: a .parquet or .jsonl file for all responses.",
        ),
    ] = None,
    modes: Annotated[str, typer.Option(metavar="A,B", help="Modes: cot, tir.")] = "cot,tir",
    k: Counts = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Data folder: of benchmark NAME it holds NAME/. Also: MATHLOOP_BENCHMARKS."
        ),
    ] = None,
    reward_model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Reward model, for rm@k."),
    ] = None,
    seed: Seed = None,
    profile: Profile = "laptop",
    sets: Sets = None,
) -> None:
    """Evaluates a model on benchmarks, greedily and sampled, and prints the table of scores.

    As many responses are sampled per problem as the largest k, or evaluation.samples of the profile or --set.
    Without --k, the k of the benchmarks' entries that all of them have, if all state some (AIME: 1,8,64,256).
    """
    from pipelines.profile import load_profile

    changes = [*(sets or []), *([f"seed={seed}"] if seed is not None else [])]
    if (benchmark is None) == (benchmarks is None):
        raise BadConfig("evaluate: give --benchmarks A,B (or one BENCHMARK file, the older form)")
    found = _benchmarks(benchmarks, data or []) if benchmarks is not None else []
    counts = _counts(k)
    sampled = any(text.partition("=")[0].strip() == "evaluation.samples" for text in sets or [])
    if not counts and not sampled:
        counts = _stated_counts(found)
    if counts and not sampled:
        changes.append(f"evaluation.samples={max(counts)}")
    settings = load_profile(profile, changes)
    if counts and max(counts) > settings.evaluation.samples:
        samples = settings.evaluation.samples
        raise BadConfig(f"--k {k}: only {samples} responses are sampled; raise evaluation.samples")
    if benchmark is not None:
        if len(_modes(modes)) < 2 or data:
            raise BadConfig(
                f"{'--data' if data else '--modes'} needs --benchmarks A,B; BENCHMARK is one file"
            )
        _evaluate_file(model, benchmark, out, reward_model, settings, counts)
        return
    if out is None:
        raise BadConfig("--benchmarks needs --out DIR, a folder for the responses")
    if out.is_file() or out.suffix in (".jsonl", ".parquet"):
        raise BadConfig(f"--out {out}: with --benchmarks it is a folder; choose one")
    check_folder(out)
    from mathloop.evaluation import measure, print_scores
    from mathloop.evaluation.cautions import cautions

    table = measure.run(
        model=model,
        benchmarks=[_named(one, data or [], settings) for one in found],
        reward_model=reward_model,
        out=out,
        modes=_modes(modes),
        ks=counts or [settings.evaluation.samples],
        config=settings.evaluation,
        seed=settings.seed,
        note=lambda line: print(visible(line), file=sys.stderr),
    )
    print(print_scores(table), *cautions(table), sep="\n")


def score(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="DIR_OR_FILE…", help="Folders of evaluate --out, or files of responses."),
    ],
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="PART=COLUMN,…",
            help="Columns, or paths into them, of files that are not recognized: "
            "response=code,answer=doc.gold,reward=pred_score,label=score. "
            "A column of lists holds a problem's samples.",
        ),
    ] = None,
    k: Counts = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every score as a line of JSON.")] = False,
) -> None:
    """Scores saved responses again, with nothing sampled: by the verifier, and by the stored labels.

    Several models are compared: differences are paired over problems, and hold, fail or are within noise.
    """
    import json

    from mathloop.evaluation import print_scores, tabulate
    from mathloop.evaluation.cautions import cautions
    from mathloop.evaluation.gaps import gaps
    from mathloop.evaluation.rescoring import SAVED, fold, parse_fields
    from mathloop.evaluation.saved import is_complete

    counts = _counts(k)
    found = fold(places, SAVED if fields is None else parse_fields(fields), verify=True)
    for place in places:
        if place.is_dir() and not is_complete(place):
            print(
                f"{place}: not complete; each pass is scored over the problems that it drew; "
                "the same `mathloop evaluate` resumes it",
                file=sys.stderr,
            )
    for layout, paths in found.layouts.items():
        rest = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        print(visible(f"{next(iter(paths))}{rest}: read as {layout} writes them"), file=sys.stderr)
    tables = {"verifier": found.by_verifier, "labels": found.by_labels}
    if found.differing == 0 and found.by_verifier.responses >= found.by_labels.responses:
        del tables["labels"]
    for name, outcomes in tables.items():
        if not outcomes.entries:
            continue
        if counts and max(counts) > outcomes.drawn:
            raise BadConfig(f"--k {k}: only {outcomes.drawn} responses per problem are there")
        table = tabulate(outcomes, counts or None, seed)
        for line in [*gaps(outcomes), *(cautions(table) if as_json else [])]:
            print(line, file=sys.stderr)
        if as_json:
            for row in table.to_rows():
                print(json.dumps({"by": name, **row}, ensure_ascii=False))
            continue
        print(_heading(name, found, len(tables)), print_scores(table), *cautions(table), sep="\n")
        print(*_differences(outcomes, counts or [outcomes.drawn], seed), sep="\n")


def _heading(name: str, found: Rescored, tables: int) -> str:
    if name == "labels":
        total = f"{found.differing:,} of {found.by_labels.responses:,}"
        return f"By the stored labels ({total} differ from the verifier's verdict):"
    agree = tables == 1 and found.by_labels.responses
    return "By the verifier (all stored labels agree):" if agree else "By the verifier:"


def _differences(outcomes: Outcomes, counts: Sequence[int], seed: int) -> list[str]:
    """Each model against the first, in every mode and metric that both have, on what both were asked."""
    import numpy as np

    from mathloop.evaluation import paired_difference
    from mathloop.evaluation.table import metric_name

    models = sorted({model for model, _ in outcomes.entries})
    lines = []
    for other in models[1:]:
        for mode in sorted({mode for _, mode in outcomes.entries}):
            for k in counts:
                first, second = (outcomes.scores(model, mode, k) for model in (models[0], other))
                for kind in (kind for kind in second if kind in first):
                    greedy = kind == "greedy"
                    both = np.logical_and(
                        *(outcomes.measured(model, mode, greedy=greedy) for model in (models[0], other))
                    )
                    if not both.any():
                        continue
                    clusters = [name for name, shared in zip(outcomes.clusters, both, strict=True) if shared]
                    found = paired_difference(
                        second[kind][both], first[kind][both], seed=seed, clusters=clusters
                    )
                    interval = f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
                    lines.append(
                        f"{found.mark():<12}  {other} above {models[0]} in {mode} {metric_name(kind, k)}: "
                        f"{100 * found.value:+.1f} {interval} on {found.n} problems"
                    )
    return list(dict.fromkeys(lines))  # greedy is the same for every k


def _counts(text: str | None) -> list[int]:
    """`1,8,64` as numbers, ascending; none for None."""
    if text is None:
        return []
    counts = [int(one) if one.strip().isdecimal() else 0 for one in text.split(",")]
    if not all(0 < count <= MOST_SAMPLES for count in counts):
        raise BadConfig(f"--k {text}: expected whole numbers from 1 to {MOST_SAMPLES:,}, like 1,8,64")
    return sorted(set(counts))


def _modes(text: str) -> list[Mode]:
    from mathloop.evaluation.passes import MODES

    chosen = [one.strip() for one in text.split(",")]
    modes = [mode for mode in MODES if mode in chosen]
    if len(modes) < len(set(chosen)):
        raise BadConfig(f"--modes {text}: expected cot, tir, or both with a comma between them")
    return modes


def _benchmarks(text: str, folders: Sequence[Path]) -> list[Benchmark]:
    from mathloop.evaluation.benchmarks import find_benchmark

    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    found = [find_benchmark(name, folders) for name in names]
    twice = [one.name for at, one in enumerate(found) if one.name in {two.name for two in found[:at]}]
    if twice:
        raise BadConfig(f"--benchmarks: two are called {twice[0]}; give one a .yaml file with another name")
    return found


def _stated_counts(benchmarks: Sequence[Benchmark]) -> list[int]:
    """The k that the entries of all benchmarks state; none where one states none."""
    return sorted(set.intersection(*({*one.k} for one in benchmarks))) if benchmarks else []


def _named(one: Benchmark, folders: Sequence[Path], settings: Settings) -> NamedProblems:
    from functools import partial

    from mathloop.evaluation.benchmarks import read_benchmark
    from mathloop.evaluation.measure import NamedProblems

    prompt = one.prompting(settings.evaluation.sampling.prompt)
    return NamedProblems(one.name, partial(read_benchmark, one, folders), prompt, one.modes)


def _evaluate_file(
    model: Path,
    benchmark: Path,
    out: Path | None,
    reward_model: Path | None,
    settings: Settings,
    counts: Sequence[int],
) -> None:
    """The older form: one file of problems, all responses in one file."""
    import tempfile

    from mathloop.evaluation import evaluate as stage
    from mathloop.evaluation import print_table, score_table
    from mathloop.evaluation.cautions import cautions
    from mathloop.models.loading import check_model
    from mathloop.problems.files import read_problem_file
    from mathloop.records import read_problems, read_responses, write_problems

    if out is not None:
        if out.is_dir() or out.resolve() == benchmark.resolve():
            raise BadConfig(f"--out {out}: expected a file other than the benchmark")
        if out.suffix not in (".jsonl", ".parquet"):
            raise BadConfig(f"--out {out}: expected a .jsonl or .parquet file, or --benchmarks and a folder")
        check_folder(out.parent)
    with tempfile.TemporaryDirectory() as folder:
        problems, results = Path(folder) / "benchmark.parquet", out or Path(folder) / "results.parquet"
        write_problems(problems, read_problem_file(benchmark))
        # The stage shows progress before it loads a model; a refusal must be one line alone.
        check_model(model, "policy")
        if reward_model is not None:
            check_model(reward_model, "reward model")
        print("mathloop evaluate MODEL --benchmarks A,B --out DIR replaces this form", file=sys.stderr)
        stage.run(
            benchmark=problems,
            models={model.resolve().name: model},
            reward_model=reward_model or Path(os.devnull),  # not a folder: no rewards
            out=results,
            config=settings.evaluation,
            seed=settings.seed,
        )
        table = score_table(read_problems(problems), read_responses(results), k=counts or None)
        print(print_table(table), *cautions(table), sep="\n")
