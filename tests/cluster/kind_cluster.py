"""`make cluster`: prints the commands of docs/cluster.md that make a cluster with kind."""

from __future__ import annotations

import re

from tests.paths import ROOT

STEPS = ("Cluster and Kubeflow", "Images", "The keys of the store", "mathloop")
"""Headings of docs/cluster.md; of each the first block of commands."""


def script() -> str:
    """The commands, without prompts; raises ValueError if the page has no such heading or block."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    blocks = []
    for step in STEPS:
        found = re.search(rf"^## {step}\n(?:(?!^## ).*\n)*?```console\n((?:.*\n)*?)```$", page, re.MULTILINE)
        if found is None:
            raise ValueError(f"docs/cluster.md: no commands under the heading {step!r}")
        blocks.append("\n".join(line.removeprefix("$ ") for line in found[1].splitlines()))
    return "\n".join(blocks)


if __name__ == "__main__":
    print(script())
