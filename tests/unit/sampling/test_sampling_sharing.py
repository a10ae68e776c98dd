"""A stage whose sampling several pods share writes what one pod writes, byte for byte, also after a kill."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mathloop.errors import Corrupt, MathloopError
from mathloop.evaluation import evaluate
from mathloop.evaluation.config import EvaluationConfig
from mathloop.records import Mode, Problem, Response, read_problems, read_responses, write_problems
from mathloop.sampling import engines
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.sampling.sharing import Pod, Replay, Shards, keeping, pod, run_keeping
from mathloop.sampling.sources import sampling_from
from mathloop.storage import open_store
from mathloop.synthesis import cot, reward_data, selection, tir
from mathloop.synthesis.config import CoTConfig, RewardDataConfig, SelectionConfig, TIRConfig
from mathloop.writing import write
from mathloop.writing.config import WritingConfig
from tests.model_faults import write_models

SAMPLING = SamplingConfig(max_tokens=6, batch_size=4)
PROBLEMS = [Problem(str(i), f"{i} + {i * i}?", None if i == 4 else str(i)) for i in range(9)]
LONG = Problem("long", "Why? " * 2000, "1")
Run = Callable[[Path], Any]
"""Runs a stage that writes to the folder."""


@pytest.fixture(scope="module")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    write_problems(folder / "problems", [*PROBLEMS[:5], LONG, *PROBLEMS[5:]])
    return folder


@pytest.fixture
def models(_written: Path, loaded: TransformersSampler, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Their folder; the policy is loaded once for all tests."""
    for module in (engines, pod):
        monkeypatch.setattr(module, "load_engines", lambda *_: loaded)
    return _written


@pytest.fixture(scope="module")
def loaded(_written: Path) -> Iterator[TransformersSampler]:
    with (
        TransformersSampler.load(_written / "policy", SAMPLING) as sampler,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(TransformersSampler, "close", lambda self: None)
        yield sampler


class Stage(NamedTuple):
    """A stage with its arguments, but for those that it writes to."""

    func: Callable[..., Any]
    keywords: dict[str, Any]
    outputs: tuple[str, ...] = ("out", "dropped")

    def __call__(self, folder: Path, call: Callable[..., Any] | None = None) -> Any:
        """Runs it, or `call(func, arguments)`, with its outputs in the folder."""
        folder.mkdir(exist_ok=True)
        arguments = self.keywords | {name: folder / name for name in self.outputs}
        return call(self.func, arguments) if call else self.func(**arguments)


def stages(models: Path) -> dict[str, Stage]:
    policy, reward_model, problems = (models / name for name in ("policy", "reward_model", "problems"))

    def stage(run: Callable[..., Any], config: Any, **more: Any) -> Stage:
        return Stage(run, {"problems": problems, "policy": policy, "config": config, "seed": 3, **more})

    measured = {"benchmark": problems, "models": {"sft": policy}, "reward_model": reward_model, "seed": 3}
    return {
        "cot": stage(cot.run, CoTConfig(samples=2, keep=2, sampling=SAMPLING), reward_model=reward_model),
        "tir": stage(tir.run, TIRConfig(samples=1, keep=1, temperatures=(0.7, 1.0), sampling=SAMPLING)),
        "reward_data": stage(
            reward_data.run,
            RewardDataConfig(samples=2, champion_samples=1, balanced=False, sampling=SAMPLING),
            champion=policy,
        ),
        "selection": stage(selection.run, SelectionConfig(samples=2, least=0, most=1, sampling=SAMPLING)),
        "evaluation": Stage(
            evaluate.run, measured | {"config": EvaluationConfig(samples=3, sampling=SAMPLING)}, ("out",)
        ),
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def in_pods(run: Run, shards: Shards, folder: Path, only: Sequence[int] = (0, 1), **how: Any) -> list[str]:
    """What the pods say."""
    said: list[str] = []
    for index in only:
        one = Pod(shards, index, say=said.append, **how)
        with sampling_from(one):
            run(folder / f"pod-{index}-{len(list(folder.iterdir()))}")
        one.end()
    return said


def replayed(run: Run, shards: Shards, folder: Path) -> dict[str, bytes]:
    with sampling_from(Replay(shards)):
        run(folder)
    return contents(folder)


@pytest.mark.parametrize("name", ["cot", "tir", "reward_data", "selection", "evaluation"])
def test_two_pods_write_what_one_writes(
    models: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stages(models)[name]
    report = run(tmp_path / "one")
    size = 15 if name == "evaluation" else 6
    shards = Shards(open_store(f"file://{tmp_path}/store"), f"sampling/run/{name}", size, 2)
    stream, asked = TransformersSampler.stream, []

    def dies(*arguments: Any, **named: Any) -> Iterator[list[Rollout]]:
        asked.append(len(arguments[1]))
        if len(asked) == 2:
            raise KeyboardInterrupt  # the pod is killed in its second shard
        yield from stream(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(TransformersSampler, "stream", dies)
        with pytest.raises(KeyboardInterrupt):
            in_pods(run, shards, tmp_path, only=[0])
    done = set(shards.store.names())
    assert done == {shards.artifact(0)}
    said = in_pods(run, shards, tmp_path)
    assert len(said) == len(set(said)) == len(list(shards.store.names(f"{shards.name}/shards/"))) - 1
    assert shards.complete()

    def draws(*_: Any, **__: Any) -> None:
        raise AssertionError("the replay draws nothing")

    monkeypatch.setattr(engines, "load_engines", draws)
    replay = Replay(shards)
    with sampling_from(replay):
        read = run(tmp_path / "two")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert report.generated
    assert (read.generated, read.kept, read.dropped) == (report.generated, report.kept, report.dropped)
    if name == "evaluation":
        # Reading them takes no time to speak of.
        speed = read.values["tokens"] / replay.seconds
        assert read.values["tokens_per_second"] == pytest.approx(speed)
        assert {one.reason for one in read_responses(tmp_path / "two" / "out") if one.problem_id == "long"}
        assert all(r.reward is not None for r in read_responses(tmp_path / "two" / "out") if r.tokens)


@pytest.mark.parametrize("name", ["cot", "reward_data", "selection", "evaluation"])
def test_a_stage_that_samples_alone_goes_on_where_it_was_killed(
    models: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(keeping.BATCHES, "transformers", 1)
    run = stages(models)[name]
    run(tmp_path / "one")
    stream, asked, kills = TransformersSampler.stream, [], [KeyboardInterrupt]

    def dies(*arguments: Any, **named: Any) -> Iterator[list[Rollout]]:
        asked.append([problem.id for problem in arguments[1]])
        if len(asked) == 3 and kills:
            raise kills.pop()
        yield from stream(*arguments, **named)

    monkeypatch.setattr(TransformersSampler, "stream", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", run_keeping)
    run(tmp_path / "two", run_keeping)
    assert asked[2] == asked[3]  # the first two shards are not drawn again
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert [path.name for path in (tmp_path / "two").iterdir() if path.is_dir()] == []


class Batched(Sampler):
    """Plays an engine: what it draws depends on seed and batch, as the engine of transformers does."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.config, self._texts = SAMPLING, texts

    def close(self) -> None:
        """Holds nothing."""

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        for start in range(0, len(problems), 4):
            drawn = random.Random(f"{seed}-{first + start}")
            yield [
                Rollout(Response(one.id, 0, mode, drawn.choice(self._texts), tokens=3), [], [], [], [])
                for one in problems[start : start + 4]
            ]


PARENTS = [
    Problem("a", "Tom has 12 apples and eats 5 of them. How many apples are left?", "7", family="loss"),
    Problem("b", "A train travels 90 miles in 3 hours. What is its speed in miles per hour?", "30"),
]


def test_pods_of_a_writer_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes are on problems that another pod may have written."""
    texts = [f"Mia has {n} red pens and buys {n + 3} more. How many pens does she have?" for n in range(9)]
    texts += [f"So it is \\boxed{{{n}}}." for n in range(2)]
    write_problems(tmp_path / "parents", PARENTS)
    monkeypatch.setattr(engines, "load_engines", lambda *_: Batched(texts))
    monkeypatch.setattr(pod, "load_engines", lambda *_: Batched(texts))
    for sampler in (Batched, pod._PodSampler):
        monkeypatch.setattr(
            sampler, "fits", lambda self, problem, mode: len(problem.problem) < 9000, raising=False
        )
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text("{}")

    def run(folder: Path) -> Any:
        return write.run(
            problems=tmp_path / "parents", policy=tmp_path / "policy", out=folder / "out", seed=3,
            dropped=folder / "dropped", work=folder / "work",
            config=WritingConfig(
                templates=("change_numbers",), count=24, shard=12, votes=2, agreement=0.1, similarity=1.0,
                sampling=SAMPLING,
            ),
        )  # fmt: skip

    assert run(tmp_path / "one").kept > 2
    shards = Shards(open_store(f"file://{tmp_path}/store"), "sampling/run/writing", 8192, 2, waits=True)
    failed: list[BaseException] = []
    said: list[list[str]] = [[], []]

    def work(index: int) -> None:
        one = Pod(shards, index, say=said[index].append, poll_seconds=0.01)
        try:
            with sampling_from(one):
                run(tmp_path / f"pod-{index}")
            one.end()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert min(map(len, said)) > 1  # each has its part of every call, however large a shard may be
    assert replayed(run, shards, tmp_path / "two") == contents(tmp_path / "one")
    assert contents(tmp_path / "pod-0") == contents(tmp_path / "pod-1") == contents(tmp_path / "one")
    # A pod without a node does not stop the others for ever.
    alone = replace(shards, name="sampling/run/alone")
    in_pods(run, alone, tmp_path, only=[0], poll_seconds=0.01, patience=0.02)
    assert len(list(alone.store.names(f"{alone.name}/shards/"))) == len(
        list(shards.store.names(f"{shards.name}/shards/"))
    )


def test_a_shard_of_other_problems_is_removed_and_drawn_again(models: Path, tmp_path: Path) -> None:
    run = stages(models)["selection"]
    shards = Shards(open_store(f"file://{tmp_path}/store"), "sampling/run/selection", 8, 2)
    in_pods(run, shards, tmp_path)
    file = tmp_path / "store" / shards.artifact(1) / "responses.parquet"
    file.write_bytes(b"another pod's")
    with pytest.raises(Corrupt, match="shard 2 was removed; retry the step"):
        replayed(run, shards, tmp_path / "two")
    assert not (tmp_path / "two" / "out").exists()
    assert not shards.complete()
    assert in_pods(run, shards, tmp_path) == ["shard 2 is done"]
    assert shards.complete()
    other = replace(shards, responses=4)  # as if the step were another one
    with pytest.raises(Corrupt, match="of other problems"):
        replayed(run, other, tmp_path / "three")


def test_a_stage_that_ends_before_it_has_scored_all_is_an_error(models: Path, tmp_path: Path) -> None:
    shards = Shards(open_store(f"file://{tmp_path}/store"), "sampling/run/cot", 8, 1)
    one = Pod(shards, 0)
    with sampling_from(one):
        one.scorer(models / "reward_model", "float32")
        sampler = one.sampler(models / "policy", SAMPLING)
        asked = list(read_problems(models / "problems"))[:2]
        next(sampler.stream(asked, mode="cot", samples=1, temperature=1.0, seed=0))
    with pytest.raises(MathloopError, match="before it had scored"):
        one.end()
