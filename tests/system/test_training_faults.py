"""Recipes that are killed at random moments, started again, and end as if nothing had happened.

Half of the kills come at a moment of the clock, half at a file operation (inside the writing of a checkpoint,
a rename, the saving of the model), SIGKILL and SIGTERM in turn. MATHLOOP_LONG_TESTS=1 makes them 20 a recipe.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.paths import ROOT
from tests.system import killed_training

KILLS = 20 if os.environ.get("MATHLOOP_LONG_TESTS") == "1" else 6


class Nursery:
    """Attempts at recipes, each in a process of its own that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "inputs"
        self.inputs.mkdir()
        self._log = open(folder / "log", "w")  # noqa: SIM115  (closed by close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", killed_training.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._ask({"folder": str(self.inputs)}) == 0, self.log()

    def attempt(
        self, recipe: str, folder: Path, *, event: int = 0, kill: int = 0, seconds: float | None = None
    ) -> int:
        """The exit code of a process that runs the recipe, killed at a file event or after `seconds`."""
        order = {"recipe": recipe, "inputs": str(self.inputs), "folder": str(folder)}
        return self._ask({**order, "event": event, "signal": int(kill)}, kill, seconds)

    def log(self) -> str:
        """What all attempts said."""
        return (self.folder / "log").read_text()

    def close(self) -> None:
        """Ends the process that forks."""
        self._process.communicate()
        self._log.close()

    def _ask(self, order: dict[str, object], kill: int = 0, seconds: float | None = None) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        process = int(self._process.stdout.readline())
        if seconds is not None:
            time.sleep(seconds)
            # Ended or not, the id is this process's until the nursery has waited for it; or it is nobody's.
            with suppress(ProcessLookupError):
                os.kill(process, kill)
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


def without_speed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("tokens")}


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves and that must not depend on kills: every byte of the model, every curve."""
    report = json.loads((folder / "report.json").read_text())
    rows = [json.loads(line) for line in (folder / "work" / "metrics.jsonl").read_text().splitlines()]
    rollouts = folder / "rollouts.parquet"
    model = {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "model").rglob("*"))}
    return {
        **model,
        "curves": {name: curve for name, curve in report["curves"].items() if name != "tokens per second"},
        "values": {
            name: v for name, v in report["values"].items() if "per second" not in name.replace("_", " ")
        },
        "metrics": [{k: v for k, v in row.items() if k != "tokens per second"} for row in rows],
        "rollouts": pq.read_table(rollouts).to_pylist() if rollouts.exists() else [],
        "left over": [path.name for path in folder.rglob("*.partial")],
    }


@pytest.mark.parametrize("recipe", list(killed_training.RECIPES))
def test_a_run_resumed_from_any_of_its_checkpoints_ends_bit_for_bit_the_same(
    nursery: Nursery, tmp_path: Path, recipe: str
) -> None:
    assert nursery.attempt(recipe, tmp_path / "whole") == 0, nursery.log()
    whole = outcome(tmp_path / "whole")
    kept = sorted(path.name for path in (tmp_path / "whole" / "work" / "checkpoints").iterdir())
    assert len(kept) >= 3
    for last in range(1, len(kept)):  # from the border of two passes and in the middle of one
        shutil.copytree(tmp_path / "whole" / "work", tmp_path / kept[last] / "work")
        for later in kept[last:]:
            shutil.rmtree(tmp_path / kept[last] / "work" / "checkpoints" / later)
        assert nursery.attempt(recipe, tmp_path / kept[last]) == 0, nursery.log()
        assert f"{recipe}: step {int(kept[last - 1][5:])} of" in nursery.log()
        assert outcome(tmp_path / kept[last]) == whole


@pytest.mark.parametrize("recipe", list(killed_training.RECIPES))
@pytest.mark.timeout(900)
def test_a_recipe_killed_at_random_moments_ends_bit_for_bit_as_if_undisturbed(
    nursery: Nursery, tmp_path: Path, recipe: str
) -> None:
    started = time.monotonic()
    assert nursery.attempt(recipe, tmp_path / "whole") == 0, nursery.log()
    usual = time.monotonic() - started
    events = int((tmp_path / "whole" / "events").read_text())
    whole = outcome(tmp_path / "whole")
    steps = [row["step"] for row in whole["metrics"]]
    assert steps == list(range(len(steps)))
    assert len(steps) >= 10
    assert whole["left over"] == []

    chance = random.Random(f"kills of {recipe}")
    folder = tmp_path / "killed"
    killed, resumed, ends = 0, nursery.log().count("resuming"), []
    while killed < KILLS:
        sent = signal.SIGKILL if killed % 2 else signal.SIGTERM
        if killed % 4 < 2:
            code = nursery.attempt(recipe, folder, event=chance.randint(1, events), kill=sent)
        else:
            code = nursery.attempt(recipe, folder, kill=sent, seconds=chance.uniform(0, usual))
        if code:
            # SIGTERM before the first step finds nothing to keep; later it is asked for politely.
            assert code in ((-sent, 143) if sent == signal.SIGTERM else (-sent,)), nursery.log()
            killed += 1
            ends.append(code)
        else:  # the moment never came: that was the end of this run, and the next begins anew
            assert outcome(folder) == whole
            shutil.rmtree(folder)
    assert nursery.attempt(recipe, folder) == 0, nursery.log()
    assert outcome(folder) == whole
    assert nursery.log().count("resuming") > resumed  # some went on from a checkpoint
    assert -signal.SIGKILL in ends
