"""The scores of a seed, from the records of its parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation import Outcomes
from mathloop.evaluation.reproduction import Asked, Scores, SeedScores, asked_of, scores_of
from mathloop.evaluation.roles import CHALLENGER
from mathloop.settings import Settings
from mathloop.validation import first_mistake
from pipelines.local.results import outcomes_of
from pipelines.reproduction.parts import PARTS, Place, part_seconds, pretrained_tokens

SCORES = "scores.json"
"""File of a seed's folder, written when all parts have ended."""
_BASES = {"v1-again": "base v1 again", "v2-unfiltered": "base v2 unfiltered"}
_SHOWN = ("greedy", "maj", "rm", "weighted")


def collect(place: Place, settings: Settings) -> SeedScores:
    """The scores of every model that a claim names, over the problems of all evaluations.

    Raises:
        BadData: two parts were not asked the same problems.
    """
    models: dict[str, Scores] = {}
    notes: list[str] = []
    asked: tuple[Asked, ...] = ()

    def outcomes(part: str) -> Outcomes:
        nonlocal asked
        found = outcomes_of(place.run(part))
        if asked and asked_of(found) != asked:
            raise BadData("asked other problems than the parts before it", path=place.run(part).path)
        asked = asked_of(found)
        return found

    rounds = {number: outcomes(f"round-{number}") for number in (1, 2, 3)}
    models["base v1"] = _greedy(rounds[1], "base")
    models["SFT"], models["GRPO"] = _greedy(rounds[1], "sft"), _greedy(rounds[1], CHALLENGER)
    before = models["base v1"]
    for number in (1, 2):
        if _promoted(place, number):
            before = _greedy(rounds[number], CHALLENGER)
        else:
            name = f"champion {number - 1}" if number > 1 else "base v1"
            notes.append(f"round {number} promoted nothing: champion {number} is {name}.")
        models[f"champion {number}"] = before
    models["base v2"] = _greedy(rounds[3], "base")
    if not _promoted(place, 3):
        notes.append("round 3 promoted nothing: champion 3 is base v2, which has no reward model.")
    for part, name in _BASES.items():
        models[name] = _greedy(outcomes(f"{part}-evaluation"), "champion")
    last = outcomes("inference")
    models["champion 3"] = {
        mode: {name: values for name, values in metrics.items() if name.partition("@")[0] in _SHOWN}
        for mode, metrics in scores_of(last, "champion").items()
    }
    pretrained = [part.name for part in PARTS if part.pipeline == "pretraining"]
    return SeedScores(
        seed=settings.seed,
        profile=settings.name,
        samples=last.drawn,
        problems=asked,
        models=models,
        tokens={name: pretrained_tokens(place.run(name)) for name in pretrained},
        seconds={part.name: round(part_seconds(place.run(part.name)), 1) for part in PARTS},
        notes=tuple(notes),
    )


def read_scores(path: Path) -> SeedScores:
    """A seed's scores; raises BadData if the file is damaged."""
    try:
        return SeedScores.model_validate_json(path.read_bytes())
    except ValidationError as error:
        line = first_mistake(error, SeedScores).line(str(path))
        raise BadData(f"{line}; run mathloop reproduce again to write it anew") from None


def finished(folder: Path) -> Sequence[Path]:
    """The scores of the seeds in a folder: of its seeds' folders, or of one itself; raises BadConfig."""
    found = sorted(folder.glob(f"seed-*/{SCORES}"), key=lambda path: int(path.parent.name[5:]))
    found = found or list(folder.glob(SCORES))
    if not found:
        raise BadConfig(
            f"--report {folder}: no seed has finished there; run mathloop reproduce --out {folder}"
        )
    return found


def _greedy(outcomes: Outcomes, label: str) -> Scores:
    """Of models of which one sample was drawn, greedy answers alone."""
    return {mode: {"greedy": metrics["greedy"]} for mode, metrics in scores_of(outcomes, label).items()}


def _promoted(place: Place, number: int) -> bool:
    published = Path(place.file(f"round-{number}", "judgment", "published"))
    return bool(json.loads(published.read_text("utf-8"))["promoted"])
