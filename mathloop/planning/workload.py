"""Samples and tokens of every stage that uses a model, by the settings of a round."""

from __future__ import annotations

from collections.abc import Callable

from mathloop.errors import BadConfig
from mathloop.evaluation.benchmarks.registry import find_benchmark
from mathloop.planning.assumptions import Assumptions
from mathloop.planning.work import Work
from mathloop.records import Mode
from mathloop.sampling.config import PromptConfig, SamplingConfig
from mathloop.sampling.examples import load_examples
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.settings import Settings

MODELS = 4
"""Models that a round evaluates: base, SFT, challenger, champion; three in a first round."""
CHARACTERS = 3.0
"""Characters per token of mathematical text: 4 in prose, 2.6 in 800 responses to MATH problems."""
TURNS = 8
"""Tokens around an example's two turns."""
MOST_PROBLEMS = 10**12
MOST_SAMPLES = 100_000
"""Responses to a problem; a plan looks at every number of right ones."""


def workload(settings: Settings, assumed: Assumptions, problems: int | None = None) -> list[Work]:
    """The work of each stage, in the order of a round that has a champion with a reward model.

    `problems` takes the place of problems.train. Raises BadConfig for a count that no round could have.
    """
    _check_counts(settings, problems)
    count = float(settings.problems.train if problems is None else problems)
    new = written_problems(settings, assumed)
    every = count + settings.evolution.count + new
    here = bool(settings.writing.templates) and not settings.writing.endpoint
    stages: list[Callable[[], Work]] = [
        *([lambda: _pretrain(settings)] if settings.model == "nano" else []),
        *([lambda: _writing(settings, assumed)] if here else []),
        lambda: _cot(settings, assumed, every),
        lambda: _tir(settings, assumed, every),
        lambda: _sft(settings, assumed, every),
        lambda: _reward_data(settings, assumed, count),
        lambda: _reward_model(settings, assumed, count),
        lambda: _selection(settings, assumed, count),
        lambda: _grpo(settings, assumed),
        lambda: _evaluation(settings, assumed),
    ]
    return [stage() for stage in stages]


def _check_counts(settings: Settings, problems: int | None) -> None:
    counts = [
        ("--problems", problems or 0, MOST_PROBLEMS),
        ("problems.train", settings.problems.train, MOST_PROBLEMS),
        ("evolution.count", settings.evolution.count, MOST_PROBLEMS),
        ("writing.count", settings.writing.count, MOST_PROBLEMS),
        ("writing.votes", settings.writing.votes, MOST_SAMPLES),
        ("cot.samples", settings.cot.samples, MOST_SAMPLES),
        ("tir.samples", settings.tir.samples, MOST_SAMPLES),
        ("reward_data.samples", settings.reward_data.samples, MOST_SAMPLES),
    ]
    for name, count, most in counts:
        if count > most:
            raise BadConfig(f"{name}: expected at most {most:,} in a plan; choose a smaller number")


def measured_problems(settings: Settings) -> tuple[int, list[str]]:
    """(problems that evaluation measures, benchmarks whose size is not recorded)."""
    total, unknown = settings.problems.benchmark, []
    for name in settings.benchmarks.measure:
        size = find_benchmark(name).problems if "://" not in name else None
        if size is None:
            unknown.append(name)
        else:
            total += min(size, settings.benchmarks.limit or size)
    return total, unknown


def _pretrain(settings: Settings) -> Work:
    config = settings.pretrain
    length = 75.0  # of a document of the generator, in tokens
    steps = config.steps
    if config.tokens:  # the budget sets the steps, as in pretrain.py
        steps = max(1, round(config.tokens / (config.batch_size * length)))
    return Work(
        "pretrain",
        "trainer",
        problems=0,
        trained=steps * config.batch_size * length,
        steps=steps,
        length=length,
        engine=config.engine,
        longest=256,
    )


def _sampled(
    stage: str, assumed: Assumptions, problems: float, samples: float, share: float, config: SamplingConfig
) -> Work:
    """`samples` responses per problem, of which `share` are TIR."""
    length = assumed.length(share, config.max_tokens)
    prompt = assumed.prompt + share * shown(config.prompt, "tir") + (1 - share) * shown(config.prompt, "cot")
    return Work(
        stage,
        "sampler",
        problems=problems,
        samples=problems * samples,
        prompted=problems * prompt,
        written=problems * samples * length,
        length=prompt + length,
        sampling=config,
        longest=round(prompt) + config.max_tokens,
    )


def shown(prompt: PromptConfig, mode: Mode) -> float:
    """Tokens of the solved examples before a problem, by their characters. Raises BadConfig."""
    count = prompt.chat_shots or prompt.shots
    if not count:
        return 0.0
    examples = load_examples(prompt.few_shot)
    if mode == "tir" and not examples.has_tir:
        return 0.0
    instruction = len(INSTRUCTIONS[mode]) if prompt.chat_shots else 0
    return sum(
        (len(problem) + instruction + len(solution)) / CHARACTERS + TURNS
        for problem, solution in examples.shots(count, mode)
    )


def _with_scores(work: Work, assumed: Assumptions) -> Work:
    return Work(**{**work.__dict__, "scored": work.samples * assumed.prompt + work.written})


def written_problems(settings: Settings, assumed: Assumptions) -> float:
    """Written problems that are expected to pass the checks; the rest of the round solves them too."""
    config = settings.writing
    passed = len(config.templates) * config.count * assumed.written
    return min(passed, config.keep) if config.keep else passed


def _writing(settings: Settings, assumed: Assumptions) -> Work:
    """Texts, each from a prompt of its own; then programs and votes for those that passed the checks."""
    config = settings.writing
    most = config.sampling.max_tokens
    texts = float(len(config.templates) * config.count)
    passed = texts * assumed.written
    votes = passed * config.votes + config.budget
    programs = passed * config.programs
    samples = texts + votes + programs
    written = (
        texts * min(assumed.prompt, most)
        + votes * assumed.length(0.0, most)
        + programs * assumed.length(1.0, most)
    )
    # A text's prompt is an instruction and a parent; programs and votes read the problem alone.
    prompted = 2 * assumed.prompt * texts + assumed.prompt * passed * (bool(programs) + bool(votes))
    return Work(
        "writing",
        "sampler",
        problems=texts,
        samples=samples,
        prompted=prompted,
        written=written,
        batches=max(1, round(samples / config.shard)),
        length=written / samples + prompted / samples,
        sampling=config.sampling,
        longest=round(2 * assumed.prompt) + most,
    )


def _cot(settings: Settings, assumed: Assumptions, problems: float) -> Work:
    config = settings.cot
    return _with_scores(_sampled("cot", assumed, problems, config.samples, 0.0, config.sampling), assumed)


def _tir(settings: Settings, assumed: Assumptions, problems: float) -> Work:
    config = settings.tir
    samples = config.samples * len(config.temperatures)
    work = _sampled("tir", assumed, problems, samples, 1.0, config.sampling)
    return Work(**{**work.__dict__, "batches": len(config.temperatures)})


def _sft(settings: Settings, assumed: Assumptions, problems: float) -> Work:
    config, cot, tir = settings.sft, settings.cot, settings.tir
    kept = {
        0.0: (problems * assumed.kept(cot.samples, cot.keep), cot.sampling.max_tokens),
        1.0: (
            problems * assumed.kept(tir.samples * len(tir.temperatures), tir.keep),
            tir.sampling.max_tokens,
        ),
    }
    responses = sum(count for count, _ in kept.values())
    tokens = sum(
        count * (assumed.prompt + assumed.length(share, most)) for share, (count, most) in kept.items()
    )
    return Work(
        "sft",
        "trainer",
        problems=problems,
        trained=config.epochs * tokens,
        steps=max(1, round(config.epochs * responses / config.batch_size)),
        length=tokens / max(1.0, responses),
        engine=config.engine,
        lora=config.lora,
        longest=config.max_tokens,
    )


def _reward_data(settings: Settings, assumed: Assumptions, problems: float) -> Work:
    config = settings.reward_data
    samples = reward_samples(settings)
    return _sampled("reward_data", assumed, problems, samples, 0.5, config.sampling)


def reward_samples(settings: Settings) -> int:
    """Responses per problem for the reward model, of all policies that are asked."""
    config = settings.reward_data
    others = config.earlier_samples * settings.sft.earlier + config.model_samples * len(config.models)
    return config.samples + config.champion_samples + others


def _reward_model(settings: Settings, assumed: Assumptions, problems: float) -> Work:
    config, samples = settings.reward_model, reward_samples(settings)
    # Those with right and wrong responses, without the held-out ones.
    mixed = assumed.after_sft().between(1, samples - 1, samples)
    used = problems * mixed * (1 - config.heldout_share)
    response = assumed.length(0.5, settings.reward_data.sampling.max_tokens)
    length = assumed.prompt + samples * response
    return Work(
        "reward_model",
        "trainer",
        problems=used,
        trained=config.epochs * used * length,
        reported=config.epochs * used * samples * (assumed.prompt + response),
        steps=max(1, round(config.epochs * used / config.batch_size)),
        length=length,
        engine=config.engine,
        # All responses to a problem are one micro-batch.
        longest=samples * min(config.max_tokens, settings.reward_data.sampling.max_tokens),
    )


def _selection(settings: Settings, assumed: Assumptions, problems: float) -> Work:
    config = settings.selection
    return _sampled("selection", assumed, problems, config.samples, 0.0, config.sampling)


def _grpo(settings: Settings, assumed: Assumptions) -> Work:
    config = settings.grpo
    groups = config.steps * config.problems_per_step
    sampled = _sampled("grpo", assumed, groups, config.group_size, config.tir_share, config.sampling)
    packed = groups * assumed.prompt + sampled.written  # a group's prompt is in the row once
    updates = config.mini_batches * config.epochs_per_batch
    passes = bool(config.beta) + (updates > 1)
    return Work(
        **{
            **sampled.__dict__,
            "pool": "trainer",
            "scored": sampled.samples * assumed.prompt + sampled.written,
            "forwarded": passes * packed,
            "trained": config.epochs_per_batch * packed,
            "reported": config.epochs_per_batch * (sampled.samples * assumed.prompt + sampled.written),
            "steps": config.steps * updates,
            "batches": config.steps,
            "engine": config.engine,
            "lora": config.lora,
        }
    )


def _evaluation(settings: Settings, assumed: Assumptions) -> Work:
    config = settings.evaluation
    problems, _ = measured_problems(settings)
    samples = 2 * (1 + config.samples)  # greedy and k samples, in CoT and TIR
    work = _sampled("evaluation", assumed, MODELS * problems, samples, 0.5, config.sampling)
    passes = {"batches": 4 * MODELS, "prompted": 4 * work.prompted}
    return _with_scores(Work(**{**work.__dict__, **passes}), assumed)
