"""The four recipes on a toy, each attempt in a process forked from one that has imported everything.

    python -m tests.system.killed_training < ORDERS

An order is a line of JSON: the arguments of `attempt`. For each, two lines come back: the process's id when
it begins, and its exit code when it has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from mathloop.errors import Interrupted
from mathloop.models.loading import new_reward_model
from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.sampling.config import SamplingConfig
from mathloop.stages import StageReport
from mathloop.training import grpo, pretrain, reward_model, sft
from mathloop.training.config import (
    EngineConfig,
    GRPOConfig,
    OptimizerConfig,
    PretrainConfig,
    RewardModelConfig,
    SFTConfig,
)
from mathloop.training.tokenizer import train_tokenizer

FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir")

ALL_KEPT = EngineConfig(keep=10)


def attempt(recipe: str, inputs: str, folder: str, event: int = 0, signal: int = 0) -> None:
    """Runs a recipe in `folder` to its end, or sends `signal` to itself at file event number `event` there.

    At the end it leaves `report.json`, and in `events` how many such events there were.
    """
    seen = 0

    def count(name: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if name in FILE_EVENTS and given and str(given[0]).startswith(folder):
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal)

    sys.addaudithook(count)
    report = RECIPES[recipe](Path(inputs), Path(folder))
    total = seen
    report.write(Path(folder, "report.json"))
    Path(folder, "events").write_text(str(total))


def make_inputs(folder: Path) -> None:
    """Problems, responses, a corpus, a policy and a reward model."""
    chance = random.Random(0)
    problems = [Problem(str(i), f"{chance.randrange(10)} + {i}?", answer="7") for i in range(16)]
    texts = ["So the answer is \\boxed{%d}.", "\\boxed{%d}", "It is %d, of course: \\boxed{7}"]
    responses = [
        Response(p.id, k, "cot", texts[k % 3] % chance.randrange(20), correct=bool((k + i) % 2))
        for i, p in enumerate(problems)
        for k in range(3)
    ]
    write_problems(folder / "problems.jsonl", problems)
    write_responses(folder / "responses.jsonl", responses)
    rows = [
        {"problem": problems[int(r.problem_id)].problem, "solution": r.text, "mode": "cot"} for r in responses
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = train_tokenizer([p.problem for p in problems] + [r.text for r in responses], 320)
    torch.manual_seed(0)
    policy = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    policy.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    scorer, _ = new_reward_model(folder / "policy")
    scorer.save(folder / "reward_model", tokenizer)


def run_pretrain(inputs: Path, folder: Path) -> StageReport:
    config = PretrainConfig(
        vocabulary=320,
        hidden=16,
        layers=1,
        heads=2,
        steps=12,
        batch_size=4,
        optimizer=OptimizerConfig(optimizer="muon", checkpoint_steps=2),
        engine=ALL_KEPT,
    )
    return pretrain.run(
        corpus=inputs / "corpus.jsonl", model=folder / "model", work=folder / "work", config=config, seed=1
    )


def run_sft(inputs: Path, folder: Path) -> StageReport:
    config = SFTConfig(batch_size=8, optimizer=OptimizerConfig(checkpoint_steps=3), engine=ALL_KEPT)
    return sft.run(
        problems=inputs / "problems.jsonl",
        responses=[inputs / "responses.jsonl"],
        policy=inputs / "policy",
        model=folder / "model",
        work=folder / "work",
        config=config,
        seed=1,
    )


def run_reward_model(inputs: Path, folder: Path) -> StageReport:
    config = RewardModelConfig(
        batch_size=4, epochs=3, optimizer=OptimizerConfig(checkpoint_steps=2), engine=ALL_KEPT
    )
    return reward_model.run(
        problems=inputs / "problems.jsonl",
        responses=inputs / "responses.jsonl",
        policy=inputs / "policy",
        model=folder / "model",
        work=folder / "work",
        config=config,
        seed=1,
    )


def run_grpo(inputs: Path, folder: Path) -> StageReport:
    config = GRPOConfig(
        steps=5,
        problems_per_step=4,
        group_size=4,
        mini_batches=2,
        tir_share=0.0,
        sampling=SamplingConfig(max_tokens=12),
        optimizer=OptimizerConfig(checkpoint_steps=3),  # falls between two updates of a rollout batch: waits
        engine=ALL_KEPT,
    )
    return grpo.run(
        problems=inputs / "problems.jsonl",
        policy=inputs / "policy",
        reward_model=inputs / "reward_model",
        model=folder / "model",
        work=folder / "work",
        config=config,
        seed=1,
        rollouts=folder / "rollouts.parquet",
    )


RECIPES: dict[str, Callable[[Path, Path], StageReport]] = {
    "pretrain": run_pretrain,
    "sft": run_sft,
    "reward_model": run_reward_model,
    "grpo": run_grpo,
}


def main() -> None:
    """Forks once an order; nothing is computed in this process itself, so that a fork is a clean start."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for slow in ("deepspeed", "pandas"):  # what transformers and pyarrow import where it is installed
        with suppress(ImportError):
            importlib.import_module(slow)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                if "inputs" in order:
                    attempt(**order)
                else:
                    make_inputs(Path(order["folder"]))
                code = 0
            except Interrupted as error:
                code = error.exit_code
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(child, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


if __name__ == "__main__":
    main()
