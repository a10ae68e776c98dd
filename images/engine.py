"""What images/build.py and images/sbom.py share: an image's full name, and the tool that builds images."""

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
    """As components/images.py has it, so that what is built is what a pipeline asks for; '' for a default."""
    given = {"PREFIX": prefix, "TAG": tag, "VARIANT": variant}
    os.environ.update({f"MATHLOOP_IMAGE_{key}": value for key, value in given.items() if value})
    sys.path.insert(0, str(ROOT))
    from mathloop.errors import BadConfig

    try:
        from components.images import image

        return image(name)
    except BadConfig as error:
        end(str(error))


def engine() -> str | None:
    """docker if its daemon answers, else buildah; None without either."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True).returncode:
        return "docker"
    return "buildah" if shutil.which("buildah") else None


def check_images(names: list[str]) -> None:
    for name in names:
        if name not in IMAGES:
            end(f"there is no image {name!r}; expected some of {', '.join(IMAGES)}")


def end(said: str, code: int = 2) -> NoReturn:
    print(f"images: {said}", file=sys.stderr)
    sys.exit(code)
