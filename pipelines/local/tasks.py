"""Makes KFP's local runner resumable: `adapted` replaces four of its functions during a run.

`kfp.local` (2.17) writes a task's outputs to a path with a time stamp, runs tasks in hash order, and starts
each through a shell that outlives us. Its own cache does not help to resume: its key contains these paths,
and it does not notice that a task was killed halfway. So, during a run:

- a task's outputs go to the run's stages/<stage>/, which is the same on resume;
- the pipeline run has a fixed id, the same for all attempts, as on a cluster;
- tasks run in an order that depends only on the pipeline;
- a task is a process that we start, watch and stop. It is not started if done.json shows that it succeeded
with
  the same code, settings and inputs; KFP then reads its outputs as if it had just run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kfp.local import executor_input_utils, graph_utils, placeholder_utils, status, subprocess_task_handler

from components.running import WORK_VARIABLE
from mathloop.stages import PROGRESS_VARIABLE
from pipelines.local.folder import RunFolder, read_done, read_json, write_json
from pipelines.local.launcher import Launcher, Process
from pipelines.local.view import View

POLL = 0.05
"""Seconds between two polls of a running stage."""


class StageFailed(Exception):
    """A stage failed; `user_error` is its message if it failed with a UserError."""

    def __init__(
        self, stage: str, log: Path, exit_code: int, seconds: float, user_error: str | None, peak: int = 0
    ) -> None:
        super().__init__(stage)
        self.stage, self.log, self.exit_code = stage, log, exit_code
        self.seconds, self.user_error = seconds, user_error
        self.peak = peak
        """Bytes of memory that it had at most; 0 if nobody knows."""

    @property
    def cause(self) -> str:
        """`exit code 1`, `killed by signal 15`, or what signal 9 means: the kernel's answer to no memory."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        if self.exit_code != -signal.SIGKILL:
            return f"killed by signal {-self.exit_code}"
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        had = f": it had {gibibytes(self.peak)} at its peak" if self.peak else ""
        return (
            f"killed by signal 9, probably out of memory{had}; this machine has {gibibytes(total)}: "
            "a smaller batch_size, micro_batch_tokens or model needs less"
        )


def gibibytes(count: int) -> str:
    """`12.3 GiB`, below 1 GiB `312 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


@contextmanager
def adapted(
    run: RunFolder, job: str, names: Mapping[str, str], launcher: Launcher, view: View
) -> Iterator[None]:
    """Makes `kfp.local` work in the run's folder, as the pipeline run with the id `job`.

    `names` maps component names to stage names.
    """

    class Handler(subprocess_task_handler.SubprocessTaskHandler):  # type: ignore[misc]
        def run(self) -> status.Status:
            Stage(self.full_command, run, launcher, view).finish()
            return status.Status.SUCCESS

    def task_root(pipeline_root: str, pipeline_resource_name: str, task_resource_name: str) -> str:
        return str(run.stages / names[task_resource_name])

    with ExitStack() as patches:
        for module, name, value in (
            (executor_input_utils, "construct_local_task_root", task_root),
            (placeholder_utils, "make_random_id", lambda: job),
            (graph_utils, "topological_sort_tasks", lambda tasks: in_order(tasks)[::-1]),
            (subprocess_task_handler, "SubprocessTaskHandler", Handler),
        ):
            patches.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield


def in_order(tasks: Mapping[str, Any]) -> list[str]:
    """Names of a pipeline's tasks, sorted by depth in the graph, then by name."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 1 + max((depth(before) for before in tasks[name].dependent_tasks), default=0)
        return depths[name]

    return sorted(tasks, key=lambda name: (depth(name), name))


class Stage:
    """One task with KFP's command line: skipped if it is done, else run."""

    def __init__(self, command: Sequence[str], run: RunFolder, launcher: Launcher, view: View) -> None:
        at = list(command).index("--executor_input")
        self.source, executor_input, self.function = command[at - 1], command[at + 1], command[at + 3]
        self.input: dict[str, Any] = json.loads(executor_input)
        self.folder = Path(self.input["outputs"]["outputFile"]).parent
        self.name, self.run = self.folder.name, run
        self.launcher, self.view = launcher, view
        self.key = self._key()

    def finish(self) -> None:
        """Returns when the stage has succeeded, now or in an earlier attempt.

        Raises:
            StageFailed: it failed.
            KeyboardInterrupt: it was stopped; its process has ended.
        """
        done = self._done()
        if done is not None:
            self.view.finish(self.name, done["seconds"], replayed=True)
            return
        self._prepare()
        self.view.start(self.name)
        started = time.monotonic()
        exit_code, process = self._run()
        seconds = round(time.monotonic() - started, 3)
        if exit_code != 0:
            self.view.fail(self.name, seconds)
            log = self.folder / "log.txt"
            raise StageFailed(self.name, log, exit_code, seconds, process.error, process.peak)
        outputs = [path for path in self._outputs() if (self.folder / path).exists()]
        took = {"seconds": seconds, "cpu_seconds": process.cpu_seconds, "peak_bytes": process.peak}
        write_json(self.folder / "done.json", {"key": self.key, **took, "outputs": outputs})
        self._remove_checkpoints()
        self.view.finish(self.name, seconds)

    def _key(self) -> str:
        """A hash of this task's code, settings and inputs; an input counts by the key of the task that wrote
        it.

        The library's code is excluded on purpose: after fixing a bug in a failed stage, the run can be
        resumed.
        """
        producers = {}
        for name, artifacts in self.input.get("inputs", {}).get("artifacts", {}).items():
            for artifact in artifacts["artifacts"]:
                producer = Path(artifact["uri"]).relative_to(self.run.stages).parts[0]
                done = json.loads((self.run.stages / producer / "done.json").read_text("utf-8"))
                producers[name] = done["key"]
        text = json.dumps([self.source, self.function, self.input, producers], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _done(self) -> dict[str, Any] | None:
        """The content of done.json, if it is of this very task and the outputs still exist."""
        done = read_done(self.folder)
        if done is None or done.get("key") != self.key or not isinstance(done.get("seconds"), int | float):
            return None
        return done if all((self.folder / str(path)).exists() for path in done["outputs"]) else None

    def _outputs(self) -> list[str]:
        """Paths, relative to the stage's folder, that KFP expects or the component moved an artifact to."""
        written = Path(self.input["outputs"]["outputFile"])
        moved = json.loads(written.read_text("utf-8")).get("artifacts", {}) if written.exists() else {}
        artifacts = {**self.input["outputs"].get("artifacts", {}), **moved}
        uris = [artifact["uri"] for item in artifacts.values() for artifact in item["artifacts"]]
        return sorted(os.path.relpath(path, self.folder) for path in (*uris, written))

    def _remove_checkpoints(self) -> None:
        """A finished stage is not resumed; its checkpoints are three times the size of its model each."""
        for folder in sorted((self.folder / "work").rglob("checkpoints")):
            shutil.rmtree(folder, ignore_errors=True)

    def _prepare(self) -> None:
        """Keeps the files of an earlier attempt at this task, which it resumes from; deletes all others."""
        marker = self.folder / "begun.json"
        if (read_json(marker) or {}).get("key") != self.key:
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.folder / "work").mkdir(parents=True)
            write_json(marker, {"key": self.key})
        for name in ("done.json", "progress.jsonl"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "component.py").write_text(self.source, encoding="utf-8")
        write_json(self.folder / "input.json", self.input)

    def _run(self) -> tuple[int, Process]:
        environment = {
            WORK_VARIABLE: str(self.folder / "work"),
            PROGRESS_VARIABLE: str(self.folder / "progress.jsonl"),
        }
        process = self.launcher.start(self.folder, self.function, environment)
        progress = Progress(self.folder / "progress.jsonl")
        try:
            while (exit_code := process.wait(POLL)) is None:
                self.view.tick(progress.latest())
        except BaseException:
            process.stop()
            raise
        self.view.tick(progress.latest())
        return exit_code, process


class Progress:
    """Follows the file that `mathloop.stages.Progress` appends to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.row: dict[str, Any] = {}

    def latest(self) -> dict[str, Any]:
        """The newest complete line, {} before there is one."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self.offset += len(whole)
            if whole:
                self.row = json.loads(whole.splitlines()[-1])
        return self.row
