"""Stage: evaluates models on a benchmark, with greedy decoding and k samples, in CoT and TIR."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mathloop.evaluation.config import EvaluationConfig
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import role_scores
from mathloop.models.loading import load_reward_model
from mathloop.records import Mode, Response, read_problems, read_responses, write_responses
from mathloop.registry import Champion
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.judging import judge
from mathloop.sampling.scoring import score
from mathloop.stages import Progress, StageReport, timed
from mathloop.storage import open_store

_MODES: tuple[Mode, ...] = ("cot", "tir")


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
) -> StageReport:
    """Writes every Response, with label, verdict and reward, to `out`; greedy responses have sample -1.

    If the folder `reward_model` is empty or missing, rewards are None.
    """
    started = time.monotonic()
    problems = list(read_problems(benchmark))
    scored = reward_model.is_dir() and any(reward_model.iterdir())
    scorer = load_reward_model(reward_model) if scored else None
    progress = Progress(
        "evaluation", len(models) * len(_MODES) * len(problems) * (1 + config.samples), "responses"
    )
    tokens = 0

    def answered() -> Iterator[Response]:
        nonlocal tokens
        for label, folder in models.items():
            with load_sampler(folder, config.sampling) as sampler:
                for mode in _MODES:
                    for samples, temperature in ((1, 0.0), (config.samples, config.temperature)):
                        drawn = []
                        for rollouts in sampler.stream(
                            problems,
                            mode=mode,
                            samples=samples,
                            temperature=temperature,
                            seed=seed + 15_485_863,
                        ):
                            drawn += [r.response for r in rollouts]
                            count = sum(r.response.tokens for r in rollouts)
                            tokens += count
                            progress.update(len(rollouts), tokens=count)
                        sources = [problems[at // samples] for at in range(len(drawn))]
                        rewards: list[float | None] = [None] * len(drawn)
                        if scorer is not None:
                            dialogues = [
                                (p.problem, mode, r.text) for p, r in zip(sources, drawn, strict=True)
                            ]
                            rewards = list(score(*scorer, dialogues))
                        for problem, response, reward in zip(sources, drawn, rewards, strict=True):
                            number = -1 if temperature == 0 else response.sample
                            verdict = judge(problem.answer, response)
                            yield replace(verdict, model=label, reward=reward, sample=number)

    written = write_responses(out, answered())
    seconds = time.monotonic() - started
    return StageReport(
        "evaluation",
        inputs=len(problems),
        generated=written,
        kept=written,
        values={"tokens": tokens, "tokens_per_second": tokens / seconds},
        scores=role_scores(Outcomes(problems, read_responses(out))),
    )
