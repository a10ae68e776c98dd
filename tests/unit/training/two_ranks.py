"""Trainings that `torchrun` starts on two processes or three, and the same ones in this process alone.

    torchrun --standalone --nproc-per-node 2 -m tests.unit.training.two_ranks FOLDER NAME…

Each NAME is a function below. What they leave in FOLDER is looked at by the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from mathloop.errors import MathloopError
from mathloop.models.packing import Sample
from mathloop.records import Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.prompts import encode_prompt
from mathloop.sampling.sampler import Rollout
from mathloop.training import checkpoint, grpo, logprobs, sft
from mathloop.training.config import (
    EngineConfig,
    GRPOConfig,
    OptimizerConfig,
    RewardModelConfig,
    SFTConfig,
)
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.objectives import OBJECTIVES
from mathloop.training.order import batch_of
from tests.paths import ROOT
from tests.unit.training import logged_rollouts

STEPS = 5
SECOND = int(os.environ.get("RANK", "0")) == 1


def samples() -> list[Sample]:
    """Of very different lengths and shares of learned tokens: a mean over ranks would not be their mean."""
    chance = torch.Generator().manual_seed(3)
    lengths = [5, 30, 9, 3, 17, 12, 40, 6, 7, 25, 4]
    rows = [torch.randint(0, 31, (length,), generator=chance).tolist() for length in lengths]
    return [Sample(row, [0.0] * (i % 3) + [1.0] * (len(row) - i % 3), i % 3) for i, row in enumerate(rows)]


def train(work: Path, until: int = STEPS, optimizer: Any = "adamw", **engine: Any) -> Engine:
    """Every step is kept. Batches of 5 make micro-batches of uneven number and size."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    net = Qwen2ForCausalLM(Qwen2Config(vocab_size=31, num_key_value_heads=1, initializer_range=0.3, **shape))
    config = SFTConfig(
        optimizer=OptimizerConfig(
            checkpoint_steps=1, learning_rate=1e-2, clip=0.5, weight_decay=0.1, optimizer=optimizer
        ),
        engine=EngineConfig(micro_batch_tokens=32, keep=STEPS + 1, **engine),
    )
    rows = samples()
    with Engine(PackedPolicy(net), config, STEPS, work, recipe="sft", seed=0) as trained:
        while trained.step < until:
            learn(trained, [rows[i] for i in batch_of(len(rows), 5, trained.step, seed=0)])
    return trained


def plain(folder: Path) -> None:
    """All steps; stopped after two; the other half of a training that one process began; with Muon."""
    train(folder / "plain")
    train(folder / "plain-half", until=2)
    train(folder / "one-then-two")
    train(folder / "muon", optimizer="muon")


def stopped(folder: Path) -> None:
    """SIGTERM reaches the second process only, in its third step."""
    backward = Engine.backward

    def backward_or_stop(engine: Engine, loss: torch.Tensor) -> None:
        if SECOND and engine.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        backward(engine, loss)

    Engine.backward = backward_or_stop  # type: ignore[method-assign]
    _refused(folder, "stopped")
    Engine.backward = backward  # type: ignore[method-assign]


def full(folder: Path) -> None:
    """The first process finds no space for the second checkpoint, and then the second process."""
    write = checkpoint.write_tensors
    for second in (False, True):
        written: list[Path] = []

        def write_or_not(partial: Path, tensors: Any, *place: int) -> Any:
            written.append(partial)  # noqa: B023
            if len(written) == 2 and second == SECOND:  # noqa: B023
                next(iter(tensors))
                raise OSError(28, "No space left on device")
            return write(partial, tensors, *place)

        checkpoint.write_tensors = write_or_not
        _refused(folder, f"full{int(second)}")
    checkpoint.write_tensors = write


def tuned(folder: Path) -> None:
    """SFT, whose data only the first process of a machine may encode."""
    encode = sft.encode

    def encode_or_not(*given: Any, **named: Any) -> Sample:
        assert not SECOND
        return encode(*given, **named)

    sft.encode = encode_or_not
    fine_tune(folder, "two")


def fine_tune(folder: Path, name: str) -> None:
    """A step per checkpoint on the data of `write_toy` in folder/toy."""
    sft.run(
        problems=folder / "toy" / "problems.jsonl",
        responses=[folder / "toy" / "responses.jsonl"],
        policy=folder / "toy" / "policy",
        model=folder / f"tuned-{name}-model",
        work=folder / f"tuned-{name}",
        config=SFTConfig(
            epochs=1, batch_size=12, optimizer=OptimizerConfig(learning_rate=1e-2, checkpoint_steps=1)
        ),
        seed=0,
    )


def split(folder: Path) -> None:
    """GRPO on one group, half of which is each process's, with rollouts that depend on their place alone."""
    reinforce_one_group(folder, "two")


def reinforce_one_group(folder: Path, name: str) -> None:
    """Two steps of two mini-batches of a group each; its rollouts are those of `Placed`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpo, "begin_sampler", lambda _, net, tokenizer, config: Placed(tokenizer))
        grpo.run(
            problems=folder / "toy" / "problems.jsonl",
            policy=folder / "toy" / "policy",
            reward_model=folder / "toy" / "opinion",
            model=folder / f"split-{name}-model",
            work=folder / f"split-{name}",
            config=GRPOConfig(
                steps=2,
                problems_per_step=2,
                mini_batches=2,
                group_size=4,
                tir_share=0.0,
                beta=0.1,
                optimizer=OptimizerConfig(learning_rate=1e-3, checkpoint_steps=1),
            ),
            seed=0,
            rollouts=folder / f"split-{name}.parquet",
        )


class Placed:
    """A sampler that gives each response its place in its group; a rank of two has half of the group."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def sample(self, problems: Sequence[Problem], *, samples: int, **_: Any) -> list[Rollout]:
        first = 0 if samples == 4 or not SECOND else samples
        return [self._respond(problem, first + i) for problem in problems for i in range(samples)]

    def _respond(self, problem: Problem, place: int) -> Rollout:
        answer = "7" if place in (0, 3) else str(place)
        text = f"So {problem.id} is {'and ' * place}\\boxed{{{answer}}}."
        prompt = encode_prompt(self._tokenizer, problem.problem, "cot")
        tokens = self._tokenizer(text)["input_ids"]
        response = Response(problem.id, 99, "cot", text, answer)
        return Rollout(response, prompt, tokens, [-2.0] * len(tokens), [True] * len(tokens))

    def __enter__(self) -> Placed:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wake(self) -> None: ...

    def sleep(self) -> None: ...

    def take_weights(self, weights: Any) -> None: ...


def zero(folder: Path) -> None:
    """Each stage: all steps; two and then the rest; the rest of what one plain process began."""
    # Only the first process reads checkpoints: it need not wait for the other to copy them.
    for stage in (1, 2, 3):
        train(folder / f"zero{stage}", zero=stage)
        train(folder / f"zero{stage}-half", until=2, zero=stage)
        if not SECOND:
            shutil.copytree(folder / f"zero{stage}-half", folder / f"zero{stage}-again")
        train(folder / f"zero{stage}-again", zero=stage)
        train(folder / f"one-then-zero{stage}", zero=stage)


OFFLOADS = (("optimizer", 1), ("optimizer", 2), ("optimizer", 3), ("parameters", 3))


def offload(folder: Path) -> None:
    """Each stage with its state in the host's memory: all steps; two and then the rest."""
    for what, stage in OFFLOADS:
        train(folder / f"{what}{stage}", zero=stage, offload=what)
        train(folder / f"{what}{stage}-half", until=2, zero=stage, offload=what)
        train(folder / f"{what}{stage}-half", zero=stage, offload=what)


def train_wide(work: Path, *, tied: bool, **engine: Any) -> Engine:
    """Two steps of a policy with the vocabulary of Qwen2.5, whose head needs several chunks for a sample."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    net = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=151_936, num_key_value_heads=1, tie_word_embeddings=tied, **shape)
    )
    config = SFTConfig(
        optimizer=OptimizerConfig(checkpoint_steps=2, learning_rate=1e-3, weight_decay=0.0),
        engine=EngineConfig(micro_batch_tokens=32, **engine),
    )
    rows = samples()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logprobs, "CHUNK", 8 * 151_936)
        with Engine(PackedPolicy(net), config, 2, work, recipe="sft", seed=0) as trained:
            while trained.step < 2:
                learn(trained, [rows[i] for i in batch_of(len(rows), 4, trained.step, seed=0)])
    return trained


def wide(folder: Path) -> None:
    """A vocabulary as real ones have, sharded."""
    with _all_sharded():
        for tied in (False, True):
            train_wide(folder / f"wide-{tied}", tied=tied, zero=3)
        train_wide(folder / "wide-recomputed-True", tied=True, zero=3, activation_checkpointing=True)


def sharded(folder: Path) -> None:
    """A policy that is created in shards, SFT from it, and what each process held while it was read."""
    import safetensors

    from mathloop.training import reward_model, sft, sharded
    from mathloop.training.ranks import join_ranks

    ranks, policy = join_ranks(), folder / "policy"
    read: list[weakref.ref[torch.Tensor]] = []
    most = 0

    class Opened:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            self.file = safetensors.safe_open(*arguments, **named)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def keys(self) -> list[str]:
            return list(self.file.keys())

        def get_tensor(self, name: str) -> torch.Tensor:
            nonlocal most
            tensor = self.file.get_tensor(name)
            read.append(weakref.ref(tensor))
            most = max(most, sum(one() is not None for one in read))
            return tensor  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharded, "safe_open", Opened)
        net, _ = sharded.load_trainable(policy, EngineConfig(zero=3), ranks)
    held = {
        "tensors read": len(read),
        "most at a time": most,
        "whole": sum(p.numel() for p in net.parameters()),
        "shards": sum(p.ds_tensor.numel() for p in net.parameters()),
        "frequencies": str(net.model.rotary_emb.inv_freq.dtype),
    }
    weights = sharded.whole_weights(net, ranks)
    (folder / f"held-{ranks.rank}.json").write_text(json.dumps(held))
    if ranks.first:
        torch.save(weights, folder / "read.pt")
    given = {"problems": folder / "problems.jsonl", "policy": policy, "seed": 0}
    for stage in (0, 3):
        engine = EngineConfig.model_validate({"zero": stage})
        config = SFTConfig(epochs=1, batch_size=16, optimizer=OptimizerConfig(), engine=engine)
        for name, responses in (("sft", "responses.jsonl"), ("none", "none.jsonl")):
            paths = {"model": folder / f"{name}-{stage}", "work": folder / f"{name}-work-{stage}"}
            sft.run(responses=[folder / responses], config=config, **given, **paths)
        if stage == 3:  # a policy that nothing is learned from is not rounded
            half = config.model_copy(update={"engine": engine.model_copy(update={"dtype": "bfloat16"})})
            paths = {"model": folder / "none-half", "work": folder / "none-half-work"}
            sft.run(responses=[folder / "none.jsonl"], config=half, **given, **paths)
        reward_model.run(
            responses=folder / "responses.jsonl",
            config=RewardModelConfig(epochs=1, batch_size=4, engine=engine),
            model=folder / f"reward-{stage}",
            work=folder / f"reward-work-{stage}",
            **given,
        )


def unequal(folder: Path) -> None:
    """GRPO without ZeRO and with ZeRO-3: all responses of the second process end with their first token."""

    def ends(tokenizer: Any, generation_config: Any = None) -> frozenset[int]:
        return frozenset(range(len(tokenizer)) if SECOND else [])

    with pytest.MonkeyPatch.context() as patch, _all_sharded():
        patch.setattr("mathloop.sampling.engines.transformers_engine.end_tokens", ends)
        patch.setattr(logprobs, "CHUNK", 1200)  # three tokens, so that a process needs up to eleven chunks
        for stage in (0, 3):
            grpo.run(
                problems=folder / "problems.jsonl",
                policy=folder / "policy",
                reward_model=folder / "opinion",
                model=folder / f"unequal-model-{stage}",
                work=folder / f"unequal-{stage}",
                config=GRPOConfig(
                    steps=2,
                    problems_per_step=3,
                    group_size=4,
                    tir_share=0.0,
                    beta=0.1,
                    sampling=SamplingConfig(max_tokens=8),
                    optimizer=OptimizerConfig(learning_rate=1e-2, checkpoint_steps=2),
                    engine=EngineConfig.model_validate({"zero": stage}),
                ),
                seed=0,
            )


@contextmanager
def _all_sharded() -> Iterator[None]:
    """Inside, ZeRO-3 keeps no weight whole for being small."""
    import deepspeed

    initialize = deepspeed.initialize

    def shard_all(*, config: dict[str, Any], **given: Any) -> Any:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return initialize(config=config, **given)

    deepspeed.initialize = shard_all
    try:
        yield
    finally:
        deepspeed.initialize = initialize


def accumulated(folder: Path) -> None:
    """The first moment after a step in bfloat16: of one micro-batch, and of 256 that weigh 1/256 each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mathloop.models.dtypes.fast_bfloat16", lambda device: True)
        for stage in (1, 2, 3):
            # The last one is that of the checkpoint.
            moments = [_first_moment(folder / f"{stage}-{count}", stage, count) for count in (1, 256, 256)]
            if not SECOND:
                torch.save(moments, folder / f"accumulated-{stage}.pt")


def _first_moment(work: Path, stage: Any, count: int) -> torch.Tensor:
    torch.manual_seed(0)
    rows = torch.randn(32, 24, dtype=torch.bfloat16)
    config = SFTConfig(
        optimizer=OptimizerConfig(clip=1e9, checkpoint_steps=1),
        engine=EngineConfig(zero=stage, dtype="bfloat16"),
    )
    with Engine(torch.nn.Linear(24, 16), config, 2, work, recipe="sft", seed=0) as engine:
        for _ in range(0 if engine.step else count):
            engine.backward(engine.forward(rows).square().mean() / count)
        if not engine.step:
            engine.update(loss=0.0)
        return engine._updates.read("weight", "exp_avg").clone()  # type: ignore[no-any-return]


def reinforced(folder: Path) -> None:
    """A GRPO step with every objective; each process saves its part of the gradient."""
    for name in OBJECTIVES:
        with pytest.MonkeyPatch.context() as patch:
            steps = logged_rollouts.Steps(patch)
            logged_rollouts.train(folder / "trained", folder, name=name, objective=name, tir_share=1.0)
        torch.save(steps.gradients[0], folder / f"{name}-gradient-{int(SECOND)}.pt")


def run(folder: Path, *names: str, checked: bool = False, processes: int = 2) -> str:
    """Starts the processes and returns what they printed.

    Where it is `checked`, which is slower, different collectives of theirs are an error and no endless wait.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    done = subprocess.run(
        [*command, str(processes), "-m", __name__, str(folder), *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TORCH_DISTRIBUTED_DEBUG": "DETAIL" if checked else "OFF",
        },
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _refused(folder: Path, name: str) -> None:
    try:
        train(folder / name)
    except MathloopError as error:
        rank = int(SECOND)
        (folder / f"{name}-{rank}.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        globals()[wanted](Path(sys.argv[1]))
