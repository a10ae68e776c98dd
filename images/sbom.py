"""Writes the images' software bills of materials (SBOMs), one CycloneDX file each: `make sbom`.

    python images/sbom.py [--out build/sbom] [--variant cpu] [IMAGE …]

If `syft` is on the PATH and the image was built here, syft lists the image's Debian and Python packages.
Otherwise the list has the packages in images/pins, which are all that a build installs, and the base image by
its digest, but no Debian packages.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from engine import IMAGES, ROOT, check_images, engine, fail, full_name

PINS = ROOT / "images" / "pins"
PARTS = {"trainer": ("sampler", "trainer")}
"""Pins files of an image that has another one's packages too."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes an SBOM of each image, as CycloneDX.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"{', '.join(IMAGES)}; default: all")
    parser.add_argument("--prefix", default="", help="as in the image's build")
    parser.add_argument("--tag", default="", help="as in the image's build")
    parser.add_argument("--variant", default="", help="cpu or gpu (the default)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "sbom", help="default: %(default)s")
    options = parser.parse_args()
    check_images(options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.images or IMAGES:
        full = full_name(name, options.prefix, options.tag, options.variant)
        path = options.out / f"{full.rpartition('/')[2].replace(':', '-')}.cdx.json"
        if _read_by_syft(full, path):
            print(f"{path}: by syft, from the built image")
        else:
            path.write_text(json.dumps(listing(name, full), indent=1) + "\n", encoding="utf-8")
            print(f"{path}: Python packages and base image, from the pins")


def _read_by_syft(full: str, path: Path) -> bool:
    """Has syft list the image; returns False without syft or image."""
    tool = engine() if shutil.which("syft") else None
    if tool is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        save = {"docker": ["docker", "save", "--output", str(archive), full]}
        save["buildah"] = ["buildah", "push", "--quiet", full, f"oci-archive:{archive}"]
        if subprocess.run(save[tool], capture_output=True).returncode:
            return False
        kind = "docker-archive" if tool == "docker" else "oci-archive"
        scan = ["syft", "scan", "--quiet", f"{kind}:{archive}", "--output", f"cyclonedx-json={path}"]
        if subprocess.run(scan).returncode:
            fail(f"syft could not read {full}; see its output above", 1)
    return True


def listing(name: str, full: str) -> dict[str, Any]:
    """The image's CycloneDX document, which depends only on the pins."""
    repository, _, tag = full.rpartition(":")
    variant = "-cpu" if tag.endswith("-cpu") else "-gpu"
    files = [name] if name == "control" else [f"{one}{variant}" for one in PARTS.get(name, (name,))]
    packages = [package for file in files for package in _packages(PINS / f"{file}.txt")]
    version = _first(r'^__version__ = "(.+)"$', ROOT / "mathloop" / "__init__.py")
    own = {"type": "application", "name": "mathloop", "version": version, "bom-ref": "mathloop"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": repository, "version": tag}},
        "components": [own, _base(ROOT / "images" / f"{name}.Dockerfile"), *packages],
    }


def _base(dockerfile: Path) -> dict[str, Any]:
    base, digest = (_first(rf"^ARG {key}=(\S+)$", dockerfile) for key in ("BASE", "DIGEST"))
    repository, _, tag = base.rpartition(":")
    return {
        "type": "container",
        "name": repository,
        "version": tag,
        "bom-ref": f"{base}@{digest}",
        "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
    }


def _packages(pins: Path) -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = []
    for line in pins.read_text(encoding="utf-8").splitlines():
        if pin := re.match(r"([a-z0-9-]+)==(\S+)", line):
            purl = f"pkg:pypi/{pin[1]}@{pin[2].replace('+', '%2B')}"
            package = {"type": "library", "name": pin[1], "version": pin[2], "purl": purl, "bom-ref": purl}
            packages.append({**package, "hashes": []})
        elif digest := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            packages[-1]["hashes"].append({"alg": "SHA-256", "content": digest[1]})
    return packages


def _first(pattern: str, path: Path) -> str:
    match = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if not match:
        fail(f"{path.relative_to(ROOT)} has no line {pattern}", 1)
    return match[1]


if __name__ == "__main__":
    main()
