"""`mathloop benchmark train --lengths`: SFT's time and memory per token at several lengths of samples.

Steps have the same number of tokens at every length, so that nothing but attention should cost more in longer
samples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mathloop.errors import BadConfig
from mathloop.records import Problem, Response, write_problems, write_responses
from pipelines.benchmarks import training
from pipelines.benchmarks.graders import INSTALL
from pipelines.benchmarks.printing import Progress, aligned, machine
from pipelines.benchmarks.training_inputs import Inputs, Sizes, Turn, prepare, read_texts

STEP_TOKENS = 4096
"""Tokens of a step, and of the longest sample: the random model reads no more."""
SHORTEST = 256
"""Tokens of the shortest sample: the made-up problem is in it."""
HEAD = ("tokens", "samples", "µs/token", "×", "× by FLOPs", "training MiB")
PEER = ("TRL: µs/token", "×", "training MiB")


def run(lengths: Sequence[int], sizes: Sizes = Sizes(sft_steps=4)) -> None:  # noqa: B008  (frozen)
    """Measures and prints; raises BadConfig if a length is out of bounds."""
    for length in lengths:
        if not SHORTEST <= length <= STEP_TOKENS:
            raise BadConfig(f"--lengths: {length} is not in {SHORTEST} to {STEP_TOKENS} tokens")
    peer, texts = training.find_peer(), read_texts(None)
    print(f"{training.threads()} threads on {machine()}; peer: {peer or f'TRL, not installed: {INSTALL}'}")
    flops, ours, theirs = [], [], []
    with TemporaryDirectory(prefix="mathloop-train-") as folder, Progress() as progress:
        for length in lengths:
            some = replace(sizes, sft_batch=STEP_TOKENS // length)
            progress.step(f"{length} tokens")
            inputs, parameters = prepare(Path(folder), some, texts, None)
            inputs.sizes.write_text(json.dumps(asdict(some)), encoding="utf-8")
            write_samples(inputs, length, some.sft_batch * some.sft_steps, texts)
            flops.append(flops_per_token(length, parameters, some))
            ours.append(training.take_turn("ours", "sft", inputs, 0))
            if peer:
                theirs.append(training.take_turn("trl", "sft", inputs, 0))
    print(f"model: random weights, {parameters / 1e6:.1f} million parameters; {sizes.dtype}; SFT")
    rows = []
    for at, length in enumerate(lengths):
        row = [f"{length:,}", str(STEP_TOKENS // length), *_cost(ours, at), f"{flops[at] / flops[0]:.2f}"]
        row.append(f"{ours[at].peak - ours[at].start:,.0f}")
        if peer:
            row += [*_cost(theirs, at), f"{theirs[at].peak - theirs[at].start:,.0f}"]
        rows.append(row)
    print(f"\n{aligned(HEAD + (PEER if peer else ()), rows, left=())}")
    print("×: over the first length. By FLOPs: those of the weights and of causal attention per token.")


def _cost(turns: Sequence[Turn], at: int) -> tuple[str, str]:
    """Microseconds per token of a turn, and over those of the first."""
    return f"{1e6 / turns[at].rate:,.0f}", f"{turns[0].rate / turns[at].rate:.2f}"


def flops_per_token(length: int, parameters: int, sizes: Sizes) -> float:
    """FLOPs of training with one token of a sample of `length`.

    Six per weight, the tied embedding counted once, as the head. Attention has two products in the forward
    pass and five in the backward pass, each over half of the sample's tokens on average.
    """
    return 6 * parameters + 7 * length * sizes.hidden * sizes.layers


def write_samples(inputs: Inputs, length: int, count: int, texts: Sequence[Problem]) -> None:
    """Replaces problems and solutions by `count` samples of `length` tokens, or a few less."""
    from mathloop.models.tokenizers import load_tokenizer
    from mathloop.training.samples import encode

    tokenizer = load_tokenizer(inputs.policy)
    words = " ".join(text.solution or "" for text in texts).split()
    problems, responses = [], []
    for number in range(count):
        one = texts[number % len(texts)]
        start = number * 997 % (len(words) - length)
        low, high = 1, length  # words of the solution
        while low < high:
            middle = (low + high + 1) // 2
            text = " ".join(words[start : start + middle])
            fits = len(encode(tokenizer, one.problem, "cot", text).tokens) <= length
            low, high = (middle, high) if fits else (low, middle - 1)
        problems.append(Problem(f"{one.id}-{number}", one.problem, one.answer))
        responses.append(Response(f"{one.id}-{number}", 0, "cot", " ".join(words[start : start + low])))
    write_problems(inputs.problems, problems)
    write_responses(inputs.solutions, responses)
