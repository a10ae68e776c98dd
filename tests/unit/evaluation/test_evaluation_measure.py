"""An evaluation in a folder: every response kept, resumed after a kill, refused where it is another one."""

from __future__ import annotations

import json
import os
import signal
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation import measure, passes, print_scores, saved, tabulate
from mathloop.evaluation.config import EvaluationConfig
from mathloop.evaluation.measure import NamedProblems
from mathloop.evaluation.rescoring import fold
from mathloop.records import Mode, Problem, Response, read_responses, read_rows
from mathloop.sampling.config import PromptConfig, SamplingConfig
from mathloop.sampling.sampler import Rollout, Sampler


class Scripted(Sampler):
    """Answers right where seed, problem and sample say so; notes each batch in a file, and may be killed."""

    def __init__(self, log: Path, kill_after: int | None = None, text: str = "") -> None:
        self.log, self.left, self.text = log, kill_after, text

    def close(self) -> None:
        """Holds nothing."""

    def fits(self, problem: Problem, mode: Mode) -> bool:
        return True

    def stream(
        self, problems: Sequence[Problem], *, mode: Mode, samples: int, temperature: float, seed: int
    ) -> Iterator[list[Rollout]]:
        for problem in problems:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left = None if self.left is None else self.left - 1
            with self.log.open("a") as file:
                file.write(f"{mode} {temperature} {problem.id}\n")
            prompt = [int(problem.id.partition("/")[2])]
            yield [
                Rollout(
                    Response(
                        problem.id,
                        sample,
                        mode,
                        f"It is \\boxed{{{(prompt[0] + sample + seed) % 2}}}.{self.text}",
                        answer=str((prompt[0] + sample + seed) % 2),
                        tokens=5,
                        temperature=temperature,
                    ),
                    *(prompt, [], [], []),
                )
                for sample in range(samples)
            ]


ASKED = SamplingConfig(max_tokens=160, prompt=PromptConfig(instruction="system"))


class Words:
    """A tokenizer of one word."""

    def decode(self, tokens: list[int]) -> str:
        return f"<user>{tokens[0]}"


def benchmark(name: str, count: int, parent: str | None = None) -> NamedProblems:
    def read() -> Iterator[Problem]:
        for number in range(count):
            yield Problem(f"{name}/{number}", f"{number}?", "1", source=name, parent=parent)

    return NamedProblems(name, read)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Sets the sampler that the next evaluation draws from."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.setattr(measure, "check_model", lambda *_, **__: None)
    monkeypatch.setattr(measure, "load_tokenizer", lambda _, chat: Words())
    for module in (passes, saved):
        monkeypatch.setattr(module, "SHARD", 8)

    def set_sampler(sampler: Scripted) -> None:
        @contextmanager
        def load(*_: Any) -> Iterator[Scripted]:
            yield sampler

        monkeypatch.setattr(measure, "load_sampler", load)

    set_sampler(Scripted(tmp_path / "log"))
    return set_sampler


def run(folder: Path, out: str, **changes: Any) -> Any:
    asked: dict[str, Any] = {
        "model": folder / "model",
        "benchmarks": [benchmark("a", 10), benchmark("b", 3)],
        "reward_model": None,
        "out": folder / out,
        "modes": ["cot", "tir"],
        "ks": [1, 2],
        "config": EvaluationConfig(samples=2),
        "seed": 1,
    }
    return measure.run(**{**asked, **changes})


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        str(path.relative_to(folder)): list(read_rows(path)) for path in sorted(folder.rglob("*.parquet"))
    }


def test_a_folder_keeps_every_prompt_response_verdict_problem_and_gold(scripted: Any, tmp_path: Path) -> None:
    table = run(tmp_path, "out")
    files = rows_of(tmp_path / "out")
    rows = [row for found in files.values() for row in found]
    assert len(rows) == 13 * 2 * 3
    assert list(files)[:4] == [
        "a/cot-greedy-00000.parquet",
        "a/cot-greedy-00001.parquet",
        "a/cot-sampled-00000.parquet",
        "a/cot-sampled-00001.parquet",
    ]
    first = rows[0]
    expected = {"benchmark": "a", "problem_id": "a/0", "problem": "0?", "gold": "1", "prompt": "<user>0"}
    assert {name: first[name] for name in expected} == expected
    assert first["correct"] is (first["answer"] == "1")
    assert (first["sample"], first["mode"], first["reward"]) == (-1, "cot", None)
    responses = list(read_responses(tmp_path / "out" / "a" / "cot-sampled-00000.parquet"))
    assert [response.sample for response in responses[:4]] == [0, 1, 0, 1]
    assert table.groups[:1] == ["all"]
    assert {"benchmark:a", "benchmark:b", "average"} <= set(table.groups)
    assert table.metrics == ["greedy", "maj@1", "maj@2", "pass@1", "pass@2"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == table.to_rows()
    assert (tmp_path / "out" / "scores.csv").read_text() == table.to_csv()
    again = fold([tmp_path / "out"], verify=True)
    assert again.differing == 0
    assert again.by_verifier.responses == len(rows)


@pytest.mark.parametrize("after", [1, 11, 29, 50])
def test_a_killed_evaluation_is_resumed_and_no_finished_shard_is_drawn_again(
    scripted: Any, tmp_path: Path, after: int
) -> None:
    run(tmp_path, "whole")
    scripted(Scripted(tmp_path / "first", kill_after=after))
    child = os.fork()
    if child == 0:
        run(tmp_path, "out")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    finished = {
        f"{row['mode']} {row['temperature']} {row['problem_id']}"
        for rows in rows_of(tmp_path / "out").values()
        for row in rows
    }
    assert not saved.is_complete(tmp_path / "out")
    scripted(Scripted(tmp_path / "second"))
    run(tmp_path, "out")
    drawn_again = (tmp_path / "second").read_text().splitlines()
    assert len(drawn_again) == 13 * 4 - len(finished)
    assert not finished & set(drawn_again)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert saved.is_complete(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_a_pass_that_was_not_finished_is_scored_over_what_it_drew(scripted: Any, tmp_path: Path) -> None:
    def odd() -> Iterator[Problem]:
        for number in range(1, 20, 2):
            yield Problem(f"a/{number}", f"{number}?", "1", source="a")

    asked = {"benchmarks": [NamedProblems("a", odd)], "modes": ["cot"], "ks": [1]}
    run(tmp_path, "out", config=EvaluationConfig(samples=1), **asked)
    (tmp_path / "out" / "a" / "cot-sampled-00001.parquet").unlink()
    table = tabulate(fold([tmp_path / "out"]).by_labels, [1])
    scores = [table.get("model", "cot", metric) for metric in ("greedy", "mean@1")]
    assert [(score.value, score.n) for score in scores if score] == [(0.8, 10), (1, 8)]
    assert " 8–10 " in print_scores(table)


def test_another_benchmark_or_mode_is_added_and_another_evaluation_refused(
    scripted: Any, tmp_path: Path
) -> None:
    run(tmp_path, "out", benchmarks=[benchmark("a", 10)], modes=["cot"])
    (tmp_path / "log").unlink()
    table = run(tmp_path, "out", ks=[2])
    assert len((tmp_path / "log").read_text().splitlines()) == 10 * 2 + 3 * 4
    several = EvaluationConfig(samples=2).sampling.model_copy(update={"engines": 2})  # changes no draw
    run(tmp_path, "out", config=EvaluationConfig(samples=2, sampling=several))
    assert table.modes == ["cot", "tir"]
    for change, said in (
        ({"seed": 2}, "seed 1, now it is 2"),
        ({"config": EvaluationConfig(samples=4)}, "samples 2, now it is 4"),
        ({"benchmarks": [benchmark("a", 9)]}, "problems of a"),
        ({"config": EvaluationConfig(samples=2, sampling=ASKED)}, "sampling"),
    ):
        with pytest.raises(BadConfig, match=said):
            run(tmp_path, "out", **change)
    (tmp_path / "model" / "config.json").write_text('{"other": 1}')
    with pytest.raises(BadConfig, match="model files"):
        run(tmp_path, "out")
    with pytest.raises(BadConfig, match="something else is there"):
        run(tmp_path, "model")
    with pytest.raises(BadData, match="the benchmark a has no problems"):
        run(tmp_path, "new", benchmarks=[benchmark("a", 0)])
    assert not (tmp_path / "new").exists()


def test_another_model_is_noticed_by_any_byte_of_it(scripted: Any, tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    for middle in (0, 1):
        weights.write_bytes(bytes(100_000) + bytes([middle]) + bytes(100_000))
        if middle == 0:
            run(tmp_path, "out", modes=["cot"])
    with pytest.raises(BadConfig, match="model files"):
        run(tmp_path, "out", modes=["cot"])


def test_a_damaged_plan_is_one_line(scripted: Any, tmp_path: Path) -> None:
    run(tmp_path, "out")
    (tmp_path / "out" / "evaluation.json").write_text("{")
    with pytest.raises(BadData, match=r"evaluation\.json"):
        run(tmp_path, "out")


def test_memory_does_not_grow_with_the_responses(
    scripted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 MB of responses pass through in shards of 256; a quarter of that is never held."""
    for module in (passes, saved):
        monkeypatch.setattr(module, "SHARD", 256)
    scripted(Scripted(tmp_path / "log", text="x" * 4_000))
    peaks = []
    for count in (200, 600):
        tracemalloc.start()
        try:
            run(
                tmp_path,
                f"out-{count}",
                benchmarks=[benchmark("a", count, parent="one")],
                modes=["cot"],
                config=EvaluationConfig(samples=4),
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 4_000_000
    assert peaks[1] < 1.3 * peaks[0]
