"""Writes images/pins/*.txt: every package of every image with its version and hashes.

The trainer's packages are resolved together, and the sampler's, a part of them, get the same versions;
trainer-*.txt has the rest.

    pip install uv
    python images/pin.py                          # keeps pins that pyproject.toml still allows
    python images/pin.py --upgrade                # takes the newest versions that pyproject.toml allows
    python images/pin.py --variant gpu            # leaves the CPU variants, whose torch is not on PyPI
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
    "trainer-gpu": ("pipelines", "train", "vllm", "corpus"),
    "trainer-cpu": ("pipelines", "train", "corpus"),
    "sampler-gpu": ("pipelines", "sample", "vllm"),
    "sampler-cpu": ("pipelines", "sample"),
    "solver-gpu": ("serve",),
    "solver-cpu": ("serve", "sample"),
}
"""The extras of each pins file. `pipelines` contains kfp, which starts a pipeline's step in its pod."""

PART_OF = {"sampler-gpu": "trainer-gpu", "sampler-cpu": "trainer-cpu"}
"""Pins that are a part of another image's, which is resolved first, in one run: the trainer is the sampler
and DeepSpeed. Its own file has only what the sampler's lacks."""

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
    parser.add_argument(
        "--variant",
        choices=("cpu", "gpu", "all"),
        default="all",
        help="variant to pin (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if shutil.which("uv") is None:
        sys.exit("pin: uv is not on the PATH; pip install uv")
    PINS.mkdir(exist_ok=True)
    resolved: dict[str, list[dict[str, Any]]] = {}
    for name, extras in EXTRAS.items():
        if name.rpartition("-")[2] == {"cpu": "gpu", "gpu": "cpu"}.get(arguments.variant):
            continue
        sources = ["pyproject.toml", *(word for extra in extras for word in ("--extra", extra))]
        whole = PART_OF.get(name)
        same = [f"{one['name']}=={one['version']}" for one in resolved[whole]] if whole else None
        resolved[name] = _resolve(name, sources, arguments, same)
        _write(name, f"the extras {', '.join(extras)}", resolved[name])
        if whole:
            part = {package["name"] for package in resolved[name]}
            rest = [package for package in resolved[whole] if package["name"] not in part]
            contents = f"the extras {', '.join(EXTRAS[whole])}, without the packages in {name}.txt"
            _write(whole, contents, rest)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(BUILD))
        file.flush()
        _write("build", "the build tools", _resolve("build", [file.name], arguments, None))


def _resolve(
    name: str, sources: list[str], arguments: argparse.Namespace, same: list[str] | None
) -> list[dict[str, Any]]:
    """uv's packages for `sources`, in the versions of `same`; None: in those of the present pins."""
    cpu_torch = name.endswith("-cpu")
    kept = same if same is not None else [] if arguments.upgrade else _versions(name)
    if cpu_torch:
        kept = [line for line in kept if not line.startswith("torch==")] + ["torch==2.13.0+cpu"]
    with tempfile.TemporaryDirectory() as folder:
        lock, constraints = Path(folder, "pylock.toml"), Path(folder, "constraints.txt")
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
        packages: list[dict[str, Any]] = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
        return packages


def _write(name: str, contents: str, packages: list[dict[str, Any]]) -> None:
    lines = [f"# Written by images/pin.py: {contents}.", *map(_pin, packages)]
    (PINS / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _versions(name: str) -> list[str]:
    """Pins of a file as name==version, with those of the file that it adds to."""
    part = [one for one, whole in PART_OF.items() if whole == name]
    texts = [
        path.read_text(encoding="utf-8") for one in (name, *part) if (path := PINS / f"{one}.txt").exists()
    ]
    return [line.split()[0] for text in texts for line in text.splitlines() if "==" in line]


def _pin(package: dict[str, Any]) -> str:
    """The package's lines; if it has wheels, its source archive is not accepted."""
    files = package.get("wheels") or [package["sdist"]]
    hashes = sorted(f"    --hash=sha256:{file['hashes']['sha256']}" for file in files)
    return " \\\n".join([f"{package['name']}=={package['version']}", *hashes])


if __name__ == "__main__":
    main()
