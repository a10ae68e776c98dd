"""Checkpoints that are torn, tampered with, refused by the disk, or behind a store that is down."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathloop.errors import StorageRefused
from mathloop.storage import Store, describe_source, open_store
from mathloop.training import checkpoint
from mathloop.training.checkpoint import Checkpoints


def open_checkpoints(folder: Path, keep: int = 2, store: Store | None = None, **given: Any) -> Checkpoints:
    return Checkpoints(folder, keep=keep, fingerprint="f", store=store, prefix="sft-f", **given)


def tensors(step: int) -> list[tuple[str, torch.Tensor]]:
    return [("weight", torch.full((50,), float(step))), ("bias:exp_avg", torch.arange(3) + 0.5 * step)]


def save(checkpoints: Checkpoints, step: int) -> None:
    with checkpoints.writing(step, {"curves": {"loss": [(0, step)]}}) as (folder, files):
        files += checkpoint.write_tensors(folder, iter(tensors(step)))


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check(checkpoints: Checkpoints, step: int) -> None:
    """The newest whole one is that of `step`, and gives back what was saved."""
    found = checkpoints.newest()
    assert found is not None
    assert found.step == step
    assert found.state["curves"] == {"loss": [[0, step]]}
    for name, value in tensors(step):
        assert torch.equal(found.read(name), value.float() if name == "weight" else value)


def test_the_newest_few_are_kept_and_nothing_half_written(tmp_path: Path) -> None:
    for step in (1, 2, 10, 9_999_999, 123_456_789):
        save(open_checkpoints(tmp_path, keep=3), step)
    assert steps_in(tmp_path) == ["step-00000010", "step-09999999", "step-123456789"]
    check(open_checkpoints(tmp_path), 123_456_789)


def test_large_states_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_FILE_BYTES", 100)
    save(open_checkpoints(tmp_path), 4)
    assert len(list(tmp_path.glob("step-*/*.safetensors"))) == 2
    check(open_checkpoints(tmp_path), 4)


FILES = ["tensors-00000.safetensors", "state.json", "contents.json"]


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def cut(path: Path, at: float) -> None:
    path.write_bytes(path.read_bytes()[: int(at * (path.stat().st_size - 1))])


def remove(path: Path, at: float) -> None:
    path.unlink()


def replace_by_link(path: Path, at: float) -> None:
    copy = path.with_name("elsewhere")
    path.rename(copy)
    path.symlink_to(copy)


def add_another(path: Path, at: float) -> None:
    shutil.copy(path, path.with_name(f"more-{path.name}"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(FILES),
    st.sampled_from([flip, cut, remove, replace_by_link, add_another]),
    st.floats(0, 1),
)
def test_a_torn_or_tampered_one_is_told_and_the_one_before_it_is_used(
    tmp_path: Path, name: str, damage: Callable[[Path, float], None], at: float
) -> None:
    shutil.rmtree(tmp_path)
    for step in (3, 6):
        save(open_checkpoints(tmp_path), step)
    damage(tmp_path / "step-00000006" / name, at)
    again = open_checkpoints(tmp_path)
    check(again, 3)
    (note,) = again.notes
    assert "A checkpoint was skipped" in note
    assert "step-00000006" in note
    save(again, 6)
    check(open_checkpoints(tmp_path), 6)
    assert steps_in(tmp_path) == ["step-00000003", "step-00000006"]


def test_when_all_are_torn_there_is_none(tmp_path: Path) -> None:
    for step in (3, 6):
        save(open_checkpoints(tmp_path), step)
        (tmp_path / f"step-{step:08d}" / "state.json").write_text("{}")
    again = open_checkpoints(tmp_path)
    assert again.newest() is None
    assert len(again.notes) == 2


@pytest.mark.parametrize("state", ["[" * 100_000, "[]", "{}", "\udcff", '{"step": 6}'])
def test_a_state_that_was_forged_with_its_checksum_is_not_followed(tmp_path: Path, state: str) -> None:
    for step in (3, 6):
        save(open_checkpoints(tmp_path), step)
    forge(tmp_path / "step-00000006", state)
    check(open_checkpoints(tmp_path), 3)


def forge(folder: Path, state: str) -> None:
    (folder / "contents.json").unlink()
    (folder / "state.json").write_text(state, errors="surrogateescape")
    (folder / "contents.json").write_bytes(describe_source(folder, folder.name).to_json())


def test_what_a_kill_left_goes_at_the_next_start(tmp_path: Path) -> None:
    save(open_checkpoints(tmp_path), 3)
    shutil.copytree(tmp_path / "step-00000003", tmp_path / ".mathloop-0123-4567.partial")
    check(open_checkpoints(tmp_path), 3)
    assert steps_in(tmp_path) == ["step-00000003"]


@pytest.mark.parametrize("call", ["mkdir", "save_file", "fsync", "replace"])
def test_a_full_disk_is_a_clear_stop_and_the_last_good_one_is_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """No space at each place where space is taken."""
    checkpoints = open_checkpoints(tmp_path, keep=1)
    save(checkpoints, 3)

    def refuse(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        owner: Any = {"save_file": checkpoint, "mkdir": Path}.get(call, os)
        patch.setattr(owner, call, refuse)
        with pytest.raises(StorageRefused) as refused:
            save(checkpoints, 6)
    message = str(refused.value)
    assert "\n" not in message
    assert "step-00000006: No space left on device; free some space" in message
    assert message.endswith("then start again (the checkpoint of step 3 is intact)")
    assert steps_in(tmp_path) == ["step-00000003"]
    check(open_checkpoints(tmp_path), 3)
    save(checkpoints, 6)  # there is space again
    check(open_checkpoints(tmp_path), 6)


LIMITED = """
import resource, sys, torch
from pathlib import Path
from torch import nn
from mathloop.errors import MathloopError
from mathloop.training.config import OptimizerConfig, SFTConfig
from mathloop.training.engine import Engine

def run(work, limit):
    torch.manual_seed(0)
    config = SFTConfig(optimizer=OptimizerConfig(checkpoint_steps=2))
    try:
        with Engine(nn.Linear(10_000, 1), config, 6, work, recipe="sft", seed=0) as engine:
            while engine.step < 6:
                if engine.step == 3:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                engine.backward(engine.forward(torch.ones(2, 10_000)).square().mean())
                engine.update(loss=1.0)
    except MathloopError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(error.exit_code, error, sorted(path.name for path in (work / "checkpoints").iterdir()))

for limit in map(int, sys.argv[2:]):
    for again in (limit, resource.RLIM_INFINITY):
        run(Path(sys.argv[1]) / str(limit), again)
"""


@pytest.mark.slow
def test_a_training_whose_disk_takes_no_more_stops_in_a_line_and_goes_on_later(tmp_path: Path) -> None:
    """The limit on a file's length stands for the disk: in the middle of the tensors, and at once."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path), "60000", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tensors, metrics = done.stdout.splitlines()
    assert tensors.startswith("2 ")
    assert "step-00000004: File too large; choose a disk that takes files of this size" in tensors
    assert "then start again (the checkpoint of step 2 is intact)" in tensors
    assert metrics.startswith("2 ")
    assert "metrics.jsonl: File too large; choose a disk that takes files of this size" in metrics
    for line, limit in ((tensors, "60000"), (metrics, "0")):
        assert line.endswith("['step-00000002']")
        rows = (tmp_path / limit / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == list(range(6))
    assert done.stderr.count("step 2 of 6 from a checkpoint") == 2


def wait_for(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def stored(url: str) -> list[int]:
    return [int(name.partition("step-")[2][:8]) for name in open_store(url).names()]


def test_the_store_gets_the_newest_few_in_the_background(store_url: str, tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path / "here", store=open_store(store_url))
    for step in (1, 2, 3, 4):
        save(checkpoints, step)
        wait_for(lambda step=step: step in stored(store_url))  # type: ignore[misc]
    wait_for(lambda: stored(store_url) == [3, 4])
    checkpoints.close(10.0)
    elsewhere = open_checkpoints(tmp_path / "elsewhere", store=open_store(store_url))
    check(elsewhere, 4)
    assert steps_in(tmp_path / "elsewhere") == ["step-00000004"]


def test_a_server_that_is_down_at_the_start_stops_only_what_has_no_checkpoint_here(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", "http://127.0.0.1:9")
    store = open_store("s3://mathloop/none")
    with pytest.raises(StorageRefused, match="no S3 server at"):
        open_checkpoints(tmp_path, store=store).newest()
    save(open_checkpoints(tmp_path), 3)
    check(open_checkpoints(tmp_path, store=store), 3)
    assert "cannot be listed" in capsys.readouterr().err


def publish(url: str, folder: Path, step: int, damage: Callable[[Path], None] | None = None) -> None:
    """Puts a checkpoint into the store, damaged before it is published."""
    shutil.rmtree(folder, ignore_errors=True)
    save(open_checkpoints(folder), step)
    (made,) = folder.iterdir()
    if damage is not None:
        damage(made)
    open_store(url).publish(made, f"sft-f/{made.name}-{'a' * 12}")


@pytest.mark.parametrize("state", ["{}", '{"fingerprint": "other", "step": 6}'])
def test_what_was_forged_in_the_store_is_passed_over_once(store_url: str, tmp_path: Path, state: str) -> None:
    publish(store_url, tmp_path / "made", 3)
    publish(store_url, tmp_path / "made", 6, lambda folder: forge(folder, state))
    publish(store_url, tmp_path / "made", 9, lambda folder: flip(folder / FILES[0], 0.9))
    here = open_checkpoints(tmp_path / "here", store=open_store(store_url))
    check(here, 3)
    assert len(here.notes) == 2


def test_what_was_changed_in_the_store_is_passed_over(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for step in (3, 6):
        publish(str(store), tmp_path / "made", step)
    (data,) = store.glob("sft-f/step-00000006-*/tensors-00000.safetensors")
    flip(data, 0.9)
    here = open_checkpoints(tmp_path / "here", store=open_store(str(store)))
    check(here, 3)
    assert "has another SHA-256" in here.notes[0]


def test_a_newer_one_here_is_taken_before_an_older_one_in_the_store(store_url: str, tmp_path: Path) -> None:
    publish(store_url, tmp_path / "made", 6)
    save(open_checkpoints(tmp_path / "here"), 9)
    check(open_checkpoints(tmp_path / "here", store=open_store(store_url)), 9)
    cut(tmp_path / "here" / "step-00000009" / FILES[0], 0.5)
    check(open_checkpoints(tmp_path / "here", store=open_store(store_url)), 6)


def test_a_checkpoint_is_not_removed_while_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "store"))
    may_go, publish_now = threading.Event(), store.publish

    def publish_slowly(source: Path, name: str) -> Any:
        may_go.wait(30)
        return publish_now(source, name)

    monkeypatch.setattr(store, "publish", publish_slowly)
    checkpoints = open_checkpoints(tmp_path / "here", keep=1, store=store)
    for step in (1, 2, 3, 4):
        save(checkpoints, step)
    assert steps_in(tmp_path / "here") == ["step-00000001", "step-00000004"]  # 2 and 3 were overtaken
    may_go.set()
    wait_for(lambda: stored(str(tmp_path / "store")) == [4])
    checkpoints.close(10.0)
    save(checkpoints, 5)
    assert steps_in(tmp_path / "here")[0] != "step-00000001"


def test_a_kill_at_any_moment_of_a_save_leaves_the_one_before_or_the_new_one(tmp_path: Path) -> None:
    """Looks at the disk after every call of a builtin in a save, as a process started after a kill would."""
    here, copy = tmp_path / "here", tmp_path / "copy"
    save(open_checkpoints(here, keep=1), 1)
    seen: list[int | None] = []
    states: list[list[tuple[str, int]]] = [[]]

    def look(frame: Any, event: str, argument: Any) -> None:
        state = [(str(path), path.lstat().st_size) for path in sorted(here.rglob("*"))]
        if event == "c_return" and state != states[-1]:
            states.append(state)
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(here, copy)
            found = open_checkpoints(copy).newest()
            seen.append(found.step if found else None)

    sys.setprofile(look)
    try:
        save(open_checkpoints(here, keep=1), 2)
    finally:
        sys.setprofile(None)
    assert len(seen) > 8
    assert set(seen) == {1, 2}
    assert seen == sorted(seen)  # type: ignore[type-var]
