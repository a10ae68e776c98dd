#!/usr/bin/env bash
# The local runner of KFP is there to try a pipeline before it goes to a cluster. One would expect `dsl.If(text == "it's")`
# to be true or false, so that either it or `dsl.If(text != "it's")` runs, and an integer to stay one.
#
#   kfp 2.17.0, SubprocessRunner
#   a condition with text that holds a quote     == and != are both false: neither branch runs, the pipeline succeeds
#   an integer in an f-string of the pipeline    "7.0 steps"
#   an integer within a dict or a list           7.0, so that range(settings["steps"]) fails
#
# The condition is put together as Python source with the text between two quotes; the syntax error becomes "false" and a
# warning in the log. Parameters of the type int themselves arrive as int.
#
# Installs kfp into a temporary folder, runs two pipelines, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kfp==2.17.0
cd "$folder"
cat > pipelines.py <<'PYTHON'
import json
from pathlib import Path

from kfp import dsl, local


@dsl.component(install_kfp_package=False)
def note(file: str, text: str):
    with open(file, "a") as notes:
        notes.write(text + "\n")


@dsl.component(install_kfp_package=False)
def show(settings: dict, steps: int, text: str) -> str:
    return repr((settings, steps, text))


@dsl.pipeline
def branches(text: str, file: str):
    with dsl.If(text == "it's"):
        note(file=file, text="equal")
    with dsl.If(text != "it's"):
        note(file=file, text="different")


@dsl.pipeline
def numbers(settings: dict, steps: int) -> str:
    return show(settings=settings, steps=steps, text=f"{steps} steps").output


if __name__ == "__main__":
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(Path("out").resolve()))
    file = Path("notes.txt").resolve()
    branches(text="it's", file=str(file))
    seen = (file.exists(), numbers(settings={"steps": 7, "list": [1, 2]}, steps=7).output)
    Path("seen.json").write_text(json.dumps(seen))
PYTHON
"$folder/venv/bin/python" pipelines.py > log.txt 2>&1 || { cat log.txt; exit 1; }
cat seen.json; echo
[ "$(cat seen.json)" = "[false, \"({'steps': 7.0, 'list': [1.0, 2.0]}, 7, '7.0 steps')\"]" ] || { echo changed; exit 1; }
