"""Runs commands one after the other, each in a fork of a process that has imported what they need.

`python forked_commands.py MODULE…` imports the modules, reads JSON lines {"folder", "arguments"
"environment"}
and answers with {"code", "out", "err"}.
Importing torch, transformers or KFP takes seconds, and dozens of commands are tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from tests.paths import ROOT

MODELS = (
    "pipelines.cli",
    "pipelines.local.round",
    "pipelines.commands.endpoint",
    "mathloop.evaluation.evaluate",
    "mathloop.serving.local",
    "mathloop.serving.server",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen2.tokenization_qwen2",
)
"""What commands that read a model import."""
CLUSTER = ("pipelines.cli", "kfp.client", "kfp.compiler", "kubernetes.client", "kubernetes.config")
"""What commands that ask a cluster import."""


class Commands:
    """`mathloop …` in a folder, as `command.mathloop`, but quick. Use as a context manager."""

    def __init__(self, preloaded: tuple[str, ...] = MODELS) -> None:
        self.preloaded = preloaded

    def __enter__(self) -> Commands:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self.preloaded],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """What the command ended with; `environment` replaces that of the process."""
        assert self._process.stdin
        assert self._process.stdout
        request = {"folder": str(folder), "arguments": arguments, "environment": environment}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        ended = json.loads(self._process.stdout.readline())
        return subprocess.CompletedProcess(arguments, ended["code"], ended["out"], ended["err"])

    def refused(self, *arguments: str, folder: Path) -> str:
        """The one line of a refusal, which leaves nothing behind."""
        before = sorted(folder.rglob("*"))
        ended = self.run(*arguments, folder=folder)
        assert ended.returncode == 2, ended
        assert sorted(folder.rglob("*")) == before
        (line,) = ended.stderr.splitlines()
        assert ended.stdout == ""
        start = "mathloop: error: "
        assert line.startswith(start)
        return line.removeprefix(start)


def main() -> None:
    for module in sys.argv[1:]:
        import_module(module)
    if "kfp.client" in sys.argv:
        _look_often()
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                _become(request)
            _, status = os.waitpid(child, 0)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "out": texts[0], "err": texts[1]}), flush=True)


def _look_often() -> None:
    """What a cluster is asked every five seconds, the stand-in is asked twenty times a second."""
    from mathloop.cluster import deployment
    from pipelines.cluster import following, rounds

    deployment.deploy.__kwdefaults__["poll_seconds"] = 0.05
    for module in (following, rounds):
        module.POLL_SECONDS = 0.05


def _become(request: dict[str, object]) -> None:
    from pipelines import cli

    code: object = 1
    try:
        os.chdir(str(request["folder"]))
        environment = request["environment"]
        if isinstance(environment, dict):
            os.environ.clear()
            os.environ.update(environment)
            _read_kubeconfig_of(environment)
        sys.argv = ["mathloop", *request["arguments"]]  # type: ignore[misc]
        cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _read_kubeconfig_of(environment: Mapping[str, str]) -> None:
    """The client reads this one variable when it is imported."""
    client = sys.modules.get("kubernetes.config.kube_config")
    if client is not None and "KUBECONFIG" in environment:
        vars(client)["KUBE_CONFIG_DEFAULT_LOCATION"] = environment["KUBECONFIG"]


if __name__ == "__main__":
    main()
