"""Stage: evaluates models on a benchmark, with greedy decoding and k samples, in CoT and TIR."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from mathloop.evaluation.benchmarks.named import NamedBenchmarks
from mathloop.evaluation.config import NO_BENCHMARKS, BenchmarksConfig, EvaluationConfig
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.passes import MODES, passes_of, shards
from mathloop.evaluation.responding import draw
from mathloop.evaluation.roles import role_scores
from mathloop.files import filled
from mathloop.records import Response, benchmark_of, read_problems, read_responses, write_responses
from mathloop.registry import Champion
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.rewarding import load_scorer
from mathloop.sampling.sources import sampling_seconds
from mathloop.stages import Progress, StageReport, timed
from mathloop.storage import open_store


@timed
def run_round(
    *,
    store_url: str,
    champion: str,
    benchmark: Path,
    models: dict[str, Path],
    work: Path,
    reward_model: Path,
    out: Path,
    config: EvaluationConfig,
    seed: int,
    named: BenchmarksConfig = NO_BENCHMARKS,
) -> StageReport:
    """`run` for the models of a round, labeled by role: base, sft, challenger and champion.

    Args:
        store_url: store with the base model, which is fetched from it.
        champion: entry of the champion that the round started from, as JSON. If it is the base model, as in
            a first round, that model is evaluated only once, as base.
        models: the folders of sft, challenger and champion.
        work: folder for the base model.
    """
    entry = Champion.parse(champion)
    if entry.policy == entry.base:
        base, roles = models["champion"], ["sft", "challenger"]
    else:
        base, roles = work / "base", ["sft", "challenger", "champion"]
        open_store(store_url).fetch(entry.base, base)
    return run(
        benchmark=benchmark,
        models={"base": base, **{role: models[role] for role in roles}},
        reward_model=reward_model,
        out=out,
        config=config,
        seed=seed,
        named=named,
    )


@timed
def run(
    *,
    benchmark: Path,
    models: dict[str, Path],
    reward_model: Path,
    out: Path,
    config: EvaluationConfig,
    seed: int,
    named: BenchmarksConfig = NO_BENCHMARKS,
) -> StageReport:
    """Writes every Response, with label, verdict and reward, to `out`; greedy responses have sample -1.

    If the folder `reward_model` is empty or missing, rewards are None. No pass is held in memory: only what
    `Outcomes` needs grows with the number of responses. Problems of a `named` benchmark are put to the models
    as its entry says: one without tool use is asked in CoT alone.
    """
    started = time.monotonic()
    counts = Counter(benchmark_of(problem) for problem in read_problems(benchmark))
    scorer = load_scorer(filled(reward_model), config.sampling.dtype)
    asking = NamedBenchmarks(named).asking(config.sampling.prompt)
    passes = [
        (one, name)
        for one, name in product(passes_of(MODES, config), asking)
        if one.mode in asking[name].modes
    ]
    responses = len(models) * sum(
        one.samples * (counts.total() if name is None else counts[name]) for one, name in passes
    )
    progress = Progress("evaluation", responses, "responses")

    def answered() -> Iterator[Response]:
        for label, folder in models.items():
            with load_sampler(folder, config.sampling) as sampler:
                for one, name in passes:
                    sampler.config = config.sampling.model_copy(update={"prompt": asking[name].prompt})
                    problems = (p for p in read_problems(benchmark) if name in (None, benchmark_of(p)))
                    for number, shard in shards(problems, one):
                        for _, response, _ in draw(
                            sampler,
                            scorer,
                            shard,
                            one,
                            label=label,
                            seed=seed,
                            shard=number,
                            progress=progress,
                        ):
                            yield response

    written = write_responses(out, answered())
    seconds = sampling_seconds(time.monotonic() - started)
    return StageReport(
        "evaluation",
        inputs=counts.total(),
        generated=written,
        kept=written,
        values={"tokens": progress.tokens, "tokens_per_second": progress.tokens / seconds},
        scores=role_scores(Outcomes(read_problems(benchmark), read_responses(out))),
    )
