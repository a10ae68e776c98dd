"""The one call in a component's body: converts ports to paths, runs the stage, writes its summary."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mathloop.errors import MathloopError
from mathloop.reports.summary import read_summary, write_failure, write_summary
from mathloop.stages import StageReport

WORK_VARIABLE = "MATHLOOP_WORK"
"""Environment variable with the folder for a stage's checkpoints; the local runner sets it."""
POD_ARGUMENT = "--executor_input"
"""Argument that KFP passes to a component in a pod; the local runner passes none."""


def run(
    stage: Callable[..., Any],
    summary: Any,
    *,
    scores: Any = None,
    earlier: Sequence[Any] = (),
    describes: Sequence[Any] = (),
    pods: Sequence[str] = (),
    resumes: bool = False,
    **arguments: Any,
) -> Any:
    """Calls `stage(**arguments)` and records its reports.

    Args:
        stage: a stage's `run`; returns a StageReport or a list of them, or a tuple of that and the
            component's return value.
        summary: the component's Markdown port.
        scores: the component's Metrics port, for the scores in the report.
        earlier: Markdown ports of earlier steps whose reports the summary carries.
        pods: `pods`, `store` and `round_id` of a component that samples; with an empty first one, the stage
            samples in this process, and in a local run keeps what it has drawn.
        resumes: the stage itself goes on where it was killed.
        describes: ports whose artifacts get the reports' values and scores as metadata, shown on their page.
        arguments: arguments of the stage; a port is replaced by the path of its file or folder.

    Raises:
        MathloopError: the stage's own, for the local runner to print. In a pod, the message is written to the
            log and the summary instead, and the process ends with the error's exit code.
    """
    try:
        carried = [report for one in earlier for report in read_summary(Path(one.path))]
        plain = {name: _plain(value) for name, value in arguments.items()}
        if any(pods[:1]):
            result = _shared(stage, pods, plain)
        elif pods and not resumes and os.environ.get(WORK_VARIABLE):
            from mathloop.sampling.sharing import run_keeping

            result = run_keeping(stage, plain)
        else:
            result = stage(**plain)
    except MathloopError as error:
        with suppress(MathloopError):  # the disk may be what failed
            write_failure(error, Path(summary.path))
        if POD_ARGUMENT not in sys.argv:
            raise
        print(f"mathloop: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    returned, value = result if isinstance(result, tuple) else (result, None)
    reports = returned if isinstance(returned, list) else [returned]
    write_summary(reports, Path(summary.path), carried=carried)
    for one in describes:
        for report in reports:
            for name, number in (report.scores or report.values).items():
                one.metadata.setdefault(name, round(number, 4))
    _record(reports, summary, scores)
    return value


def _shared(stage: Callable[..., Any], pods: Sequence[str], arguments: Mapping[str, Any]) -> Any:
    """The stage's result, whose responses pods have drawn."""
    from mathloop.cluster import sampling_launching

    given, store, round_id = pods
    with sampling_launching.shared(given, store, round_id, arguments) as shared:
        result = stage(**arguments)
        first = result[0] if isinstance(result, list) else result
        shared.describe(first)
        shared.clean()
    return result


def work_folder() -> Path:
    """The stage's work folder, which survives a kill, or a temporary one if the runner sets none."""
    return Path(os.environ.get(WORK_VARIABLE) or tempfile.mkdtemp(prefix="mathloop-"))


def model_or_none(artifact: Any) -> Path | None:
    """The model's folder; None if it is empty or missing (object stores do not keep empty folders)."""
    from mathloop.files import filled

    return filled(Path(artifact.path))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    return Path(value.path) if hasattr(value, "uri") and hasattr(value, "path") else value


def _record(reports: Sequence[StageReport], summary: Any, scores: Any) -> None:
    """Records the scores. On a cluster it also records the component's outputs, which must be complete by
    now: a later run checks that they still exist before it reuses them."""
    if scores is not None:
        for report in reports:
            for name, value in report.scores.items():
                scores.log_metric(name, value)
    if POD_ARGUMENT in sys.argv:
        from mathloop.cluster import reuse

        executor_input = json.loads(sys.argv[sys.argv.index(POD_ARGUMENT) + 1])
        # KFP writes the logs itself; metrics are in its metadata store, not in a file at their URI.
        outputs = executor_input["outputs"]["artifacts"].keys() - {"executor-logs", "scores"}
        reuse.remember(summary.uri, Path(summary.path), outputs)
    for report in reports:
        print(report.sentence(), file=sys.stderr, flush=True)
