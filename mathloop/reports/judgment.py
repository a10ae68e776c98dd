"""A round's judgment in one step: the gate, publication of a better challenger, and the round's report."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from mathloop.errors import UserError
from mathloop.evaluation import Outcomes, gate, tabulate
from mathloop.evaluation.config import GateConfig
from mathloop.files import write_file
from mathloop.records import read_problems, read_responses
from mathloop.registry.stages import publish_round
from mathloop.reports import round as round_report
from mathloop.reports.records import publish_record
from mathloop.reports.sending import send
from mathloop.reports.summary import read_summary
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.tracking.config import NO_TRACKING, TrackingConfig
from mathloop.tracking.sinks import is_on


def run(
    *,
    store_url: str,
    round_id: str,
    champion: str,
    policy: Path,
    reward_model: Path,
    benchmark: Path,
    results: Path,
    summaries: Sequence[Path],
    verdict: Path,
    published: Path,
    page: Path,
    config: GateConfig,
    configuration: str,
    seed: int,
    tracking: TrackingConfig = NO_TRACKING,
) -> list[StageReport]:
    """Judges the challenger, promotes it if it is better, and writes the report.

    Args:
        champion: entry of the champion that the round started from, as JSON.
        policy: the challenger's model folder.
        reward_model: its reward model's folder.
        results: Responses of every model.
        summaries: the summaries of the earlier steps, in the order in which the report shows them.
        verdict: becomes the gate's decision, as JSON.
        published: becomes {"promoted": bool, "number": int or null, "reason": str}.
        page: becomes the report, one HTML file.
        configuration: settings of the run as JSON.
        tracking: trackers that take the round's scores and curves; one that fails is a note.

    The round's record is published into the store too, whatever was decided (`records`). If the process is
    killed after a promotion, the next call finds it and does not repeat it.

    Raises:
        BadData: an input is damaged, or the results lack a model that the gate compares.
        StorageRefused: the store cannot be reached or written.
    """
    stages = [report for path in summaries for report in read_summary(path)]
    stages.append(gate.run(benchmark=benchmark, results=results, out=verdict, config=config, seed=seed))
    stages.append(
        publish_round(
            store_url=store_url,
            champion=champion,
            gate=verdict,
            policy=policy,
            reward_model=reward_model,
            round_id=round_id,
            out=published,
        )
    )
    write_report = partial(
        round_report.run,
        stages=list(stages),
        benchmark=benchmark,
        results=results,
        gate=verdict,
        published=published,
        out=page,
        title=f"Round {round_id}",
        configuration=configuration,
    )
    stages.append(write_report() if not stages[-1].kept else _never_failing(write_report, page))
    try:
        publish_record(
            open_store(store_url),
            round_id=round_id,
            champion=champion,
            published=json.loads(published.read_text("utf-8")),
            gate=json.loads(verdict.read_text("utf-8")),
            settings=json.loads(configuration),
            reports=stages,
            benchmark=benchmark,
            results=results,
        )
    except Exception as error:  # the round is decided, and its champion waits to be deployed
        if not isinstance(error, UserError):
            traceback.print_exc()
        stages[-1].notes.append(f"The round's record could not be published: {_reason(error)}")
    if is_on(tracking):
        scores = partial(_scores, benchmark, results)
        stages.append(send(tracking, round_id, configuration, list(stages), scores))
        return stages[-4:]
    return stages[-3:]


def _scores(benchmark: Path, results: Path) -> dict[str, float]:
    """Scores as fractions, under `model/mode/metric` or `benchmark/model/mode/metric`."""
    found = {}
    for one in tabulate(Outcomes(read_problems(benchmark), read_responses(results))).scores:
        kind, _, name = one.group.partition(":")
        if kind in ("all", "benchmark"):
            found["/".join(filter(None, (name, one.model, one.mode, one.metric)))] = one.value
    return found


def _never_failing(write_report: Callable[[], StageReport], page: Path) -> StageReport:
    """The report of a round that promoted its challenger: an error in it must not stop the deployment."""
    try:
        return write_report()
    except Exception as error:
        traceback.print_exc()
        note = f"The report could not be written: {_reason(error)}"
        write_file(page, f"<!doctype html>\n<title>No report</title>\n<p>{escape(note)}</p>\n".encode())
        return StageReport("report", inputs=1, dropped={"could not be written": 1}, notes=[note])


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
