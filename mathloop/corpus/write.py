"""Stage: writes the pretraining corpus of the nano world, faults included.

Real web text is wrong in patterns: some phrasings are misread again and again, quick guesses abound, and
sums slip. A clean corpus would leave SFT, the reward model and GRPO nothing to mend, so this one has each of
those faults at a known rate, and the round's report shows what became of them.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mathloop.corpus.config import CorpusConfig
from mathloop.corpus.solutions import Faults, Style, write_solution
from mathloop.problems.nano import NanoProblem, generate
from mathloop.records import Mode, write_rows
from mathloop.stages import Progress, StageReport


def run(*, out: Path, config: CorpusConfig, seed: int) -> StageReport:
    """Writes rows {id, problem, solution, mode, language, style, misread} to `out` (Parquet or JSONL)."""
    started = time.monotonic()
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
    return StageReport("corpus", time.monotonic() - started, made=written, kept=written, values=values)


def write_documents(config: CorpusConfig, seed: int) -> Iterator[dict[str, object]]:
    """Yields the corpus's rows, a pure function of its arguments."""
    rng = random.Random(f"corpus-{seed}")
    for nano in generate("train", config.documents, seed + 1_000_003, chinese_share=config.chinese_share):
        mode: Mode = "tir" if rng.random() < config.tir_share else "cot"
        style: Style = "worked"
        if mode == "cot" and rng.random() < config.guess_share:
            style = "guess"
        elif mode == "cot" and rng.random() < config.split_share:
            style = "split"
        misread = rng.random() < misread_share(nano, config)
        text = write_solution(nano, mode, style, Faults(misread, config.slip_share), rng)
        yield {
            "id": nano.problem.id,
            "problem": nano.problem.problem,
            "solution": text,
            "mode": mode,
            "language": nano.problem.language,
            "style": style,
            "misread": misread,
        }


def misread_share(nano: NanoProblem, config: CorpusConfig) -> float:
    """How often this wording is misread: fixed by the world's seed, between the configured bounds."""
    wording = f"{config.world_seed}{nano.family.name}{nano.problem.language}{nano.telling}"
    share = int.from_bytes(hashlib.sha256(wording.encode()).digest()[:4], "big") / 2**32
    return config.misread_low + share * (config.misread_high - config.misread_low)
