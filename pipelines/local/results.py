"""The results of a local run: its records, and what is printed of them at its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipelines.local.folder import RunFolder

if TYPE_CHECKING:
    from mathloop.evaluation import Outcomes
    from mathloop.stages import StageReport


def outcomes_of(run: RunFolder) -> Outcomes:
    """The outcomes of a run with an evaluation."""
    from mathloop.evaluation import Outcomes
    from mathloop.records import read_problems, read_responses

    benchmark = run.stages / "problems" / "benchmark"
    results = run.stages / "evaluation" / "results"
    return Outcomes(read_problems(benchmark), read_responses(results))


def reports_of(run: RunFolder) -> list[StageReport]:
    """The reports of the run's stages, in the order in which they ended; a stage without one is left out."""
    from mathloop.errors import BadData
    from mathloop.reports.summary import read_summary

    found: dict[str, StageReport] = {}
    for path in sorted(run.stages.glob("*/summary"), key=lambda path: path.stat().st_mtime_ns):
        try:
            found |= {report.stage: report for report in read_summary(path)}
        except BadData:  # of a stage that failed
            continue
    return list(found.values())


def write_report(run: RunFolder, out: Path) -> Path:
    """Writes the report of a run that was judged, from its records, to `out`; raises BadData."""
    from mathloop.errors import BadData
    from mathloop.reports import round as round_report

    judgment = run.stages / "judgment"
    for name in ("verdict", "published"):
        if not (judgment / name).is_file():
            message = "the run was not judged, so it has no report; finish it with mathloop run --resume"
            raise BadData(message, path=judgment / name)
    reports = [one for one in reports_of(run) if one.stage != "report"]
    settings = run.settings.get("profile") or {}
    round_report.run(
        stages=reports,
        benchmark=run.stages / "problems" / "benchmark",
        results=run.stages / "evaluation" / "results",
        gate=judgment / "verdict",
        published=judgment / "published",
        out=out,
        title=f"Round {run.id}",
        configuration=json.dumps(settings),
    )
    return out


def show_results(run: RunFolder, console: Console, page: Path | None = None) -> None:
    """Prints scores, claims, what was not learned, the gate's decision, and the report's path.

    Writes scores.csv and scores.json into the run's folder.
    `page` is the report if it is written already; else the one of the run's stages is copied.
    """
    texts = [""]
    if (run.stages / "evaluation").is_dir():
        from mathloop.evaluation import check_orderings, print_scores, print_table, tabulate
        from mathloop.evaluation.cautions import cautions
        from mathloop.reports.claims import print_claims
        from mathloop.reports.learning import nothing_learned, untrained

        outcomes, reports = outcomes_of(run), reports_of(run)
        table = tabulate(outcomes)
        several = any(group.startswith("benchmark:") for group in table.groups)
        texts += [print_scores(table) if several else print_table(table), *cautions(table), ""]
        table.write(run.path)
        if claims := print_claims(check_orderings(outcomes), untrained(reports)):
            texts += [claims, ""]
        texts += nothing_learned(reports)
        texts += [note for one in reports if one.stage == "tracking" for note in one.notes]
    paths = [run.stages / stage / "published" for stage in ("judgment", "base-publication")]
    if published := next((path for path in paths if path.is_file()), None):
        outcome: dict[str, Any] = json.loads(published.read_text("utf-8"))
        number = outcome["number"]
        decision = f"promoted to champion {number}" if outcome["promoted"] else "not promoted"
        texts.append(f"{decision}: {outcome['reason']}")
    pages = [run.stages / stage / "page" for stage in ("judgment", "evaluation")]
    report = run.path / "report.html"
    if page is not None:
        texts.append(f"report: {page}")
    elif written := next((page for page in pages if page.is_file()), None):
        if (run.stages / "judgment" / "page").is_file() and (run.stages / "pretrain").is_dir():
            write_report(run, report)  # with the first model, of which the round's own page knows nothing
        else:
            shutil.copyfile(written, report)
        texts.append(f"report: {report}")
    else:
        texts.append(f"outputs of each stage: {run.stages}")
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
