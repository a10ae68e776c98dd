"""The pins of the images: whole, hashed, and what pyproject.toml asks for."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.images import dockerfiles
from tests.images.dockerfiles import DOCKERFILES, IMAGES
from tests.paths import ROOT

PINS = IMAGES / "pins"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"images_{name}", IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PIN = _load("pin")
EXTRAS: dict[str, tuple[str, ...]] = PIN.EXTRAS
PART_OF: dict[str, str] = PIN.PART_OF
each_pins = pytest.mark.parametrize("name", EXTRAS)


def test_every_pins_file_has_an_image_and_every_image_its_pins() -> None:
    assert {path.stem for path in PINS.iterdir()} == {*EXTRAS, "build"}
    used = {
        source
        for path in DOCKERFILES
        for keyword, rest in dockerfiles.instructions(path)
        if keyword == "COPY"
        for source in re.findall(r"images/pins/(\S+)\.txt", rest)
    }
    both = {source.replace("${VARIANT}", variant) for source in used for variant in ("cpu", "gpu")}
    assert both == {*EXTRAS, "build"}


@pytest.mark.parametrize("path", sorted(PINS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_line_is_a_version_or_a_hash(path: Path) -> None:
    text = re.sub(r" \\\n +", " ", path.read_text())
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+]*( --hash=sha256:[0-9a-f]{64})+", line)
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))


@each_pins
def test_pins_are_versions_that_pyproject_allows(name: str) -> None:
    """After a change of a requirement: python images/pin.py."""
    pins = _pins(name)
    for requirement in _requirements(EXTRAS[name]):
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement} is not in images/pins/{name}.txt"
        assert requirement.specifier.contains(pinned), f"{requirement} is pinned to {pinned}"


@each_pins
def test_an_image_carries_only_what_it_is_for(name: str) -> None:
    pins = _pins(name)
    image, _, variant = name.partition("-")
    assert ("torch" in pins) == (name not in ("control", "solver-gpu"))
    assert ("vllm" in pins) == (name in ("sampler-gpu", "trainer-gpu"))
    assert ("deepspeed" in pins) == (image == "trainer")
    assert ("kserve" in pins) == (image == "solver")
    assert ("kfp" in pins) == (image != "solver"), "a step of a pipeline starts by kfp"
    assert not {"pytest", "ruff", "mypy", "jupyter"} & set(pins)
    if variant != "gpu":
        assert not [package for package in pins if package.startswith("nvidia-")]
        assert pins.get("torch", "+cpu").endswith("+cpu")


def test_the_trainer_is_the_sampler_and_more() -> None:
    """One version of each: what vLLM and DeepSpeed share was resolved in one run."""
    assert PART_OF == {"sampler-gpu": "trainer-gpu", "sampler-cpu": "trainer-cpu"}
    for part, whole in PART_OF.items():
        assert list(EXTRAS).index(whole) < list(EXTRAS).index(part), "the whole is resolved first"
        own, beyond = _read(part), _read(whole)
        assert not own.keys() & beyond.keys()
        assert {"deepspeed", "peft"} <= beyond.keys()
        assert _pins(whole) == own | beyond
        assert f"without the packages in {part}.txt" in (PINS / f"{whole}.txt").read_text()


def test_pinning_resolves_the_trainer_and_gives_the_sampler_its_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv is recorded: it answers with every package that a run asks for, newer unless it is constrained."""
    runs: list[list[str]] = []
    named = {"train": ["deepspeed"], "sample": ["torch"], "vllm": ["vllm"]}

    def uv(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        extras = [command[at + 1] for at, word in enumerate(command) if word == "--extra"]
        names = {one for extra in extras for one in named.get(extra, [])} | {"numpy"}
        names |= {"torch"} if "train" in extras else set()
        held = dict(
            line.split("==") for line in Path(command[command.index("--constraint") + 1]).read_text().split()
        )
        runs.append(extras)
        pins = [
            f"[[packages]]\nname = '{one}'\nversion = '{held.get(one, str(len(runs)))}'\n"
            f"wheels = [{{hashes = {{sha256 = 'a'}}}}]\n"
            for one in sorted(names)
        ]
        Path(command[command.index("--output-file") + 1]).write_text("".join(pins))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(PIN, "PINS", tmp_path)
    monkeypatch.setattr(PIN.subprocess, "run", uv)
    monkeypatch.setattr(PIN.shutil, "which", lambda name: name)
    monkeypatch.setattr("sys.argv", ["pin.py", "--variant", "gpu"])
    PIN.main()
    assert runs.index(["pipelines", "train", "vllm", "corpus"]) < runs.index(["pipelines", "sample", "vllm"])
    version = str(runs.index(["pipelines", "train", "vllm", "corpus"]) + 1)
    written = {
        name: re.findall(r"^(\S+==\S+)", (tmp_path / f"{name}.txt").read_text(), re.MULTILINE)
        for name in ("sampler-gpu", "trainer-gpu")
    }
    assert written["sampler-gpu"] == [f"{name}=={version}" for name in ("numpy", "torch", "vllm")]
    assert written["trainer-gpu"] == [f"deepspeed=={version}"]
    assert not (tmp_path / "trainer-cpu.txt").exists()


def _pins(name: str) -> dict[str, str]:
    """The versions in an image: of its own file, and of the one whose packages it has too."""
    parts = [part for part, whole in PART_OF.items() if whole == name]
    return {package: version for one in (*parts, name) for package, version in _read(one).items()}


def _read(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (PINS / f"{name}.txt").read_text(), re.MULTILINE))


def _requirements(extras: tuple[str, ...]) -> Iterator[Requirement]:
    asked = [*PROJECT["dependencies"]]
    for extra in extras:
        asked += PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, asked):
        if requirement.name == "mathloop":
            yield from _requirements(tuple(requirement.extras))
        else:
            yield requirement
