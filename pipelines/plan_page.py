"""Writes the plans into docs/plan.md, each after a comment `<!-- plan: PROFILE GPUS -->`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from mathloop.planning import make_plan, published
from mathloop.planning.showing import to_markdown
from mathloop.training.gpus import GPUS
from pipelines.profile import load_profile

FILE = Path(__file__).parents[1] / "docs" / "plan.md"
_PLAN = re.compile(r"(?P<head><!-- plan: (?P<arguments>.*?) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def render(text: str) -> str:
    """The page with its plans and table of GPUs made anew; depends only on the code and the profiles."""
    return _PLAN.sub(lambda found: f"{found['head']}\n{_made(found['arguments'])}\n\n{found['end']}", text)


def _made(arguments: str) -> str:
    if arguments == "gpus":
        rows = [f"| {kind} | {g.memory:g} | {g.tflops:g} | {g.bandwidth:g} |" for kind, g in GPUS.items()]
        head = [
            "| GPU | memory, GB | bfloat16, dense TFLOP/s | bandwidth, GB/s |",
            "| --- | --- | --- | --- |",
        ]
        return "\n".join([*head, *rows])
    if arguments == "published":
        return published.to_markdown()
    profile, *gpus = shlex.split(arguments)
    command = f"$ mathloop plan --profile {profile}{f' --gpus {gpus[0]}' if gpus else ''}"
    made = make_plan(load_profile(profile), gpus[0] if gpus else None)
    return f"```console\n{command}\n```\n\n{to_markdown(made)}"


if __name__ == "__main__":
    FILE.write_text(render(FILE.read_text(encoding="utf-8")), encoding="utf-8")
    print(FILE)
