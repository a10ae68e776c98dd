"""`mathloop benchmark train`: SFT, reward model and GRPO compared with TRL, on the same model and texts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from mathloop.errors import MathloopError
from mathloop.models.sources import find_source
from pipelines.benchmarks.graders import INSTALL
from pipelines.benchmarks.printing import Progress, aligned, machine, shortened
from pipelines.benchmarks.training_inputs import Inputs, Sizes, Turn, prepare, read_texts

SIDES = {"ours": "mathloop", "trl": "TRL"}

HEAD = ("recipe", "figure", "mathloop", "TRL", "ratio", "peak MiB", "TRL", "training MiB", "TRL")


@dataclass(frozen=True)
class Recipe:
    """A recipe to measure, and TRL's variants of it."""

    name: str
    figure: str
    unit: str
    peers: tuple[str, ...]
    """The first turn runs all of them, later turns only the fastest."""


RECIPES = (
    Recipe("sft", "tokens/s", "token", ("sft", "sft, grouped by length", "sft, packed")),
    Recipe("reward_model", "responses/s", "response", ("reward_model",)),
    Recipe("grpo", "s/step", "problem", ("grpo",)),
)


@dataclass(frozen=True)
class Measured:
    """The turns of one side, in one variant."""

    name: str
    turns: list[Turn]

    @property
    def variant(self) -> str:
        """The name of TRL's variant."""
        return self.name.partition(", ")[2] or "plain"

    @property
    def rate(self) -> float:
        """Tokens, responses or problems per second: the median over the turns."""
        return median(turn.rate for turn in self.turns)

    @property
    def step(self) -> float:
        """Seconds per step: the median over the turns."""
        return median(sum(turn.seconds) / len(turn.seconds) for turn in self.turns)

    def against(self, other: Measured) -> float:
        """Ratio of this rate to the other's: the median over the turns that both have."""
        return median(one.rate / two.rate for one, two in zip(self.turns, other.turns, strict=False))

    @property
    def cost(self) -> float:
        """CPU seconds per token, response or problem: the median over the turns."""
        return median(turn.cost for turn in self.turns)

    @property
    def peak(self) -> float:
        """Peak memory in MiB."""
        return max(turn.peak for turn in self.turns)

    @property
    def added(self) -> float:
        """Peak memory in MiB above that of the imports."""
        return max(turn.peak - turn.start for turn in self.turns)


def run(data: Path | None, model: str | None, sizes: Sizes = Sizes()) -> None:  # noqa: B008  (frozen)
    """Measures and prints; raises BadData or BadModel if `data` or `model` cannot be used."""
    peer, problems = find_peer(), read_texts(data)
    if model is not None:
        find_source(model)  # raises BadModel before anything is printed
    with TemporaryDirectory(prefix="mathloop-train-") as folder, Progress() as progress:
        progress.step("model and texts")
        inputs, parameters = prepare(Path(folder), sizes, problems, model)
        inputs.sizes.write_text(json.dumps(asdict(sizes)), encoding="utf-8")
        print(f"{threads()} threads on {machine()}; peer: {peer or 'TRL, not installed'}")
        print(f"model: {model or 'random weights'}, {parameters / 1e6:.1f} million parameters; {sizes.dtype}")
        print(f"texts: {data or 'generated, with the lengths of GSM8K; --data FILE uses real ones'}")
        if peer is None:
            print(f"install the peer with: {INSTALL}")
        for recipe in RECIPES:  # each is printed when it is measured: all of them take a while
            result = _measure(recipe, inputs, sizes, peer is not None, progress)
            print(f"\n{aligned(HEAD, [_row(*result)], left=(0, 1))}")
            for line in _details(*result, parameters):
                print(line)
            sys.stdout.flush()


def find_peer() -> str | None:
    try:
        return f"TRL {version('trl')}"
    except PackageNotFoundError:
        return None


def threads() -> str:
    """Threads of each side."""
    return os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0)))


def _measure(
    recipe: Recipe, inputs: Inputs, sizes: Sizes, peer: bool, progress: Progress
) -> tuple[Recipe, Measured, list[Measured]]:
    """Alternates both sides; returns the recipe, mathloop's turns, and TRL's variants, fastest first."""
    ours = Measured("mathloop", [])
    ways = [Measured(name, []) for name in recipe.peers] if peer else []
    for number in range(sizes.turns):
        progress.step(f"{recipe.name}: turn {number + 1} of {sizes.turns}")
        ours.turns.append(take_turn("ours", recipe.name, inputs, number))
        for way in ways if number == 0 else ways[:1]:
            way.turns.append(take_turn("trl", way.name, inputs, number))
        if number == 0:
            ways.sort(key=lambda way: way.rate, reverse=True)
    return recipe, ours, ways


def take_turn(side: str, recipe: str, inputs: Inputs, seed: int) -> Turn:
    """Trains in a fresh process; raises MathloopError if it fails."""
    shutil.rmtree(inputs.work, ignore_errors=True)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(inputs.folder / "cache")}
    own = {"OMP_NUM_THREADS": threads()}
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipelines.benchmarks.training_turn",
            side,
            recipe,
            str(inputs.folder),
            str(seed),
        ],
        env={**os.environ, **offline, **own},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no error output"])[-1]
        reason = shortened(last, 300, end=True)
        raise MathloopError(f"{SIDES[side]}, {recipe}: failed with exit code {process.returncode}: {reason}")
    return Turn(*json.loads(inputs.turn.read_text(encoding="utf-8")))


def _row(recipe: Recipe, ours: Measured, ways: list[Measured]) -> tuple[str, ...]:
    """A row of the table: the result, the ratio in mathloop's favor, and memory."""
    sides = [ours, *ways[:1]]
    memory = []
    for values in ([side.peak for side in sides], [side.added for side in sides]):
        memory += [f"{value:,.0f}" for value in values] + ["–"] * (2 - len(sides))
    timed = recipe.name == "grpo"
    figures = [f"{side.step:.2f}" if timed else f"{side.rate:,.1f}" for side in sides]
    ratio = f"{ours.against(ways[0]):.2f}×" if ways else "–"
    missing = [] if ways else ["not installed"]
    return recipe.name, recipe.figure, *figures, *missing, ratio, *memory


def _details(recipe: Recipe, ours: Measured, ways: list[Measured], parameters: int) -> list[str]:
    """Lines below the table."""
    lines = []
    if len(ways) > 1:
        figures = (f"{way.variant} {way.rate:,.1f} ({ours.against(way):.2f}×)" for way in ways)
        lines.append(f"{recipe.name}, TRL's variants (speedup of mathloop): {', '.join(figures)}")
    sides = [("mathloop", ours), *(("TRL", way) for way in ways[:1])]
    if ours.cost:
        spent = ", ".join(f"{name} {_digits(1000 * side.cost)}" for name, side in sides)
        ratio = f" ({ways[0].cost / ours.cost:.2f}×)" if ways else ""
        lines.append(f"{recipe.name}, CPU milliseconds per {recipe.unit}: {spent}{ratio}")
    if recipe.name == "grpo":
        lengths = (f"{name} {side.turns[0].length:.1f}" for name, side in sides)
        lines.append(f"grpo, mean tokens per response: {', '.join(lengths)}")
    if recipe.name == "sft" and (peak := _gpu_peak()):
        used = (f"{name} {side.rate * 6 * parameters / peak:.1%}" for name, side in sides)
        lines.append(f"sft, fraction of the GPU's bfloat16 peak: {', '.join(used)}")
    return lines


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _gpu_peak() -> float | None:
    """Peak FLOP/s of this machine's GPU, or None if it has none or an unknown one."""
    import torch

    from mathloop.training.gpus import peak_tflops

    if not torch.cuda.is_available():
        return None
    peak = peak_tflops(torch.cuda.get_device_name())
    return peak and peak * 1e12
