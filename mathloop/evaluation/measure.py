"""Evaluates one model on several benchmarks, into a folder that can be resumed and scored again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation.benchmarks.benchmark import DEFAULT_PROMPT
from mathloop.evaluation.config import EvaluationConfig
from mathloop.evaluation.passes import MODES, passes_of, shards
from mathloop.evaluation.rescoring import fold
from mathloop.evaluation.responding import draw
from mathloop.evaluation.saved import SavedEvaluation, digest, write_shard
from mathloop.evaluation.scoring import tabulate
from mathloop.evaluation.table import Table
from mathloop.files import content_digest
from mathloop.models.loading import check_model
from mathloop.models.tokenizers import load_tokenizer
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import PromptConfig
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.rewarding import load_scorer
from mathloop.stages import Progress


class NamedProblems(NamedTuple):
    """A benchmark: its name, and its problems, which are read again for each pass."""

    name: str
    read: Callable[[], Iterable[Problem]]
    """Problems with ids that are unique among all benchmarks, and the benchmark's name as source."""
    prompt: PromptConfig = DEFAULT_PROMPT
    """How its problems are put to the model."""
    modes: tuple[Mode, ...] = MODES
    """Modes that it is measured in, if they are asked for."""


def run(
    *,
    model: Path,
    benchmarks: Sequence[NamedProblems],
    reward_model: Path | None,
    out: Path,
    modes: Sequence[Mode],
    ks: Sequence[int],
    config: EvaluationConfig,
    seed: int,
    note: Callable[[str], None] = lambda _: None,
) -> Table:
    """Draws what the folder `out` does not hold yet, and writes and returns the table of scores at `ks`.

    Memory does not grow with the number of problems, but for some 21 bytes per response and 500 per problem.

    Args:
        note: takes a line about a benchmark, such as that it repeats problems.

    Raises:
        BadConfig: `out` holds something else, or another evaluation; a benchmark is measured in no such mode.
        BadData: a benchmark is empty or cannot be read.
        BadModel: a model's folder is damaged.
    """
    for benchmark in benchmarks:
        if not set(modes).intersection(benchmark.modes):
            own = ",".join(benchmark.modes)
            raise BadConfig(
                f"--modes {','.join(modes)}: {benchmark.name} is measured in {own} alone "
                "(tool_use: false in its entry); add that mode, or leave the benchmark out"
            )
    # A base model is asked by text: it needs no chat template if every benchmark has examples.
    chat = not all(benchmark.prompt.few_shot for benchmark in benchmarks)
    check_model(model, "policy", chat=chat)
    if reward_model is not None:
        check_model(reward_model, "reward model")
    counts: dict[str, int] = {}
    asked = {}
    for benchmark in benchmarks:
        counts[benchmark.name], found, repeats = digest(benchmark.read())
        if repeats.count:
            note(f"{benchmark.name}: {repeats}; all are kept, as published")
        if not counts[benchmark.name]:
            raise BadData(f"the benchmark {benchmark.name} has no problems")
        asked[benchmark.name] = {
            "problems": counts[benchmark.name],
            "digest": found,
            "modes": sorted(set(modes).intersection(benchmark.modes)),
            "prompt": benchmark.prompt.model_dump(mode="json"),
        }
    label = model.resolve().name
    plan = {
        "model": label,
        "model files": content_digest(model, hidden=False),
        "reward model files": content_digest(reward_model, hidden=False) if reward_model else None,
        "samples": config.samples,
        "temperature": config.temperature,
        "sampling": config.sampling.model_dump(mode="json", exclude={"engines", "tensor_parallel"}),
        "seed": seed,
    }
    saved = SavedEvaluation(out, plan, asked)
    passes = {
        benchmark.name: passes_of([mode for mode in modes if mode in benchmark.modes], config)
        for benchmark in benchmarks
    }
    responses = sum(counts[name] * one.samples for name, own_passes in passes.items() for one in own_passes)
    progress = Progress("evaluation", responses, "responses")
    scorer = load_scorer(reward_model, config.sampling.dtype)
    tokenizer = load_tokenizer(model, chat=chat)
    first = config.sampling.model_copy(update={"prompt": benchmarks[0].prompt})
    with load_sampler(model, config.sampling if chat else first) as sampler:
        for benchmark in benchmarks:
            sampler.config = config.sampling.model_copy(update={"prompt": benchmark.prompt})
            for one in passes[benchmark.name]:
                for number, problems in shards(benchmark.read(), one):
                    path = saved.shard(benchmark.name, one, number)
                    if path.is_file():
                        progress.update(len(problems) * one.samples)
                        continue
                    drawn = draw(
                        sampler,
                        scorer,
                        problems,
                        one,
                        label=label,
                        seed=seed,
                        shard=number,
                        progress=progress,
                    )
                    write_shard(path, _with_prompts(drawn, tokenizer.decode))
    table = tabulate(fold([out]).by_labels, ks)
    table.write(out)
    return table


def _with_prompts(
    drawn: Iterable[tuple[Problem, Response, list[int]]], decode: Callable[[list[int]], str]
) -> Iterator[tuple[Problem, Response, str]]:
    """The prompt's tokens as text, decoded once per problem."""
    last: tuple[list[int], str] = ([], "")
    for problem, response, tokens in drawn:
        if tokens != last[0]:
            last = tokens, decode(tokens)
        yield problem, response, last[1]
