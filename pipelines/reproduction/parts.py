"""The parts of a reproduction, in order: a literal table. Each is a run of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.settings import Settings
from mathloop.settings.resolving import merged
from pipelines.local.folder import RunFolder, read_done
from pipelines.local.results import reports_of
from pipelines.profile import check_profile

UNSEEN = "unseen.jsonl"
"""File with the benchmark that nobody trained or tuned on; its name is the benchmark's."""
_NEXT_SEED = 1_000
"""Between the seeds of two parts that must differ: rounds on other problems, another order of v1."""
Overrides = Mapping[str, Any]


class Part(NamedTuple):
    """A run of a pipeline, with what it changes in the profile."""

    name: str
    pipeline: str
    store: str
    """Name of its store: the line of champions that it begins or continues."""
    minutes: float
    """Minutes that it takes on one core; the time that is left is estimated by their proportions."""
    seeds: int = 0
    """Its seed is this many times further on."""
    overrides: Callable[[Place], Overrides] = lambda place: {}


class Place(NamedTuple):
    """The folder of a seed."""

    path: Path

    def run(self, name: str) -> RunFolder:
        """The run of a part."""
        return RunFolder(self.path / "parts" / name)

    def file(self, part: str, stage: str, name: str) -> str:
        """An output of a part's stage."""
        return str(self.run(part).stages / stage / name)

    @property
    def tokens(self) -> int:
        """Tokens that the first pretraining trained on: the budget of all others."""
        return pretrained_tokens(self.run("v1"))


def pretrained_tokens(run: RunFolder) -> int:
    """Tokens that a run's pretraining trained on; 0 where it has not ended."""
    reports = [one for one in reports_of(run) if one.stage == "pretrain"]
    return int(reports[-1].values["tokens"]) if reports else 0


def part_seconds(run: RunFolder) -> float:
    """Seconds that a run's finished stages took, in the attempts that finished them."""
    done = [read_done(path.parent) for path in run.stages.glob("*/done.json")]
    return float(sum(one["seconds"] for one in done if one is not None))


def _v1(place: Place) -> Overrides:
    return {"corpus": {"given": place.file("v1", "corpus", "corpus")}, "pretrain": {"tokens": place.tokens}}


def _v2(place: Place) -> Overrides:
    return merged(_v1(place), {"corpus": {"written": place.file("written", "written-corpus", "filtered")}})


def _unfiltered(place: Place) -> Overrides:
    return merged(_v1(place), {"corpus": {"written": place.file("written", "written-corpus", "unfiltered")}})


def _once(place: Place) -> Overrides:
    """One sample: greedy answers alone are compared; a round's own vote is not."""
    return {"evaluation": {"samples": 1}}


def _round(place: Place) -> Overrides:
    return {"writing": {"templates": []}, **_once(place)}


PARTS = (
    Part("v1", "pretraining", "v1", 9),
    Part("round-1", "improvement-round", "v1", 6, 1, _round),
    Part("round-2", "improvement-round", "v1", 6, 2, _round),
    Part("written", "written-corpus", "v1", 3, 3),
    Part("v2", "pretraining", "v2", 9, 0, _v2),
    Part("round-3", "improvement-round", "v2", 6, 1, _round),
    Part("inference", "evaluation", "v2", 1.5, 1),
    Part("v1-again", "pretraining", "v1-again", 9, 4, _v1),
    Part("v1-again-evaluation", "evaluation", "v1-again", 0.5, 1, _once),
    Part("v2-unfiltered", "pretraining", "v2-unfiltered", 9, 0, _unfiltered),
    Part("v2-unfiltered-evaluation", "evaluation", "v2-unfiltered", 0.5, 1, _once),
)
"""In the order in which they run; a part may read what earlier ones made."""


def settings_of(part: Part, settings: Settings, place: Place) -> Settings:
    """The settings of a part; call it once the parts before it have ended."""
    common = {
        "store": str(place.path / "stores" / part.store),
        "seed": (settings.seed + _NEXT_SEED * part.seeds) % 2**31,
        "benchmarks": {"measure": [str(place.path / UNSEEN)]},
        # It is measured in every round and decides in none.
        "gate": {"weights": {Path(UNSEEN).stem: 0}},
    }
    values = merged(settings.model_dump(mode="json"), merged(common, part.overrides(place)))
    return check_profile(values, f"reproduce: part {part.name}")
