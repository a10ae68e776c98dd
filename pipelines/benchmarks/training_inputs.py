"""What both sides of `mathloop benchmark train` are given: one model, the same texts, the same sizes."""

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
"""GRPO's weight of the KL, and ε."""
DISTINCT = 1024
"""Problems that the tokenizer is fitted on and the samples are taken from, at most."""
QUESTION, SOLUTION = (3.74, 0.37), (3.81, 0.54)
"""Mean and deviation of the logarithm of GSM8K's lengths in words: log-normal, as those of its rows are."""


@dataclass(frozen=True)
class Sizes:
    """What one turn of one side does. A turn is a fresh process."""

    dtype: str = "float32"
    """Of the arithmetic, float32 or bfloat16; weights are float32 in either."""
    vocabulary: int = 8192
    hidden: int = 384
    layers: int = 7
    heads: int = 6
    """Every third of them has keys and values of its own, as in Qwen2.5-0.5B and up."""
    sft_batch: int = 16
    """Responses a step."""
    sft_steps: int = 4
    reward_batch: int = 2
    """Problems a step."""
    responses: int = 6
    """Of each problem that the reward model learns from."""
    reward_steps: int = 3
    grpo_batch: int = 4
    """Problems a step."""
    group: int = 8
    """Responses of each problem."""
    completion: int = 64
    """Tokens of a response at most; random weights hardly ever end one earlier."""
    grpo_steps: int = 3
    turns: int = 3
    """Turns of a side; the figures are their medians."""
    packed: int = 512
    """Tokens of a sequence that TRL packs samples into."""


class Work(NamedTuple):
    """What a turn did."""

    units: list[float]
    """Of each optimizer step: tokens (SFT), distinct responses (reward model), problems (GRPO)."""
    length: float = 0.0
    """Mean tokens of GRPO's responses."""


class Turn(NamedTuple):
    """What was measured in a turn."""

    seconds: list[float]
    """From the end of one optimizer step to the end of the next: the first step only warms up."""
    units: list[float]
    """What was done in these seconds."""
    length: float
    """Mean tokens of GRPO's responses."""
    start: float
    """MiB in use when all was imported and nothing loaded."""
    peak: float
    """MiB in use, at most, until the last step."""

    @property
    def rate(self) -> float:
        """Units a second."""
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
        """What the last turn measured."""
        return self.folder / "turn.json"

    @property
    def work(self) -> Path:
        """What recipes leave behind; another turn must not find it."""
        return self.folder / "work"

    @property
    def policy(self) -> Path:
        return self.folder / "policy"

    @property
    def reward_model(self) -> Path:
        """The policy's backbone under a fresh head, as mathloop saves it."""
        return self.folder / "reward_model"

    @property
    def scorer(self) -> Path:
        """The same backbone under transformers' linear head, as TRL loads it."""
        return self.folder / "scorer"

    @property
    def problems(self) -> Path:
        return self.folder / "problems.parquet"

    @property
    def solutions(self) -> Path:
        """A response a problem, for SFT."""
        return self.folder / "solutions.parquet"

    @property
    def judged(self) -> Path:
        """Right and wrong responses of each of the first problems, for the reward model."""
        return self.folder / "judged.parquet"


def read_texts(data: Path | None) -> list[Problem]:
    """Problems with solutions, of GSM8K's rows in `data` or in its train.jsonl; without it, made up.

    Raises BadData where there are none.
    """
    if data is None:
        return list(_written(DISTINCT))
    path = data / "train.jsonl" if data.is_dir() else data
    problems = list(islice(read_problem_file(path), DISTINCT))
    for problem in problems:
        if not problem.solution:
            message = f"problem {problem.id} has no solution to learn from; expected GSM8K's rows"
            raise BadData(f"{message}, whose answer is a solution that ends in #### and a number", path=path)
    return problems


def prepare(folder: Path, sizes: Sizes, problems: list[Problem], source: str | None) -> tuple[Inputs, int]:
    """Writes models and texts into `folder`; returns them with the number of the policy's parameters.

    `source` is a model's folder or `package:NAME`; without one the weights are random.
    Raises BadModel where `source` cannot be used.
    """
    inputs = Inputs(folder)
    with redirect_stdout(io.StringIO()):  # DeepSpeed says there which accelerator it has found
        parameters = _write_models(inputs, sizes, problems, source)
    solved = sizes.sft_batch * sizes.sft_steps
    judged = sizes.reward_batch * sizes.reward_steps + 1  # one is held out
    chosen = [_again(problems, at) for at in range(max(solved, judged, sizes.grpo_batch * sizes.grpo_steps))]
    write_problems(inputs.problems, chosen)
    write_responses(inputs.solutions, (Response(p.id, 0, "cot", p.solution or "") for p in chosen[:solved]))
    texts = [problem.solution or "" for problem in problems]
    write_responses(inputs.judged, _judged(chosen[:judged], texts, sizes.responses))
    return inputs, parameters


def _written(count: int) -> Iterator[Problem]:
    """Problems of made-up words, as long as GSM8K's and their solutions."""
    rng = random.Random(SEED)
    syllables = [c + v + end for c in "bdfgklmnprst" for v in "aeiou" for end in ("", "n", "r", "s")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(5000)]
    # Zipf's law: the tokenizer finds frequent words to be tokens of their own, and cuts rare ones.
    weights = [1 / rank for rank in range(1, len(words) + 1)]

    def text(mean: float, deviation: float) -> str:
        length = max(4, round(rng.lognormvariate(mean, deviation)))
        written = rng.choices(words, weights, k=length)
        return " ".join(w if rng.random() < 0.85 else str(rng.randint(1, 999)) for w in written)

    for at in range(count):
        question, answer = f"{text(*QUESTION)}?", str(rng.randint(1, 999))
        yield Problem(f"made-{at}", question, answer, solution=f"{text(*SOLUTION)}\n#### {answer}")


def _again(problems: list[Problem], at: int) -> Problem:
    """The problem of this number, from the first one again where there are no more."""
    one = problems[at % len(problems)]
    return Problem(f"{one.id}-{at}", one.problem, one.answer, solution=one.solution)


def _judged(problems: list[Problem], texts: list[str], count: int) -> Iterator[Response]:
    """`count` responses of each problem, 1 to count − 1 of them right, each as long as some solution."""
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
