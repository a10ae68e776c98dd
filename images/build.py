"""Builds the images with docker or buildah, whichever works here: `make images`.

    python images/build.py [--prefix REGISTRY] [--tag TAG] [--variant cpu] [--push] [IMAGE …] [-- OPTION …]

Options go to the builder: `-- --build-arg PIP_INDEX_URL=…`. Needs no more than Python's own library.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from engine import IMAGES, ROOT, check_images, end, engine, full_name


def main() -> None:
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description="Builds the images with docker or buildah.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(IMAGES)}; default: all")
    parser.add_argument("--prefix", default="", help="a registry, with a path or not")
    parser.add_argument("--tag", default="", help="another tag than the package's version")
    parser.add_argument("--variant", default="", help="cpu, or gpu (the default)")
    parser.add_argument("--push", action="store_true", help="push each image when it is built")
    asked = parser.parse_args(words[:cut])
    check_images(asked.images)
    names = {name: full_name(name, asked.prefix, asked.tag, asked.variant) for name in asked.images or IMAGES}
    if asked.push and not all("/mathloop/" in full for full in names.values()):
        end("no registry to push to; expected --prefix (make images PREFIX=registry.example.com/team)")
    tool = engine()
    if tool is None:
        end("neither docker (with its daemon running) nor buildah is here; one way: apt-get install buildah")
    for name, full in names.items():
        layers = ["--layers"] if tool == "buildah" else []  # which makes one of all, and keeps none, unasked
        _call([tool, "build", *layers, *_options(name, full), *words[cut + 1 :], "."])
        if asked.push:
            _call([tool, "push", full])
    print("\n".join(names.values()))


def _options(name: str, full: str) -> list[str]:
    tag = full.rpartition(":")[2]
    given = {"VERSION": tag.removesuffix("-cpu"), "REVISION": _revision()}
    if name != "control":  # which is the same for both
        given["VARIANT"] = "cpu" if tag.endswith("-cpu") else "gpu"
    arguments = [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
    return ["--file", f"images/{name}.Dockerfile", "--tag", full, *arguments]


def _revision() -> str:
    """The commit that is built, with a mark if there are changes since; unknown outside a checkout."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return told.stdout.strip() or "unknown"


def _call(command: list[str]) -> None:
    print("$", *command, flush=True)
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        end(f"{command[0]} {command[1]} ended with {code}; what it said stands above", code)


if __name__ == "__main__":
    main()
