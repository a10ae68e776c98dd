"""The data order: a pure function of seed and step, whole passes, whatever the number of ranks."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from mathloop.training.order import batch_of, hash_data, steps_of


@given(st.integers(1, 50), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3))
def test_every_pass_takes_every_sample_once(samples: int, batch: int, epochs: int, seed: int) -> None:
    steps = -(-epochs * samples // batch)
    taken = [index for step in range(steps) for index in batch_of(samples, batch, step, seed)]
    assert len(taken) == steps * batch
    for epoch in range(epochs):
        assert sorted(taken[epoch * samples : (epoch + 1) * samples]) == list(range(samples))


@given(st.integers(1, 50), st.integers(1, 12), st.integers(0, 3), st.randoms())
def test_a_batch_depends_on_seed_and_step_alone(
    samples: int, batch: int, seed: int, chance: random.Random
) -> None:
    steps = list(range(30))
    in_order = {step: batch_of(samples, batch, step, seed) for step in steps}
    chance.shuffle(steps)
    random.seed(chance.random())
    assert {step: batch_of(samples, batch, step, seed) for step in steps} == in_order


def test_another_process_takes_the_same_and_another_seed_or_pass_does_not() -> None:
    code = "from mathloop.training.order import batch_of; print([batch_of(40, 8, s, 1) for s in range(10)])"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = [batch_of(40, 8, step, 1) for step in range(10)]
    assert there.strip() == str(here)
    assert here[0] != here[5]  # the same place in the next pass
    assert here[0] != batch_of(40, 8, 0, 2)


def test_steps_are_whole_batches_of_all_passes_and_at_least_one() -> None:
    assert [steps_of(10, 4, 1), steps_of(10, 4, 2), steps_of(10, 4, 3), steps_of(3, 64, 1)] == [2, 5, 7, 1]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5))
def test_data_of_another_row_or_order_has_another_name(rows: list[list[int]]) -> None:
    assert hash_data(rows) == hash_data(tuple(row) for row in rows)
    flat = [[token for row in rows for token in row]]
    for other in (rows[::-1], flat, [*rows, []], [[*row, 1] for row in rows]):
        assert (hash_data(other) == hash_data(rows)) == (other == rows)
