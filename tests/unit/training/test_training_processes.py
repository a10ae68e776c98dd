"""A recipe in several processes of one machine, and on two nodes of a TrainJob: torchrun, gloo, a store."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mathloop.cluster.train_job_spec import TASK_VARIABLE
from mathloop.errors import BadData, Interrupted
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.training.config import EngineConfig, OptimizerConfig, SFTConfig
from mathloop.training.processes import train
from tests.unit.training.toy import write_toy

pytestmark = pytest.mark.slow

CONFIG = SFTConfig(batch_size=8, epochs=2, optimizer=OptimizerConfig(checkpoint_steps=2))


def fine_tune(folder: Path, name: str, **changed: Any) -> StageReport:
    return train(
        "sft",
        problems=folder / "problems.jsonl",
        responses=[folder / "responses.jsonl"],
        policy=folder / "policy",
        model=folder / name,
        work=folder / f"work-{name}",
        config=CONFIG.model_copy(update=changed),
        seed=0,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=2e-5), name


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    write_toy(tmp_path)
    alone = fine_tune(tmp_path, "alone", engine=EngineConfig(processes=1))
    both = fine_tune(tmp_path, "both", engine=EngineConfig(processes=2, micro_batch_tokens=128))
    for one, other in zip(alone.curves["loss"], both.curves["loss"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert both.values["tokens"] == alone.values["tokens"]
    assert_same(weights(tmp_path / "alone"), weights(tmp_path / "both"))


def test_a_users_mistake_in_a_process_is_the_one_line_here(tmp_path: Path) -> None:
    write_toy(tmp_path)
    with pytest.raises(BadData, match=r"longer than sft.max_tokens=8.*raise max_tokens to \d+"):
        fine_tune(tmp_path, "both", engine=EngineConfig(processes=2), max_tokens=8)
    assert not (tmp_path / "both").exists()


def test_sigterm_reaches_every_process_and_the_next_start_goes_on(tmp_path: Path) -> None:
    write_toy(tmp_path)
    engine = EngineConfig(processes=2)
    long = {"epochs": 100_000, "engine": engine}
    log = tmp_path / "work-both" / "metrics.jsonl"

    def stop() -> None:
        while not log.is_file() or log.stat().st_size < 500:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step"):
        fine_tune(tmp_path, "both", **long)
    kept = sorted((tmp_path / "work-both" / "checkpoints").glob("step-*"))
    state = json.loads((kept[-1] / "state.json").read_bytes())
    assert state["step"] == len(state["curves"]["loss"]) == int(kept[-1].name[5:])


def test_two_nodes_of_a_train_job(tmp_path: Path) -> None:
    """Each node has a disk of its own, and takes everything from the store."""
    write_toy(tmp_path)
    fine_tune(tmp_path, "alone", engine=EngineConfig(processes=1))
    (tmp_path / "empty.jsonl").write_text("")
    store = open_store(str(tmp_path / "store"))
    files = {"problems": "problems.jsonl", "cot": "responses.jsonl", "tir": "empty.jsonl", "policy": "policy"}
    for name, file in files.items():
        store.publish(tmp_path / file, f"in/{name}")
    task = {
        "recipe": "sft",
        "store_url": str(tmp_path / "store"),
        "inputs": {name: f"in/{name}" for name in files},
        "output": "training/round/sft/output",
        "config": CONFIG.model_dump_json(),
        "seed": 0,
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for node in range(2):
        (tmp_path / f"disk{node}").mkdir()
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        command += [f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        variables = {TASK_VARIABLE: json.dumps(task), "TMPDIR": str(tmp_path / f"disk{node}")}
        nodes.append(
            subprocess.Popen(
                [*command, "-m", "mathloop.cluster.training_node"],
                env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            )
        )
    assert [node.wait(600) for node in nodes] == [0, 0]
    store.fetch("training/round/sft/output/model", tmp_path / "both")
    assert_same(weights(tmp_path / "alone"), weights(tmp_path / "both"))
    store.fetch("training/round/sft/output/report", tmp_path / "report.json")
    assert StageReport.read(tmp_path / "report.json").kept == 48
    assert list(store.names("checkpoints/")) == []
    for node in range(2):
        assert list((tmp_path / f"disk{node}").glob("mathloop-*")) == []
