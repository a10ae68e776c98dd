"""`make cluster` runs what docs/cluster.md says, and only what makes the cluster."""

from __future__ import annotations

import subprocess

from tests.cluster.kind_cluster import script


def test_the_commands_of_the_page_are_one_script() -> None:
    commands = script()
    done = subprocess.run(["sh", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = (
        "kind create cluster",
        "kserve-crds.yaml",
        "kind load docker-image",
        "create secret generic mathloop-s3 --namespace=kubeflow",
        "apply -k manifests/overlays/kind",
    )
    places = [commands.index(step) for step in steps]
    assert places == sorted(places)
    assert "port-forward" not in commands
    assert "mathloop submit" not in commands.replace("`mathloop submit`", "")
