"""Writes images/pins/*.txt: every package of every image with its version and hashes.

    pip install uv
    python images/pin.py                          # keeps pins that pyproject.toml still allows
    python images/pin.py --upgrade                # takes the newest versions that pyproject.toml allows
    python images/pin.py --torch-cpu FOLDER       # takes torch's CPU wheel from a folder

The pins are for Linux on x86-64 and Python 3.11. `pip install --require-hashes` refuses any other file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "images" / "pins"

EXTRAS = {
    "control": ("pipelines",),
    "sampler-gpu": ("pipelines", "sample", "vllm"),
    "sampler-cpu": ("pipelines", "sample"),
    "trainer-gpu": ("pipelines", "train"),
    "trainer-cpu": ("pipelines", "train"),
    "solver-gpu": ("serve",),
    "solver-cpu": ("serve", "sample"),
}
"""The extras of each pins file. `pipelines` contains kfp, which starts a pipeline's step in its pod."""

BUILD = ("pip==26.2", "setuptools>=77,<81", "wheel", "ninja")
"""Packages of the builder stage; ninja compiles DeepSpeed's one extension."""

SOURCES_ONLY = ("deepspeed", "kfp-server-api")
"""Packages published only as source archives; the builder stage builds their wheels."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Pins the packages of the images.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions allowed")
    parser.add_argument(
        "--torch-cpu",
        default="https://download.pytorch.org/whl/cpu",
        metavar="INDEX_OR_FOLDER",
        help="source of torch's CPU wheel (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if shutil.which("uv") is None:
        sys.exit("pin: uv is not on the PATH; pip install uv")
    PINS.mkdir(exist_ok=True)
    for name, extras in EXTRAS.items():
        sources = [word for extra in extras for word in ("--extra", extra)]
        _write(name, ["pyproject.toml", *sources], arguments, cpu_torch="cpu" in name)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(BUILD))
        file.flush()
        _write("build", [file.name], arguments, cpu_torch=False)


def _write(name: str, sources: list[str], arguments: argparse.Namespace, *, cpu_torch: bool) -> None:
    path = PINS / f"{name}.txt"
    with tempfile.TemporaryDirectory() as folder:
        lock, constraints = Path(folder, "pylock.toml"), Path(folder, "constraints.txt")
        kept = [] if arguments.upgrade or not path.exists() else _versions(path)
        if cpu_torch:
            kept = [line for line in kept if not line.startswith("torch==")] + ["torch==2.13.0+cpu"]
        constraints.write_text("\n".join(kept))
        command = ["uv", "pip", "compile", "--quiet", *sources, "--constraint", str(constraints)]
        command += ["--format", "pylock.toml", "--output-file", str(lock)]
        command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]
        command += ["--only-binary", ":all:"]
        command += [word for package in SOURCES_ONLY for word in ("--no-binary", package)]
        if cpu_torch and "://" in arguments.torch_cpu:
            command += ["--extra-index-url", arguments.torch_cpu, "--index-strategy", "unsafe-best-match"]
        elif cpu_torch:
            command += ["--find-links", arguments.torch_cpu]
        uv = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        if uv.returncode:
            reason = " ".join(uv.stderr.split())[-400:]
            sys.exit(
                f"pin: {name}: uv found no set of versions; --upgrade ignores the present pins: … {reason}"
            )
        packages = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    contents = "the extras " + ", ".join(EXTRAS[name]) if name in EXTRAS else "the build tools"
    lines = [f"# Written by images/pin.py: {contents}.", *map(_pin, packages)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _versions(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if "==" in line]


def _pin(package: dict[str, Any]) -> str:
    """The package's lines; if it has wheels, its source archive is not accepted."""
    files = package.get("wheels") or [package["sdist"]]
    hashes = sorted(f"    --hash=sha256:{file['hashes']['sha256']}" for file in files)
    return " \\\n".join([f"{package['name']}=={package['version']}", *hashes])


if __name__ == "__main__":
    main()
