"""Online rejection fine-tuning with the real sampler, sandbox and SFT, on a policy that guesses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mathloop.records import read_responses
from mathloop.sampling.config import SamplingConfig
from mathloop.synthesis import tir
from mathloop.synthesis.config import TIRConfig
from mathloop.training.config import OptimizerConfig, SFTConfig
from mathloop.training.processes import train


def test_the_policy_is_tuned_on_what_it_got_right(trained: Path, tmp_path: Path) -> None:
    sft = SFTConfig(epochs=10, batch_size=16, optimizer=OptimizerConfig(learning_rate=3e-3))
    report = tir.run(
        problems=trained / "problems.jsonl",
        policy=trained / "policy",
        out=tmp_path / "out.parquet",
        config=TIRConfig(
            iterations=2, samples=2, keep=4, temperatures=(0.8, 1.0), sampling=SamplingConfig(max_tokens=80)
        ),
        seed=3,
        train=partial(train, "sft", config=sft),
        work=tmp_path / "work",
    )
    (_, first), (_, second) = report.curves["share of right responses by iteration"]
    assert 0 < first < 1
    assert second > 0
    kept = list(read_responses(tmp_path / "out.parquet"))
    assert len(kept) == report.kept
    assert all(r.correct and r.tool_calls for r in kept)
    assert len({(r.problem_id, r.text) for r in kept}) == len(kept)
