"""An evaluation asks each benchmark's problems as its entry says: few-shot text, or examples as turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadConfig
from mathloop.evaluation import evaluate, measure
from mathloop.evaluation.benchmarks import find_benchmark
from mathloop.evaluation.config import BenchmarksConfig, EvaluationConfig
from mathloop.evaluation.measure import NamedProblems
from mathloop.models.saving import save_model
from mathloop.records import Problem, read_rows, write_problems
from mathloop.sampling.config import PromptConfig, SamplingConfig


def named(name: str, **changes: Any) -> NamedProblems:
    entry = find_benchmark(name)

    def read() -> Iterator[Problem]:
        yield Problem(f"{name}/1", "3 + 4?", "7", source=name)

    settings = changes.get("settings", PromptConfig())
    modes = entry.model_copy(update={"tool_use": changes.get("tool_use", True)}).modes
    return NamedProblems(name, read, changes.get("prompt", entry.prompting(settings)), modes)


def prompts(model: Path, out: Path, benchmarks: list[NamedProblems], **changes: Any) -> dict[str, str]:
    """Benchmark/mode → the prompt that was put to the model."""
    config = EvaluationConfig(samples=1, sampling=SamplingConfig(max_tokens=2, **changes.pop("sampling", {})))
    measure.run(
        **{
            "model": model,
            "benchmarks": benchmarks,
            "reward_model": None,
            "out": out,
            "modes": ["cot"],
            "ks": [1],
            "config": config,
            "seed": 0,
            **changes,
        }
    )
    rows = [row for path in sorted(out.rglob("*.parquet")) for row in read_rows(path)]
    return {f"{row['benchmark']}/{row['mode']}": row["prompt"] for row in rows}


@pytest.fixture
def base(tokenizer: Any, tiny_model: Any, tmp_path: Path) -> Path:
    """A base model: its tokenizer has no chat template."""
    other = deepcopy(tokenizer)
    other.chat_template = None
    save_model(tmp_path / "base", tiny_model(len(other)), other)
    return tmp_path / "base"


def test_a_base_model_is_asked_by_each_benchmarks_few_shot_text(base: Path, tmp_path: Path) -> None:
    found = prompts(base, tmp_path / "out", [named("gsm8k"), named("math"), named("cmath")])
    shots = {name: text.count("Question:") + text.count("问题：") - 1 for name, text in found.items()}
    assert shots == {"gsm8k/cot": 8, "math/cot": 4, "cmath/cot": 6}
    assert found["gsm8k/cot"].endswith("\n\nQuestion: 3 + 4?\nAnswer:")
    with pytest.raises(BadConfig, match="few-shot set gsm8k has no TIR solutions"):
        prompts(base, tmp_path / "tir", [named("gsm8k")], modes=["tir"])
    changed = named("gsm8k", prompt=PromptConfig(few_shot="gsm8k", shots=2))
    with pytest.raises(BadConfig, match="prompt of gsm8k"):
        prompts(base, tmp_path / "out", [changed])


def test_a_chat_model_is_asked_in_turns_and_without_tools_where_the_entry_says_so(
    tokenizer: Any, tiny_model: Any, tmp_path: Path
) -> None:
    save_model(tmp_path / "chat", tiny_model(len(tokenizer)), tokenizer)
    both = [named("mmlu_stem", tool_use=False), named("gsm8k")]
    found = prompts(tmp_path / "chat", tmp_path / "out", both, modes=["cot", "tir"])
    assert set(found) == {"mmlu_stem/cot", "gsm8k/cot", "gsm8k/tir"}
    assert found["mmlu_stem/cot"].count("<|im_start|>user") == 6
    assert found["gsm8k/cot"].count("<|im_start|>user") == 1
    with pytest.raises(BadConfig, match=r"--modes tir: mmlu_stem is measured in cot alone \(tool_use"):
        prompts(tmp_path / "chat", tmp_path / "none", both, modes=["tir"])
    system = PromptConfig(instruction="system")
    both = [named("mmlu_stem", settings=system), named("gsm8k", settings=system)]
    found = prompts(tmp_path / "chat", tmp_path / "system", both)
    assert all(text.startswith("<|im_start|>system\nPlease reason") for text in found.values())
    assert found["mmlu_stem/cot"].count("<|im_start|>user") == 6


def test_a_round_asks_each_named_benchmark_as_its_entry_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, set[str]] = {}

    class Noting:
        """Notes the prompt of each problem, and answers nothing."""

        config: SamplingConfig

        def fits(self, problem: Problem, mode: str) -> bool:
            asked.setdefault(problem.id, set()).add(self.config.prompt.model_dump_json())
            return False

        def stream(self, problems: list[Problem], **_: Any) -> Iterator[Any]:
            return iter(problems)

    @contextmanager
    def load(*_: Any) -> Iterator[Noting]:
        yield Noting()

    monkeypatch.setattr(evaluate, "load_sampler", load)
    problems = [
        Problem("mmlu_stem/0", "?", "A", source="mmlu_stem"),
        Problem("7", "?", "1", source="held-out"),
        Problem("gsm8k/0", "?", "1", source="gsm8k"),
    ]
    write_problems(tmp_path / "benchmark.parquet", problems)

    def run(config: SamplingConfig, *named_ones: str, responses: int = 18) -> dict[str, tuple[str, int]]:
        asked.clear()
        report = evaluate.run(
            benchmark=tmp_path / "benchmark.parquet",
            models={"champion": tmp_path},
            reward_model=tmp_path / "none",
            out=tmp_path / "results.parquet",
            config=EvaluationConfig(samples=2, sampling=config),
            seed=0,
            named=BenchmarksConfig(measure=named_ones),
        )
        assert report.generated == responses
        found = {name: PromptConfig.model_validate_json(text) for name, (text,) in asked.items()}
        return {name: (prompt.few_shot, prompt.chat_shots) for name, prompt in found.items()}

    plain = dict.fromkeys([problem.id for problem in problems], ("", 0))
    assert run(SamplingConfig()) == plain
    assert run(SamplingConfig(), "mmlu_stem", "gsm8k") == {
        **plain,
        "mmlu_stem/0": ("multiple_choice", 5),
        "gsm8k/0": ("gsm8k", 0),
    }
    set_by_user = SamplingConfig(prompt=PromptConfig(few_shot="math", chat_shots=2))
    assert run(set_by_user, "mmlu_stem", "gsm8k") == dict.fromkeys(plain, ("math", 2))
    (tmp_path / "mmlu_stem.yaml").write_text("tool_use: false\nfew_shot: math\nchat_shots: 2\n")
    for config, shots in ((SamplingConfig(), ("", 0)), (set_by_user, ("math", 2))):
        found = run(config, str(tmp_path / "mmlu_stem.yaml"), "gsm8k", responses=3 + 6 + 6)
        own = {"mmlu_stem/0": ("math", 2), **({} if shots[1] else {"gsm8k/0": ("gsm8k", 0)})}
        assert found == {**dict.fromkeys(plain, shots), **own}
        rows = read_rows(tmp_path / "results.parquet")
        assert {row["mode"] for row in rows if row["problem_id"] == "mmlu_stem/0"} == {"cot"}
