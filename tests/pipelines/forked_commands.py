"""Runs commands one after the other, each in a fork of a process that has imported what they need.

`python forked_commands.py` reads JSON lines {"folder", "arguments"} and answers with {"code", "out", "err"}.
Importing torch and transformers takes seconds, and dozens of refusals are tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.paths import ROOT

PRELOADED = (
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


class Commands:
    """`mathloop …` in a folder, as `command.mathloop`, but quick. Use as a context manager."""

    def __enter__(self) -> Commands:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def refused(self, *arguments: str, folder: Path) -> str:
        """The one line of a refusal, which leaves nothing behind."""
        assert self._process.stdin
        assert self._process.stdout
        before = sorted(folder.rglob("*"))
        request = json.dumps({"folder": str(folder), "arguments": arguments})
        print(request, file=self._process.stdin, flush=True)
        ended = json.loads(self._process.stdout.readline())
        assert ended["code"] == 2, ended
        assert sorted(folder.rglob("*")) == before
        (line,) = ended["err"].splitlines()
        assert ended["out"] == ""
        start = "mathloop: error: "
        assert line.startswith(start)
        return str(line).removeprefix(start)


def main() -> None:
    for module in PRELOADED:
        import_module(module)
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


def _become(request: dict[str, object]) -> None:
    from pipelines import cli

    code: object = 1
    try:
        os.chdir(str(request["folder"]))
        sys.argv = ["mathloop", *request["arguments"]]  # type: ignore[misc]
        cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
