"""Stage: problems that a model writes from nothing but itself, for a corpus.

Templates without a parent come first; what they wrote are the parents of all others. No problem that somebody
else wrote is read, but for the statements that must not be written: they have no answers.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from mathloop.decontamination import stage as decontamination_stage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.errors import BadConfig
from mathloop.records import read_problems, write_problems
from mathloop.stages import StageReport
from mathloop.synthesis.decontamination import merge_dropped
from mathloop.writing import write
from mathloop.writing.config import WritingConfig
from mathloop.writing.templates import load_template


def run(
    *,
    policy: Path | None,
    statements: Path,
    out: Path,
    dropped: Path,
    work: Path,
    config: WritingConfig,
    decontamination: DecontaminationConfig,
    seed: int,
) -> list[StageReport]:
    """Writes the problems that the model wrote to `out`, none with an answer, none that matches a statement.

    Args:
        policy: the champion, which writes unless `config` names another writer.
        statements: what must not be in a corpus, as `mathloop.synthesis.statements` writes it.
        dropped: becomes JSON lines of what was dropped, with `stage` and `drop_reason`.
        work: folder for the cache and for files between the steps.

    Raises:
        BadConfig: no template is without a parent.
        BadData: the writer wrote nothing usable.
    """
    merged, removed = work / "merged.parquet", work / "decontamination.dropped.jsonl"
    reports = write_all(policy=policy, out=merged, config=config, seed=seed, work=work)
    drops = [_dropped(work, report.stage) for report in reports]
    reports.append(
        decontamination_stage.run(
            problems=merged,
            responses=None,
            benchmarks=[statements],
            out=out,
            removed=removed,
            config=decontamination,
            name="decontamination_writing",
        )
    )
    merge_dropped(dropped, zip(reports, [*drops, removed], strict=True))
    return reports


def write_all(
    *, policy: Path | None, out: Path, config: WritingConfig, seed: int, work: Path
) -> list[StageReport]:
    """Writes all problems to `out`, and what was dropped to files in `work`. Raises the errors of `run`."""
    first = tuple(name for name in config.templates if not load_template(name).does.fields)
    then = tuple(name for name in config.templates if name not in first)
    if not first:
        raise BadConfig(
            "writing.templates: a corpus begins with problems that have no parent: name such a template "
            "too, such as nano_write or write_new"
        )
    empty = work / "none.parquet"
    write_problems(empty, ())
    reports: list[StageReport] = []
    files = [empty]
    for name, templates in (("writing", first), ("rewriting", then)):
        if not templates:
            continue
        written = work / f"{name}.parquet"
        report = write.run(
            problems=files[-1],
            policy=policy,
            out=written,
            config=config.model_copy(update={"templates": templates, "keep_answers": False}),
            seed=seed,
            work=work,
            dropped=_dropped(work, name),
        )
        report.stage = name
        reports.append(report)
        files.append(written)
    write_problems(out, chain.from_iterable(map(read_problems, files)))
    return reports


def _dropped(work: Path, stage: str) -> Path:
    return work / f"{stage}.dropped.jsonl"
