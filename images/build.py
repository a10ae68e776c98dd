"""Builds the images with docker or buildah, whichever is available: `make images`.

    python images/build.py [--prefix REGISTRY] [--tag TAG] [--variant cpu] [--push] [IMAGE …] [-- OPTION …]

Options after -- go to the builder: `-- --build-arg PIP_INDEX_URL=…`. Uses only Python's standard library.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from engine import IMAGES, ROOT, check_images, engine, fail, full_name


def main() -> None:
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description="Builds the images with docker or buildah.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"{', '.join(IMAGES)}; default: all")
    parser.add_argument("--prefix", default="", help="registry, with or without a path")
    parser.add_argument("--tag", default="", help="tag; default: the package's version")
    parser.add_argument("--variant", default="", help="cpu or gpu (the default)")
    parser.add_argument("--push", action="store_true", help="push each image after building it")
    options = parser.parse_args(words[:cut])
    check_images(options.images)
    names = {
        name: full_name(name, options.prefix, options.tag, options.variant)
        for name in options.images or IMAGES
    }
    if options.push and not all("/mathloop/" in full for full in names.values()):
        fail("no registry to push to; expected --prefix (make images PREFIX=registry.example.com/team)")
    tool = engine()
    if tool is None:
        fail("neither docker (with a running daemon) nor buildah is installed; try: apt-get install buildah")
    for name, full in names.items():
        layers = ["--layers"] if tool == "buildah" else []  # buildah's default is a single, uncached layer
        _call([tool, "build", *layers, *_options(name, full), *words[cut + 1 :], "."])
        if options.push:
            _call([tool, "push", full])
    print("\n".join(names.values()))


def _options(name: str, full: str) -> list[str]:
    tag = full.rpartition(":")[2]
    values = {"VERSION": tag.removesuffix("-cpu"), "REVISION": _revision()}
    if name != "control":  # it has no variants
        values["VARIANT"] = "cpu" if tag.endswith("-cpu") else "gpu"
    arguments = [word for key, value in values.items() for word in ("--build-arg", f"{key}={value}")]
    return ["--file", f"images/{name}.Dockerfile", "--tag", full, *arguments]


def _revision() -> str:
    """The commit, with a suffix for uncommitted changes; "unknown" outside a git checkout."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return git.stdout.strip() or "unknown"


def _call(command: list[str]) -> None:
    print("$", *command, flush=True)
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        fail(f"{command[0]} {command[1]} failed with exit code {code}; see its output above", code)


if __name__ == "__main__":
    main()
