"""The report of an improvement round, built only from the records of its stages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mathloop.errors import BadData
from mathloop.evaluation import Outcomes, check_orderings, tabulate
from mathloop.evaluation.roles import CHALLENGER
from mathloop.files import write_file
from mathloop.records import read_problems, read_responses
from mathloop.reports import decontamination
from mathloop.reports.claims import claims_section
from mathloop.reports.configuration import configuration_section
from mathloop.reports.learning import untrained
from mathloop.reports.page import page
from mathloop.reports.process import curves_section, stages_section
from mathloop.reports.samples import choose, samples_section
from mathloop.reports.scores import benchmarks_section, headline, scores_section
from mathloop.stages import StageReport, timed


@timed
def run(
    *,
    stages: Sequence[StageReport],
    benchmark: Path,
    results: Path,
    gate: Path,
    published: Path,
    out: Path,
    title: str,
    configuration: str = "{}",
) -> StageReport:
    """Writes one self-contained HTML file to `out`.

    `stages` are shown in this order; `results` are the evaluation's responses; `gate` and `published` are
    the JSON files of the gate and of `publish_round`; `configuration` is the settings as JSON. Raises BadData
    if an input cannot be read.
    """
    decision, publication = (
        _object(gate, ("promote", "difference", "low", "high", "n", "reason")),
        _object(published),
    )
    outcomes = Outcomes(read_problems(benchmark), read_responses(results))
    chosen = choose(
        read_problems(benchmark), [read_responses(results), read_responses(results)], challenger=CHALLENGER
    )
    document = page(
        title,
        headline(title, decision, publication, stages),
        {
            "benchmarks": benchmarks_section(decision),
            "scores": scores_section(tabulate(outcomes)),
            "claims": claims_section(check_orderings(outcomes), untrained(stages)),
            "stages": stages_section(stages),
            "curves": curves_section(stages),
            "decontamination": decontamination.section(stages),
            "samples": samples_section(chosen),
            "configuration": configuration_section(json.loads(configuration), stages),
        },
    )
    encoded = document.encode("utf-8")
    write_file(out, encoded)
    return StageReport("report", inputs=len(stages), kept=1, values={"bytes": float(len(encoded))})


def _object(path: Path, fields: Sequence[str] = ()) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadData(f"expected a JSON object: {error}", path=path) from error
    if not isinstance(value, dict):
        raise BadData("expected a JSON object", path=path)
    for field in fields:
        if field not in value:
            raise BadData("expected the decision that the gate writes", path=path, field=field)
    return value
