"""Two processes (gloo) learn what one learns, take the same data and stop together."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from mathloop.models.loading import new_reward_model
from mathloop.models.packing import micro_batches
from mathloop.training import ranks
from mathloop.training.order import batch_of
from mathloop.training.ranks import Ranks
from tests.unit.training import two_ranks
from tests.unit.training.toy import write_toy

pytestmark = pytest.mark.slow

Tensors = dict[str, torch.Tensor]


def kept(work: Path, step: int = two_ranks.STEPS) -> Tensors:
    """Every tensor of a checkpoint."""
    found: Tensors = {}
    for path in (work / "checkpoints" / f"step-{step:08d}").glob("*.safetensors"):
        found |= load_file(path)
    return found


def rows(work: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "tokens per second"} for row in lines]


def state(work: Path, step: int = two_ranks.STEPS) -> dict[str, float]:
    counts: dict[str, float] = json.loads(
        (work / "checkpoints" / f"step-{step:08d}" / "state.json").read_text()
    )["counts"]
    return counts


def check_alike(
    one: Path, other: Path, step: int = two_ranks.STEPS, tolerance: float = 2e-3, rel: float = 1e-4
) -> None:
    """Same losses and norms at every step, same weights and moments at `step`, to rounding."""
    mine, theirs = rows(one)[:step], rows(other)[:step]
    assert len(mine) == len(theirs) == step
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=rel, abs=1e-7)  # a loss may be nearly zero
    a, b = kept(one, step), kept(other, step)
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert (value - b[name]).norm() <= tolerance * value.norm() + 1e-7, name


def check_gradients(one: Path, other: Path) -> None:
    """After one step AdamW's first moment is the (clipped) gradient times 1 − β₁."""
    a, b = kept(one, 1), kept(other, 1)
    moments = [name for name in a if name.endswith(":exp_avg")]
    assert len(moments) * 3 == len(a) == len(b)
    for name in moments:
        assert a[name].abs().max() > 0, name
        assert torch.allclose(a[name], b[name], rtol=1e-3, atol=1e-7), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two made."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks.train(folder / "one")
    two_ranks.train(folder / "one-muon", optimizer="muon")
    two_ranks.train(folder / "one-then-two", until=2)
    write_toy(folder / "toy")
    reward, tokenizer = new_reward_model(folder / "toy" / "policy")
    reward.save(folder / "toy" / "opinion", tokenizer)
    two_ranks.run(folder, "plain", "stopped", "full", "tuned", "split")
    return folder


def test_the_micro_batches_of_the_test_are_uneven() -> None:
    """Or the tests below would prove little."""
    lengths = [len(sample.tokens) for sample in two_ranks.samples()]
    cuts = [
        micro_batches([lengths[i] for i in batch_of(len(lengths), 5, step, 0)], 32)
        for step in range(two_ranks.STEPS)
    ]
    assert {len(cut) % 2 for cut in cuts} == {0, 1}


def test_two_ranks_have_the_gradients_losses_and_weights_of_one(folder: Path) -> None:
    check_gradients(folder / "one", folder / "plain")
    check_alike(folder / "one", folder / "plain")
    check_alike(folder / "one-muon", folder / "muon")
    assert state(folder / "one") == state(folder / "plain")  # tokens of all ranks


def test_one_goes_on_where_two_stopped_and_two_where_one_stopped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept(folder / "plain-half", 2)
    two_ranks.train(folder / "plain-half")
    assert "step 2 of 5 from a checkpoint; resuming" in capsys.readouterr().err
    for name, value in kept(folder / "plain-half", 2).items():
        assert torch.equal(value, before[name])
    for resumed in ("plain-half", "one-then-two"):
        check_alike(folder / "one", folder / resumed)
        assert state(folder / "one") == state(folder / resumed)


def test_a_signal_to_one_stops_all_after_the_same_step(folder: Path) -> None:
    for rank in (0, 1):
        said = (folder / f"stopped-{rank}.txt").read_text()
        assert said.startswith("Interrupted: stopped by SIGTERM after step 3 of 5")
    check_alike(folder / "one", folder / "stopped", 3)


@pytest.mark.parametrize("full", [0, 1])
def test_a_full_disk_of_one_stops_all(folder: Path, full: int) -> None:
    said = [(folder / f"full{full}-{rank}.txt").read_text() for rank in (0, 1)]
    assert "No space left on device" in said[full]
    assert "the checkpoint of step 1 is intact" in said[0]
    assert f"StorageRefused: process {full} could not write the checkpoint of step 2" in said[1 - full]
    assert [path.name for path in (folder / f"full{full}" / "checkpoints").iterdir()] == ["step-00000001"]


def test_each_rank_writes_its_part_of_a_checkpoint(folder: Path) -> None:
    files = sorted((folder / "plain" / "checkpoints" / "step-00000005").glob("*.safetensors"))
    assert [path.name for path in files] == ["tensors-00000.safetensors", "tensors-00001.safetensors"]
    first, second = (set(load_file(path)) for path in files)
    assert not first & second
    sizes = [path.stat().st_size for path in files]
    assert min(sizes) > 0.4 * sum(sizes)


def test_sft_data_is_encoded_by_one_process_of_a_machine(folder: Path) -> None:
    two_ranks.fine_tune(folder, "one")
    check_alike(folder / "tuned-one", folder / "tuned-two", 4)
    assert not (folder / "tuned-two" / "encoded").exists()


def test_a_group_on_two_ranks_has_the_advantages_losses_and_weights_of_one(folder: Path) -> None:
    two_ranks.reinforce_one_group(folder, "one")
    one, two = (pq.read_table(folder / f"split-{name}.parquet").to_pylist() for name in ("one", "two"))
    places = [(row["step"], row["problem_id"], row["sample"]) for row in one]
    assert len(set(places)) == len(places) == 16
    assert len({row["advantage"] for row in one}) > 3
    by_place = {(row["step"], row["problem_id"], row["sample"]): row for row in two}
    for place, row in zip(places, one, strict=True):
        other = by_place[place]
        assert row["text"] == other["text"]
        for name in ("reward", "shaped_reward", "advantage"):
            assert row[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5), name
    check_alike(folder / "split-one", folder / "split-two", 4)


def test_gradients_are_summed_bucket_by_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the sum of each; parameters that one rank did not reach count as zeros there."""
    messages = []

    def double(tensor: torch.Tensor) -> None:
        messages.append(tensor.numel())
        tensor.mul_(2)  # as if the other rank had the same

    monkeypatch.setattr(ranks.distributed, "all_reduce", double)
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 4, 2, 8, 1)]
    for i, parameter in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, float(i)) if i != 1 else None
    Ranks(0, 2, torch.device("cpu")).sum_gradients(parameters, bucket=6)
    assert messages == [7, 10, 1]
    for i, parameter in enumerate(parameters):
        assert parameter.grad is not None
        assert parameter.grad.tolist() == [2.0 * i if i != 1 else 0.0] * parameter.numel()
