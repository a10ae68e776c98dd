"""Several engine processes draw what one engine draws; one that is killed loses a shard and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from pydantic import ValidationError

from mathloop.errors import BadConfig, MathloopError
from mathloop.records import Problem, Response
from mathloop.sampling import engine_process, parallel
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import load_sampler, vllm_engine
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.engines.vllm_engine import VllmSampler
from mathloop.sampling.parallel import ParallelSampler, _EngineProcess, _variables, engines_here
from mathloop.sampling.sampler import Rollout
from mathloop.sampling.shards import Shard, read_rollouts, write_rollouts
from mathloop.training.config import GRPOConfig

CONFIG = SamplingConfig(max_tokens=12, batch_size=4, engines=2)
PROBLEMS = [Problem(str(i), f"{i} + {i * i}?", answer=str(i)) for i in range(11)]
HOW: dict[str, Any] = {"mode": "cot", "samples": 2, "temperature": 1.0, "seed": 3}


@pytest.fixture
def folder(tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    tiny_model(len(tokenizer), seed=0).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    return tmp_path / "policy"


@pytest.mark.slow
def test_two_processes_draw_what_one_engine_draws_and_a_killed_one_loses_one_shard(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    draw = _EngineProcess.draw

    def look(engine: _EngineProcess, shard: Shard) -> bool:
        asked.append(shard.first)
        return draw(engine, shard)

    monkeypatch.setattr(_EngineProcess, "draw", look)
    with TransformersSampler.load(folder, CONFIG) as one:
        expected = one.sample(PROBLEMS, **HOW)
    with load_sampler(folder, CONFIG) as several:
        assert isinstance(several, ParallelSampler)
        assert several.fits(PROBLEMS[0], "cot") == one.fits(PROBLEMS[0], "cot")
        assert several.sample(PROBLEMS, **HOW) == expected
        assert sorted(asked) == [0, 2, 4, 6, 8, 10]
        processes = [engine._process for engine in several._engines]
        assert all(processes)
        asked.clear()
        drawn = []
        for group in several.stream(PROBLEMS, **HOW):
            if not drawn:
                os.kill(processes[1].pid, signal.SIGKILL)  # type: ignore[union-attr]
            drawn += group
        assert drawn == expected
        assert len(asked) - 6 in (0, 1)  # it may have had nothing in hand
        stream = several.stream(PROBLEMS, **HOW)
        next(stream)
        stream.close()  # a stage that stops early
        assert several._engines[0]._process is None
    assert not Path(several._scratch.name).exists()


class Fake:
    """Stands for an engine's process: what `draw` does is in `acts`, by the first problem of a shard."""

    acts: Callable[[Shard], bool]

    def __init__(self, *_: Any) -> None: ...

    def draw(self, shard: Shard) -> bool:
        return Fake.acts(shard)

    def allow(self) -> None: ...

    def stop(self) -> None: ...


def respond(shard: Shard) -> bool:
    write_rollouts(
        shard.out, [Rollout(Response(p.id, 0, "cot", ""), [1], [2], [0.5], [True]) for p in shard.problems]
    )
    return True


@pytest.fixture
def fakes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ParallelSampler:
    monkeypatch.setattr(parallel, "_EngineProcess", Fake)
    return ParallelSampler(folder, CONFIG, 3, 100)


def test_a_shard_that_ends_every_process_is_given_up_in_a_line(fakes: ParallelSampler) -> None:
    ended: list[int] = []

    def acts(shard: Shard) -> bool:
        if shard.first != 4 or len(ended) == 2 + 3:
            return respond(shard)
        ended.append(shard.first)
        return False

    Fake.acts = staticmethod(acts)  # type: ignore[assignment]
    with pytest.raises(MathloopError, match=r"ended 3 times in the same 2 .*: lower") as error:
        fakes.sample(PROBLEMS, **HOW)
    assert "\n" not in str(error.value)
    assert len(ended) == 3
    ended += [0, 0]  # it succeeds the next time
    assert [r.response.problem_id for r in fakes.sample(PROBLEMS, **HOW)] == [p.id for p in PROBLEMS]


def test_an_engines_own_error_is_the_samplings(fakes: ParallelSampler) -> None:
    def acts(shard: Shard) -> bool:
        raise MathloopError.from_row(BadConfig("out of memory with one problem").to_row())

    Fake.acts = staticmethod(acts)  # type: ignore[assignment]
    with pytest.raises(BadConfig, match="out of memory with one problem") as error:
        fakes.sample(PROBLEMS, **HOW)
    assert error.value.exit_code == 2


class Sleeping(_EngineProcess):
    """Draws the first shard; at any other one its process answers nothing, and ends by itself soon."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._command = ["sleep", "1"]

    def draw(self, shard: Shard) -> bool:
        return respond(shard) if shard.first == 0 else super().draw(shard)


def test_closing_with_an_open_stream_starts_no_engine_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_EngineProcess", Sleeping)
    sampler = ParallelSampler(folder, CONFIG, 2, 100)
    stream = sampler.stream(PROBLEMS, **HOW)
    next(stream)
    sampler.close()
    with pytest.raises(MathloopError, match="the sampling was stopped"):
        list(stream)
    assert all(engine._process is None for engine in sampler._engines)


def test_a_stopped_engine_starts_only_when_it_is_allowed(tmp_path: Path) -> None:
    engine = Sleeping(tmp_path, CONFIG, 0, 1)
    engine.stop()
    assert not engine.draw(Shard(CONFIG, PROBLEMS, 4, "cot", 2, 0.5, 1, tmp_path / "out"))
    assert engine._process is None
    engine.allow()
    assert engine._running() is not None
    engine.stop()


def test_an_engine_that_left_a_line_unread_is_stopped_without_an_error(tmp_path: Path) -> None:
    engine = Sleeping(tmp_path, CONFIG, 0, 1)
    ended = subprocess.Popen(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ended.wait()
    assert ended.stdin is not None
    ended.stdin.write("a line")
    engine._process = ended
    engine.stop()
    assert ended.stdin.closed


def test_an_engine_s_failure_is_told_at_once_and_only_want_of_memory_is_tried_again() -> None:
    def fail(error: Exception) -> Callable[[], None]:
        def draw() -> None:
            raise error

        return draw

    assert engine_process.reply_to(lambda: None) == {}
    told = MathloopError.from_row(engine_process.reply_to(fail(KeyError("rope"))))  # type: ignore[arg-type]
    assert str(told) == "an engine failed with KeyError: 'rope'"
    assert engine_process.reply_to(fail(BadConfig("x")))["type"] == "BadConfig"
    with pytest.raises(RuntimeError, match="out of memory"):
        engine_process.reply_to(fail(RuntimeError("CUDA out of memory")))


def test_an_engine_ends_with_the_process_that_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(engine_process.os, "_exit", codes.append)
    source, sink = os.pipe()
    os.write(sink, b"one\ntwo\n")
    os.close(sink)
    lines: SimpleQueue[str] = SimpleQueue()
    engine_process.read_lines(source, lines)
    os.close(source)
    assert ([lines.get(), lines.get()], codes) == (["one\n", "two\n"], [0])


def test_vllm_wakes_up_after_pytorch_has_given_back_its_reserve(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = MagicMock()
    monkeypatch.setattr(torch.cuda, "empty_cache", calls.empty_cache)
    sampler = VllmSampler(calls.llm, tokenizer, CONFIG, in_trainer=True)
    sampler.wake()
    assert not calls.mock_calls
    sampler._asleep = True
    sampler.wake()
    assert [call[0] for call in calls.mock_calls] == ["empty_cache", "llm.wake_up"]


def test_rollouts_and_shards_come_back_as_they_were(tmp_path: Path) -> None:
    rollouts = [
        Rollout(Response("a", 0, "tir", "x", None, reward=None), [1, 2], [3, 4], [-0.1, 0.0], [True, False]),
        Rollout(Response("b", 1, "cot", "y", "7", True, "equal", 1.5, "length", 3), [5], [], [], []),
    ]
    write_rollouts(tmp_path / "r.parquet", rollouts)
    assert read_rollouts(tmp_path / "r.parquet") == rollouts
    shard = Shard(CONFIG, PROBLEMS, 4, "cot", 2, 0.5, 1 << 60, tmp_path / "out")
    assert Shard.from_json(shard.to_json()) == shard


def test_every_gpu_of_a_pod_has_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert engines_here(SamplingConfig()) == 1
    assert engines_here(SamplingConfig(engines=3)) == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert engines_here(SamplingConfig()) == 8
    split = SamplingConfig(engine="vllm", tensor_parallel=4)
    assert engines_here(split) == 2
    assert [_variables(4, i, 2)["CUDA_VISIBLE_DEVICES"] for i in (0, 1)] == ["0,1,2,3", "4,5,6,7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert _variables(1, 1, 2)["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    with pytest.raises(BadConfig, match="tensor_parallel=4 needs 4 GPUs, and this machine has 2"):
        engines_here(split)
    with pytest.raises(ValidationError, match="needs engine vllm"):
        SamplingConfig(tensor_parallel=2)
    with pytest.raises(ValidationError, match="tensor_parallel must be 1 in grpo"):
        GRPOConfig(sampling=split)


def test_vllm_splits_a_model_among_the_gpus_of_an_engine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm = MagicMock()
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    vllm_engine._load(folder, SamplingConfig(engine="vllm", tensor_parallel=4), 0)
    given = vllm.LLM.call_args.kwargs
    assert (given["tensor_parallel_size"], given["distributed_executor_backend"]) == (4, "mp")
