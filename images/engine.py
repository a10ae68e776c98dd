"""Shared by images/build.py and images/sbom.py: an image's full name, and the tool that builds images."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ("control", "sampler", "trainer", "solver")


def full_name(name: str, prefix: str, tag: str, variant: str) -> str:
    """The name that pipelines use, from components/images.py; '' selects a default."""
    values = {"PREFIX": prefix, "TAG": tag, "VARIANT": variant}
    os.environ.update({f"MATHLOOP_IMAGE_{key}": value for key, value in values.items() if value})
    sys.path.insert(0, str(ROOT))
    from mathloop.errors import BadConfig

    try:
        from components.images import image

        return image(name)
    except BadConfig as error:
        fail(str(error))


def engine() -> str | None:
    """docker if its daemon answers, else buildah; None without either."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True).returncode:
        return "docker"
    return "buildah" if shutil.which("buildah") else None


def check_images(names: list[str]) -> None:
    for name in names:
        if name not in IMAGES:
            fail(f"there is no image {name!r}; expected some of {', '.join(IMAGES)}")


def fail(message: str, code: int = 2) -> NoReturn:
    print(f"images: {message}", file=sys.stderr)
    sys.exit(code)
