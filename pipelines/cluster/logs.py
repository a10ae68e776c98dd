"""`mathloop logs`: a stage's log, through KFP.

KFP 2.17 serves pods' logs at an address of its first API (v1alpha1) and reads them with its own permissions,
so nobody needs any in Kubernetes. Its UI, for those who reach KFP through it, serves them at another one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence

from mathloop.cluster.refusals import Unreachable
from mathloop.errors import BadConfig, UserError
from mathloop.validation import closest
from pipelines.cluster.connection import Absent, Access, Pipelines, open_pipelines
from pipelines.cluster.runs import find_run
from pipelines.cluster.stages import Stage, read_stages
from pipelines.streams import visible

LAUNCHER = re.compile(
    r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.go:\d+\] |launcher info:|executorInput=|\[KFP Executor "
)
"""Beginnings of the lines that KFP's launcher and executor write into a stage's log."""


class NoLog(UserError):
    """KFP has no log of this pod."""


def logs(name: str, stage_name: str | None, access: Access) -> None:
    """Prints the log of a run's stage: of the one that failed, else of the last one that began, by default.

    Raises:
        BadConfig: there is no such run or stage, or several.
        NoLog: the stage has no log.
    """
    pipelines = open_pipelines(access)
    run = find_run(pipelines, name)
    stage = choose(read_stages(pipelines, run), stage_name)
    if stage_name is None:
        print(f"stage {stage.path} of run {run.run_id} ({stage.state})", file=sys.stderr)
    for line in read_log(pipelines, run.run_id, stage).splitlines():
        print(visible(line))


def choose(stages: Sequence[Stage], name: str | None) -> Stage:
    """The stage of this name or path; without one, a failed stage, else the last that began."""
    if not stages:
        raise BadConfig("no stage of this run has begun yet; see: mathloop rounds")
    if name is None:
        with_pods = [stage for stage in stages if stage.pod] or list(stages)
        return next((stage for stage in with_pods if stage.state == "FAILED"), with_pods[-1])
    found = [stage for stage in stages if name in (stage.name, stage.path)]
    paths = [stage.path for stage in stages]
    if not found:
        known = f"begun so far: {', '.join(paths)}"
        raise BadConfig(f"no stage {name!r}{closest(name, paths)}; {known}")
    if len(found) > 1:
        raise BadConfig(f"several stages {name!r}: {', '.join(stage.path for stage in found)}")
    return found[0]


def read_log(pipelines: Pipelines, run_id: str, stage: Stage) -> str:
    """The log of the stage's latest attempt, up to now; raises NoLog."""
    if stage.state == "CACHED":
        raise NoLog(f"stage {stage.path} reused the outputs of an earlier run and has no log")
    if stage.pod is None:
        raise NoLog(f"stage {stage.path} has no pod yet, or KFP does not say which: see the run's page")
    text = _read(pipelines, run_id, stage.pod)
    if text is None:
        raise NoLog(
            f"KFP has no log of stage {stage.path}: its pod {stage.pod} has not started, or was deleted "
            "(KFP keeps a run's pods for a day)"
        )
    return text


def own_lines(text: str) -> Iterator[str]:
    """The lines of a log that the stage wrote, without those of KFP's launcher and its JSON."""
    inside = False
    for line in text.splitlines():
        if inside:
            inside = not line.startswith("}")
        elif LAUNCHER.match(line):
            inside = line.endswith("{")
        else:
            yield line


def _read(pipelines: Pipelines, run_id: str, pod: str) -> str | None:
    try:
        data = pipelines.fetch(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", "read a log")
    except Absent:
        query = {"podname": pod, "runid": run_id}
        if pipelines.namespace:
            query["podnamespace"] = pipelines.namespace
        try:
            data = pipelines.fetch("/k8s/pod/logs", "read a log", query)
        except (Absent, Unreachable):  # the UI has 500 for a pod that is gone
            return None
    text = data.decode("utf-8", "replace")
    return None if _is_error(text) else text


def _is_error(text: str) -> bool:
    """Whether this is KFP's error and not a log: KFP sends the status, 200, before it asks for the log."""
    if not text.startswith('{"error_message"'):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
