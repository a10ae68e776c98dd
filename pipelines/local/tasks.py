"""How KFP's local runner is made resumable, in one place: `adapted` replaces four of its names for a run.

`kfp.local` (2.17) writes a task's outputs below a time stamp, runs tasks in the order of a hash map, and
starts each through a shell that outlives us. Its own cache cannot help a resume: its key holds those dated
paths, and it does not see a task that was killed halfway. So, while a run lasts:

- a task's outputs go to the run's stages/<stage>/, which is the same on resume;
- the pipeline's id is given, as it is one id for all attempts on a cluster;
- tasks run in an order that depends on the pipeline only;
- a task is a process that we start, watch and end, and is not started at all where done.json says that it
  ended well with the same code, settings and inputs. KFP then reads its outputs as if it had just run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kfp.local import executor_input_utils, graph_utils, placeholder_utils, status, subprocess_task_handler

from components.running import WORK_VARIABLE
from mathloop.stages import PROGRESS_VARIABLE
from pipelines.local.folder import RunFolder, read_json, write_json
from pipelines.local.launcher import Launcher, Process
from pipelines.local.view import View

POLL = 0.05
"""Seconds between two looks at a running stage."""


class StageFailed(Exception):
    """A stage ended badly; `user_error` is its one line where the mistake is the user's."""

    def __init__(self, stage: str, log: Path, exit_code: int, seconds: float, user_error: str | None) -> None:
        super().__init__(stage)
        self.stage, self.log, self.exit_code = stage, log, exit_code
        self.seconds, self.user_error = seconds, user_error


@contextmanager
def adapted(
    run: RunFolder, job: str, names: Mapping[str, str], launcher: Launcher, view: View
) -> Iterator[None]:
    """Makes `kfp.local` work in the run's folder, as the pipeline run `job`.

    `names` maps a component's name to its stage's.
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
    """Names of a pipeline's tasks: by how many must run before them in a row, then by name."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 1 + max((depth(before) for before in tasks[name].dependent_tasks), default=0)
        return depths[name]

    return sorted(tasks, key=lambda name: (depth(name), name))


class Stage:
    """One task, as KFP would have started it: replayed where it is done, else run to its end."""

    def __init__(self, command: Sequence[str], run: RunFolder, launcher: Launcher, view: View) -> None:
        at = list(command).index("--executor_input")
        self.source, executor_input, self.function = command[at - 1], command[at + 1], command[at + 3]
        self.input: dict[str, Any] = json.loads(executor_input)
        self.folder = Path(self.input["outputs"]["outputFile"]).parent
        self.name, self.run = self.folder.name, run
        self.launcher, self.view = launcher, view
        self.key = self._key()

    def finish(self) -> None:
        """Returns when the stage has ended well, now or in an earlier attempt.

        Raises:
            StageFailed: it ended badly.
            KeyboardInterrupt: it was stopped, after its process had gone.
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
            raise StageFailed(self.name, self.folder / "log.txt", exit_code, seconds, process.error)
        outputs = [path for path in self._outputs() if (self.folder / path).exists()]
        write_json(self.folder / "done.json", {"key": self.key, "seconds": seconds, "outputs": outputs})
        self.view.finish(self.name, seconds)

    def _key(self) -> str:
        """Names this task's code, settings and inputs. Of an input it takes the key of the task that made it.

        The library's code is left out on purpose: who mends a failed stage wants to go on with the run.
        """
        made_by = {}
        for name, artifacts in self.input.get("inputs", {}).get("artifacts", {}).items():
            for artifact in artifacts["artifacts"]:
                producer = Path(artifact["uri"]).relative_to(self.run.stages).parts[0]
                done = json.loads((self.run.stages / producer / "done.json").read_text("utf-8"))
                made_by[name] = done["key"]
        text = json.dumps([self.source, self.function, self.input, made_by], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _done(self) -> dict[str, Any] | None:
        """What done.json says, if it speaks of this very task and its outputs are still there."""
        done = read_json(self.folder / "done.json") or {}
        outputs, seconds = done.get("outputs"), done.get("seconds")
        if (
            done.get("key") != self.key
            or not isinstance(outputs, list)
            or not isinstance(seconds, int | float)
        ):
            return None
        return done if all((self.folder / str(path)).exists() for path in outputs) else None

    def _outputs(self) -> list[str]:
        """Paths, relative to the stage's folder, that KFP expects or the component moved an artifact to."""
        written = Path(self.input["outputs"]["outputFile"])
        made = json.loads(written.read_text("utf-8")).get("artifacts", {}) if written.exists() else {}
        artifacts = {**self.input["outputs"].get("artifacts", {}), **made}
        uris = [artifact["uri"] for item in artifacts.values() for artifact in item["artifacts"]]
        return sorted(os.path.relpath(path, self.folder) for path in (*uris, written))

    def _prepare(self) -> None:
        """Keeps what an earlier attempt at this task left (stages resume inside), clears anything else."""
        begun = self.folder / "begun.json"
        if (read_json(begun) or {}).get("key") != self.key:
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.folder / "work").mkdir(parents=True)
            write_json(begun, {"key": self.key})
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
        """The newest whole line, {} before there is one."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self.offset += len(whole)
            if whole:
                self.row = json.loads(whole.splitlines()[-1])
        return self.row
