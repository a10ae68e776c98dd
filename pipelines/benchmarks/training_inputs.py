"""Inputs for both sides of `mathloop benchmark train`: the same model, texts and sizes."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mathloop.errors import BadData
from mathloop.problems.files import read_problem_file
from mathloop.records import Problem, Response, write_problems, write_responses

SEED = 0
LEARNING_RATE = 1e-4
BETA, CLIP = 1e-3, 0.2
"""GRPO's KL coefficient β and clip range ε."""
DISTINCT = 1024
"""Maximum number of problems for training the tokenizer and for the samples."""
QUESTION, SOLUTION = (3.74, 0.37), (3.81, 0.54)
"""Mean and standard deviation of the logarithm of GSM8K's lengths in words, which are roughly log-normal."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of one turn of one side. A turn is a fresh process."""

    dtype: str = "float32"
    """dtype of the computation, float32 or bfloat16; weights are float32 in both cases."""
    vocabulary: int = 8192
    hidden: int = 384
    layers: int = 7
    heads: int = 6
    """Attention heads; three share one key-value head (grouped-query attention, as in Qwen2.5)."""
    sft_batch: int = 16
    """Responses per step."""
    sft_steps: int = 4
    reward_batch: int = 2
    """Problems per step."""
    responses: int = 6
    """Responses per problem for the reward model."""
    reward_steps: int = 3
    grpo_batch: int = 4
    """Problems per step."""
    group: int = 8
    """Responses per problem."""
    completion: int = 64
    """Maximum tokens per response; with random weights, responses rarely end earlier."""
    grpo_steps: int = 3
    turns: int = 3
    """Turns per side; results are their medians."""
    packed: int = 512
    """Tokens per packed sequence in TRL."""


class Work(NamedTuple):
    """The work done in a turn."""

    units: list[float]
    """Per optimizer step: tokens (SFT), distinct responses (reward model) or problems (GRPO)."""
    length: float = 0.0
    """Mean tokens per response in GRPO."""


class Turn(NamedTuple):
    """Measurements of a turn."""

    seconds: list[float]
    """From the end of one optimizer step to the end of the next; the first step is warm-up."""
    units: list[float]
    """Units of work done in these seconds."""
    length: float
    """Mean tokens per response in GRPO."""
    start: float
    """Memory in MiB after imports, before anything is loaded."""
    peak: float
    """Peak memory in MiB up to the last step."""
    cpu: float = 0.0
    """CPU seconds of all threads in these seconds, which other processes disturb less."""

    @property
    def cost(self) -> float:
        """CPU seconds per unit."""
        return self.cpu / sum(self.units)

    @property
    def rate(self) -> float:
        """Units per second."""
        return sum(self.units) / sum(self.seconds)


@dataclass(frozen=True)
class Inputs:
    """Folders and files that a turn reads."""

    folder: Path

    @property
    def sizes(self) -> Path:
        return self.folder / "sizes.json"

    @property
    def turn(self) -> Path:
        """Measurements of the last turn."""
        return self.folder / "turn.json"

    @property
    def work(self) -> Path:
        """The recipes' working folder; deleted between turns."""
        return self.folder / "work"

    @property
    def policy(self) -> Path:
        return self.folder / "policy"

    @property
    def reward_model(self) -> Path:
        """The policy's backbone with a new head, in mathloop's format."""
        return self.folder / "reward_model"

    @property
    def scorer(self) -> Path:
        """The same backbone with transformers' linear head, which TRL loads."""
        return self.folder / "scorer"

    @property
    def problems(self) -> Path:
        return self.folder / "problems.parquet"

    @property
    def solutions(self) -> Path:
        """One response per problem, for SFT."""
        return self.folder / "solutions.parquet"

    @property
    def labeled(self) -> Path:
        """Correct and incorrect responses to the first problems, for the reward model."""
        return self.folder / "labeled.parquet"


def read_texts(data: Path | None) -> list[Problem]:
    """Problems with solutions: GSM8K's rows from `data` or its train.jsonl, or generated without `data`.

    Raises BadData if a problem has no solution.
    """
    if data is None:
        return list(_generated(DISTINCT))
    path = data / "train.jsonl" if data.is_dir() else data
    problems = list(islice(read_problem_file(path), DISTINCT))
    for problem in problems:
        if not problem.solution:
            message = f"problem {problem.id} has no solution to train on; expected GSM8K's rows"
            raise BadData(f"{message}, whose answers are solutions that end in #### and a number", path=path)
    return problems


def prepare(folder: Path, sizes: Sizes, problems: list[Problem], source: str | None) -> tuple[Inputs, int]:
    """Writes models and texts into `folder`; returns them with the number of the policy's parameters.

    `source` is a model folder or `package:NAME`; None: random weights.
    Raises BadModel if `source` cannot be used.
    """
    inputs = Inputs(folder)
    with redirect_stdout(io.StringIO()):  # DeepSpeed prints the accelerator that it found
        parameters = _write_models(inputs, sizes, problems, source)
    solved = sizes.sft_batch * sizes.sft_steps
    ranked = sizes.reward_batch * sizes.reward_steps + 1  # one is held out
    chosen = [_cycled(problems, at) for at in range(max(solved, ranked, sizes.grpo_batch * sizes.grpo_steps))]
    write_problems(inputs.problems, chosen)
    write_responses(inputs.solutions, (Response(p.id, 0, "cot", p.solution or "") for p in chosen[:solved]))
    texts = [problem.solution or "" for problem in problems]
    write_responses(inputs.labeled, _labeled(chosen[:ranked], texts, sizes.responses))
    return inputs, parameters


def _generated(count: int) -> Iterator[Problem]:
    """Problems and solutions of invented words, with the lengths of GSM8K's."""
    rng = random.Random(SEED)
    syllables = [c + v + end for c in "bdfgklmnprst" for v in "aeiou" for end in ("", "n", "r", "s")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(5000)]
    # Zipf's law: the tokenizer learns frequent words as single tokens and splits rare ones.
    weights = [1 / rank for rank in range(1, len(words) + 1)]

    def text(mean: float, deviation: float) -> str:
        length = max(4, round(rng.lognormvariate(mean, deviation)))
        chosen = rng.choices(words, weights, k=length)
        return " ".join(w if rng.random() < 0.85 else str(rng.randint(1, 999)) for w in chosen)

    for at in range(count):
        question, answer = f"{text(*QUESTION)}?", str(rng.randint(1, 999))
        yield Problem(f"generated-{at}", question, answer, solution=f"{text(*SOLUTION)}\n#### {answer}")


def _cycled(problems: list[Problem], at: int) -> Problem:
    """The problem with this number, starting over after the last one."""
    one = problems[at % len(problems)]
    return Problem(f"{one.id}-{at}", one.problem, one.answer, solution=one.solution)


def _labeled(problems: list[Problem], texts: list[str], count: int) -> Iterator[Response]:
    """`count` responses per problem, 1 to count − 1 of them correct, with the lengths of solutions."""
    rng = random.Random(SEED)
    for at, problem in enumerate(problems):
        right = 1 + at % (count - 1)
        for sample, text in enumerate(rng.choices(texts, k=count)):
            yield Response(problem.id, sample, "cot", text, correct=sample < right)


def _write_models(inputs: Inputs, sizes: Sizes, problems: list[Problem], source: str | None) -> int:
    import torch
    from transformers import AutoModelForSequenceClassification, Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    from mathloop.models import model_import
    from mathloop.models.loading import load_policy, new_reward_model
    from mathloop.training.tokenizer import train_tokenizer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    if source is None:
        tokenizer = train_tokenizer((f"{p.problem}\n{p.solution}" for p in problems), sizes.vocabulary)
        config = Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=sizes.hidden,
            intermediate_size=8 * sizes.hidden // 3,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=max(1, sizes.heads // 3),
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
        Qwen2ForCausalLM(config).save_pretrained(inputs.policy)
        tokenizer.save_pretrained(inputs.policy)
    else:
        model_import.run(source=source, model=inputs.policy)
    policy, tokenizer = load_policy(inputs.policy)
    reward_model, _ = new_reward_model(inputs.policy)
    reward_model.save(inputs.reward_model, tokenizer)
    scorer = AutoModelForSequenceClassification.from_pretrained(
        inputs.policy, num_labels=1, dtype=torch.float32, local_files_only=True
    )
    scorer.config.pad_token_id = (
        tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    )
    scorer.save_pretrained(inputs.scorer)
    tokenizer.save_pretrained(inputs.scorer)
    return sum(p.numel() for p in policy.parameters())
