"""DeepSpeed ZeRO 1 to 3 on two and three processes: what is learned is as in one plain process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from mathloop.errors import BadConfig
from mathloop.models.loading import new_reward_model
from tests.unit.training import two_ranks
from tests.unit.training.test_training_ranks import check_alike, check_gradients, kept, rows, state
from tests.unit.training.toy import write_toy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("deepspeed") is None, reason="the package deepspeed is not installed"
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zero")
    two_ranks.train(folder / "one")
    for stage in (1, 2, 3):
        two_ranks.train(folder / f"one-then-zero{stage}", until=2)
    two_ranks.run(folder, "zero")
    return folder


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_has_the_gradients_losses_and_weights_of_one_plain_process(folder: Path, stage: int) -> None:
    check_gradients(folder / "one", folder / f"zero{stage}")
    check_alike(folder / "one", folder / f"zero{stage}")
    assert state(folder / "one") == state(folder / f"zero{stage}")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_goes_on_from_its_own_checkpoint_bit_for_bit(folder: Path, stage: int) -> None:
    whole, again = kept(folder / f"zero{stage}"), kept(folder / f"zero{stage}-again")
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    assert rows(folder / f"zero{stage}") == rows(folder / f"zero{stage}-again")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_one_plain_process_goes_on_where_a_stage_stopped(folder: Path, stage: int) -> None:
    two_ranks.train(folder / f"zero{stage}-half")
    check_alike(folder / "one", folder / f"zero{stage}-half")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_goes_on_where_one_plain_process_stopped(folder: Path, stage: int) -> None:
    check_alike(folder / "one", folder / f"one-then-zero{stage}")


@pytest.fixture(scope="module")
def offloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("offloaded")
    two_ranks.train(folder / "one")
    two_ranks.run(folder, "offload")
    return folder


@pytest.mark.parametrize(("what", "stage"), two_ranks.OFFLOADS)
def test_what_is_offloaded_learns_alike_and_goes_on(offloaded: Path, what: str, stage: int) -> None:
    check_alike(offloaded / "one", offloaded / f"{what}{stage}")
    check_alike(offloaded / f"{what}{stage}", offloaded / f"{what}{stage}-half")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    for tied in (False, True):
        two_ranks.train_wide(folder / f"one-{tied}", tied=tied)
    two_ranks.run(folder, "wide", checked=True, processes=3)
    return folder


@pytest.mark.parametrize(("name", "tied"), [("wide", False), ("wide", True), ("wide-recomputed", True)])
def test_stage_3_takes_a_real_vocabulary_with_unequal_token_counts(wide: Path, name: str, tied: bool) -> None:
    """The head is applied in chunks, of which the three ranks have tokens for different numbers."""
    check_alike(wide / f"one-{tied}", wide / f"{name}-{tied}", 2)


@pytest.fixture(scope="module")
def accumulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accumulated")
    two_ranks.run(folder, "accumulated")
    return folder


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_gradients_of_many_micro_batches_are_summed_in_float32(
    accumulated: Path, stage: int
) -> None:
    """A sum in bfloat16 would stop growing: 256 equal parts were up to 1.9 % off."""
    whole, parts, resumed = torch.load(accumulated / f"accumulated-{stage}.pt")
    assert float((parts - whole).norm() / whole.norm()) < 1e-4
    assert torch.equal(resumed, parts)


def test_stage_3_draws_responses_that_end_at_different_lengths_on_each_of_three_ranks(tmp_path: Path) -> None:
    write_toy(tmp_path)
    reward, tokenizer = new_reward_model(tmp_path / "policy")
    reward.save(tmp_path / "opinion", tokenizer)
    two_ranks.run(tmp_path, "unequal", checked=True, processes=3)
    drawn = pq.read_table(tmp_path / "unequal-3" / "rollouts")
    assert drawn["tokens"].to_pylist() == 2 * ([8] * 4 + [1] * 4 + [8] * 4)
    check_alike(tmp_path / "unequal-0", tmp_path / "unequal-3", 2, rel=1e-3)
    kl = [row["KL"] for row in rows(tmp_path / "unequal-3")]
    assert (kl[0], kl[1] > 0) == (0.0, True)  # the reference computes as the sharded policy does


def test_muon_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"engine\.zero=2 .* set optimizer\.optimizer=adamw, or"):
        two_ranks.train(tmp_path, optimizer="muon", zero=2)
