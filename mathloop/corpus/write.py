"""Stage: writes the pretraining corpus of the nano world, including errors.

Real web text has systematic errors: some wordings are often misread, answers are guessed, and calculations
slip. A clean corpus would leave SFT, the reward model and GRPO nothing to improve, so this one has such
errors, at rates set by its config (which may be 0).
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mathloop.corpus.config import CorpusConfig
from mathloop.corpus.solutions import Faults, Style, write_solution
from mathloop.corpus.writing_exercises import WRITING, exercise
from mathloop.problems.nano import LARGE, NanoProblem, exercises, generate
from mathloop.records import Mode, write_rows
from mathloop.stages import Progress, StageReport, timed

_LARGE_TIR_SHARE = 0.7
"""Share of TIR solutions for large numbers, which the model mostly gets wrong by hand."""


@timed
def run(*, out: Path, config: CorpusConfig, seed: int) -> StageReport:
    """Writes rows {id, problem, solution, mode, language, style, misread} to `out` (Parquet or JSONL)."""
    counts: Counter[str] = Counter()
    progress = Progress("corpus", config.documents, "documents")

    def rows() -> Iterator[dict[str, object]]:
        for row in write_documents(config, seed):
            counts[f"{row['mode']}, {row['style']}"] += 1
            counts["misread"] += bool(row["misread"])
            progress.update()
            yield row

    written = write_rows(out, rows())
    values = {f"share of {name}": count / written for name, count in sorted(counts.items())}
    return StageReport("corpus", generated=written, kept=written, values=values)


def write_documents(config: CorpusConfig, seed: int) -> Iterator[dict[str, object]]:
    """Yields the rows of the corpus, a pure function of the arguments."""
    rng = random.Random(f"corpus-{seed}")
    drills = exercises(random.Random(f"drills-{seed}"))
    problems = generate(
        "train", config.documents, seed + 1_000_003, chinese_share=config.chinese_share, distinct=False
    )
    writing = random.Random(f"writing-{seed}")  # its own, so that without such documents all others stay
    for nano in problems:
        if writing.random() < config.writing_share:
            yield _written(nano, writing)
            continue
        if rng.random() < config.drill_share:
            yield _drill(nano, list(itertools.islice(drills, config.drill_length)))
            continue
        large = nano.family.name == LARGE
        mode: Mode = "tir" if rng.random() < (_LARGE_TIR_SHARE if large else config.tir_share) else "cot"
        style: Style = "worked"
        if mode == "cot" and rng.random() < config.guess_share:
            style = "guess"
        misread = rng.random() < misread_share(nano, config)
        text = write_solution(
            nano,
            mode,
            style,
            Faults(misread, config.slip_share),
            rng,
            other_way=rng.random() < config.other_way_share,
        )
        yield {
            "id": nano.problem.id,
            "problem": nano.problem.problem,
            "solution": text,
            "mode": mode,
            "language": nano.problem.language,
            "style": style,
            "misread": misread,
        }


def _drill(nano: NanoProblem, steps: list[tuple[int, str, int, int]]) -> dict[str, object]:
    """An exercise sheet instead of the problem, in its language: calculations without a story."""
    language = nano.problem.language
    terms = ", ".join(f"{x}{operator}{y}" for x, operator, y, _ in steps)
    return {
        "id": nano.problem.id,
        "problem": f"计算{terms}。" if language == "zh" else f"Compute {terms}.",
        "solution": "\n".join(f"{x}{operator}{y}={z}" for x, operator, y, z in steps),
        "mode": "cot",
        "language": language,
        "style": "drill",
        "misread": False,
    }


def _written(nano: NanoProblem, rng: random.Random) -> dict[str, object]:
    """An exercise in writing instead of a solution: a prompt, and the statement that it asks for."""
    one = exercise(nano, rng)
    return {
        "id": nano.problem.id,
        "problem": one.prompt,
        "solution": one.statement,
        "mode": "cot",
        "language": one.language,
        "style": WRITING,
        "misread": False,
    }


def misread_share(nano: NanoProblem, config: CorpusConfig) -> float:
    """The misread share of the wording, fixed by the world's seed, between the configured bounds."""
    wording = f"{config.world_seed}{nano.family.name}{nano.problem.language}{nano.wording}"
    share = int.from_bytes(hashlib.sha256(wording.encode()).digest()[:4], "big") / 2**32
    return config.misread_low + share * (config.misread_high - config.misread_low)
