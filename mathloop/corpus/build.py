"""Stage: builds the pretraining corpus from its sources, or writes the nano world's if there are none.

Dialogues that are given are the corpus as they are.

Per source: pages to text, recall. All sources together: deduplication, quality, decontamination. Then
questions that the documents contain, and the mixture. Each step's output and report stay in the work folder:
a killed stage that is started again resumes inside the step that it was in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from mathloop.corpus import deduplication, dialogues, extraction, quality, questions, rating, recall, write
from mathloop.corpus.config import CorpusConfig, SourceConfig
from mathloop.corpus.mixture import check_filled, mix
from mathloop.decontamination import stage as decontamination
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.records import Document, Problem, read_documents, write_documents, write_problems
from mathloop.stages import StageReport
from mathloop.storage import local_copy


def run(
    *,
    out: Path,
    work: Path,
    config: CorpusConfig,
    decontamination_config: DecontaminationConfig,
    benchmarks: Iterable[Problem],
    writer: questions.Writer | None = None,
    seed: int = 0,
) -> list[StageReport]:
    """Writes the mixed documents to `out` and returns the steps' reports, the whole stage's first.

    Args:
        work: folder of the steps' outputs, kept for a resume; the caller removes it.
        benchmarks: problems that no document may contain; without any, nothing is decontaminated.
        writer: writes questions with answers, where the rules find none.

    Raises:
        BadData: a source cannot be read, or no document is left at the end.
    """
    if config.given:
        return [dialogues.run(out=out, config=config, seed=seed)]
    if not config.sources:
        return [write.run(out=out, config=config, seed=seed)]
    scoring = rating.loader(config.quality)
    work.mkdir(parents=True, exist_ok=True)
    steps = _Steps(work)
    files = [_of_source(source, config, steps, seed) for source in config.sources]
    merged = work / "merged.parquet"
    write_documents(merged, itertools.chain.from_iterable(map(read_documents, files)))
    current = steps.add(
        "deduplication",
        merged,
        lambda i, o, d: deduplication.run(documents=i, out=o, dropped=d, config=config.deduplication),
    )
    if scoring is not None:
        current = steps.add(
            "quality",
            current,
            lambda i, o, d: quality.run(
                documents=i, out=o, dropped=d, config=config.quality, scorer=scoring(), seed=seed
            ),
        )
    excluded = work / "benchmarks.parquet"
    if write_problems(excluded, benchmarks):
        current = steps.add(
            "decontamination",
            current,
            lambda i, o, d: decontamination.run(
                problems=i,
                responses=None,
                benchmarks=[excluded],
                out=o,
                removed=d,
                config=decontamination_config,
                index=work / "index",
            ),
        )
    parts = [current]
    if config.questions:
        parts.append(
            steps.add(
                "questions",
                current,
                lambda i, o, d: questions.run(documents=i, out=o, dropped=None, writer=writer),
            )
        )
    filled = _by_source(config.sources, parts, work)
    check_filled(filled, config.sources)
    return [_mixed(out, config, filled, steps.reports), *steps.reports]


class _Steps:
    """Runs steps whose report is not in the work folder yet."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self.reports: list[StageReport] = []

    def add(self, name: str, source: Path, run: Callable[[Path, Path, Path], StageReport]) -> Path:
        """Runs a step from `source` to a file of its own, which it returns.

        `run` takes its input, its output, and a file for what it drops.
        """
        out, report = self._work / f"{name}.parquet", self._work / f"{name}.report.json"
        if not report.exists():
            done = run(source, out, self._work / f"{name}.dropped.jsonl")
            done.stage = name
            done.write(report)
        self.reports.append(StageReport.read(report))
        return out


def _of_source(source: SourceConfig, config: CorpusConfig, steps: _Steps, seed: int) -> Path:
    """The documents of one source: extracted, and recalled if that is wanted."""

    def extract(_: Path, out: Path, dropped: Path) -> StageReport:
        read = extraction.run if source.kind == "pages" else extraction.run_texts
        with local_copy(source.path) as place:
            return read(pages=place, out=out, dropped=dropped, config=config.extraction, source=source.name)

    def recalled(documents: Path, out: Path, dropped: Path) -> StageReport:
        with ExitStack() as stack:
            seeds = [stack.enter_context(local_copy(place)) for place in config.recall.seeds]
            return recall.run(
                documents=documents, seeds=seeds, out=out, dropped=dropped, config=config.recall, seed=seed
            )

    documents = steps.add(f"extraction of {source.name}", Path(source.path), extract)
    if not (source.recall and config.recall.seeds and next(read_documents(documents), None)):
        return documents
    return steps.add(f"recall of {source.name}", documents, recalled)


def _by_source(sources: Sequence[SourceConfig], parts: Sequence[Path], work: Path) -> dict[str, Path]:
    """A file per source that has a document."""
    files: dict[str, Path] = {}
    for source in sources:

        def own(name: str = source.name) -> Iterator[Document]:
            return (one for part in parts for one in read_documents(part) if one.source == name)

        path = work / f"source-{source.name}.parquet"
        if write_documents(path, own()):
            files[source.name] = path
    return files


def _mixed(
    out: Path, config: CorpusConfig, files: dict[str, Path], reports: Sequence[StageReport]
) -> StageReport:
    characters = dict.fromkeys(files, 0)

    def counted() -> Iterator[Document]:
        for document in mix(config.sources, files, config.characters):
            characters[document.source] += len(document.text)
            yield document

    kept = write_documents(out, counted())
    total = sum(characters.values())
    values = {"characters": float(total)}
    values |= {f"share of {name}": count / total for name, count in characters.items()}
    dropped: dict[str, int] = {}
    for report in reports:
        for reason, count in report.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + (count if report.stage != "questions" else 0)
    inputs = sum(report.inputs for report in reports if report.stage.startswith("extraction"))
    wanted = config.characters
    notes = [f"The sources hold {total:,} characters of the {wanted:,} asked for."] if total < wanted else []
    seconds = sum(report.seconds for report in reports)
    return StageReport(
        "corpus", seconds=seconds, inputs=inputs, kept=kept, dropped=dropped, values=values, notes=notes
    )
