"""`make images` and `make sbom`, with a recorded engine; the names that the components share with both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components import images
from mathloop.errors import BadConfig
from tests.images.dockerfiles import DOCKERFILES, IMAGES
from tests.paths import ROOT

ENGINE = """#!/bin/sh
echo "$(basename $0) $*" >> {log}
case "$1 $2" in "info "*) exit {info};; "save "*|"push --quiet") exit 1;; esac
"""
"""Writes down what it is asked for."""


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").symlink_to("/bin/false")
    return folder


def test_components_name_images_that_are_built_here() -> None:
    used = set()
    for file in (ROOT / "components").glob("*.py"):
        used |= set(re.findall(r"^@component\((\w+)\)", file.read_text(), re.MULTILINE))
    names = {getattr(images, constant).rpartition("/")[2].partition(":")[0] for constant in used}
    assert names <= {path.stem for path in DOCKERFILES}
    assert {"control", "sampler", "trainer"} <= names


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "mathloop/control:0.1.0"),
        ({"VARIANT": "gpu", "TAG": "", "PREFIX": " "}, "mathloop/control:0.1.0"),
        ({"VARIANT": "cpu"}, "mathloop/control:0.1.0-cpu"),
        ({"TAG": "pr-7_a"}, "mathloop/control:pr-7_a"),
        (
            {"PREFIX": "registry.example.com:5000/team/a_b/"},
            "registry.example.com:5000/team/a_b/mathloop/control:0.1.0",
        ),
        ({"PREFIX": "localhost:5001", "VARIANT": "cpu", "TAG": "7"}, "localhost:5001/mathloop/control:7-cpu"),
    ],
)
def test_names_follow_the_three_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    _set(monkeypatch, variables)
    assert images.image("control") == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("PREFIX", value)
            for value in ("https://quay.io", "Quay.io", "quay.io/a:1", "a//b", "-a", "a b", "a@b")
        ],
        *[
            ("TAG", value)
            for value in ("latest", "a/b", "a:b", "-a", "ä", "a b", "a" * 121, "0.1.0@sha256:1")
        ],
        *[("VARIANT", value) for value in ("CPU", "tpu", "cpu-gpu")],
    ],
)
def test_a_bad_variable_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    _set(monkeypatch, {name: value})
    with pytest.raises(BadConfig, match=f"MATHLOOP_IMAGE_{name} is .*expected ") as raised:
        images.image("control")
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_compiling_uses_the_names_and_refuses_bad_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "import sys; from pipelines.cli import main; sys.argv[0] = 'mathloop'; main()"
    command = [sys.executable, "-c", code, "compile", "--out", str(tmp_path / "out")]
    changed = {"MATHLOOP_IMAGE_PREFIX": "registry.example.com/team", "MATHLOOP_IMAGE_VARIANT": "cpu"}
    subprocess.run(command, cwd=ROOT, env=os.environ | changed, check=True, capture_output=True)
    found = set(
        re.findall(r"image: (\S+)", "".join(path.read_text() for path in (tmp_path / "out").iterdir()))
    )
    assert found <= {f"registry.example.com/team/mathloop/{path.stem}:0.1.0-cpu" for path in DOCKERFILES}
    assert len(found) > 2
    changed = {"MATHLOOP_IMAGE_TAG": "latest"}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | changed, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "MATHLOOP_IMAGE_TAG is 'latest'" in done.stderr


def test_images_are_built_and_pushed_by_docker(engines: Path, tmp_path: Path) -> None:
    log = _engine(engines, "docker")
    _engine(engines, "buildah")
    options = ["--prefix", "registry.example.com/team", "--variant", "cpu", "--push", "--", "--pull"]
    done = _make(engines, "build", "trainer", "control", *options)
    assert done.returncode == 0, done.stderr
    given = "--build-arg VERSION=0.1.0 --build-arg REVISION=unknown"
    trainer, control = (
        f"registry.example.com/team/mathloop/{name}:0.1.0-cpu" for name in ("trainer", "control")
    )
    assert log.read_text().splitlines() == [
        "docker info",
        f"docker build --file images/trainer.Dockerfile --tag {trainer} {given} "
        "--build-arg VARIANT=cpu --pull .",
        f"docker push {trainer}",
        f"docker build --file images/control.Dockerfile --tag {control} {given} --pull .",
        f"docker push {control}",
    ]


def test_buildah_builds_where_docker_has_no_daemon(engines: Path) -> None:
    log = _engine(engines, "docker", info=1)
    _engine(engines, "buildah")
    done = _make(engines, "build", "sampler", "--tag", "7")
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines()[1:] == [
        "buildah build --layers --file images/sampler.Dockerfile --tag mathloop/sampler:7 "
        "--build-arg VERSION=7 --build-arg REVISION=unknown --build-arg VARIANT=gpu ."
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "neither docker (with a running daemon) nor buildah is installed"),
        (["planner"], "there is no image 'planner'; expected some of control, sampler, trainer, solver"),
        (["--push"], "no registry to push to; expected --prefix"),
        (["--tag", "latest"], "MATHLOOP_IMAGE_TAG is 'latest'"),
        (["--variant", "tpu"], "MATHLOOP_IMAGE_VARIANT is 'tpu': expected cpu or gpu"),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(engines: Path, arguments: list[str], said: str) -> None:
    done = _make(engines, "build", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"images: {said}")
    assert done.stderr.count("\n") == 1


def test_a_build_that_fails_ends_it(engines: Path, tmp_path: Path) -> None:
    log = _engine(engines, "buildah")
    (engines / "buildah").write_text((engines / "buildah").read_text() + "exit 125\n")
    done = _make(engines, "build", "control", "solver")
    assert done.returncode == 125
    assert done.stderr == "images: buildah build failed with exit code 125; see its output above\n"
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_an_sbom_lists_every_pin_with_its_hash(engines: Path, tmp_path: Path, variant: str) -> None:
    for out in ("first", "second"):
        done = _make(engines, "sbom", "--variant", variant, "--out", str(tmp_path / out))
        assert done.returncode == 0, done.stderr
    suffix = "-cpu" if variant == "cpu" else ""
    for path in DOCKERFILES:
        written = tmp_path / "first" / f"{path.stem}-0.1.0{suffix}.cdx.json"
        assert written.read_bytes() == (tmp_path / "second" / written.name).read_bytes()
        document = json.loads(written.read_text())
        assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
        own, base, *packages = document["components"]
        assert own["version"] == "0.1.0"
        assert f"@sha256:{base['hashes'][0]['content']}" in base["bom-ref"]
        files = ["control"] if path.stem == "control" else [f"{path.stem}-{variant}"]
        if path.stem == "trainer":
            files.append(f"sampler-{variant}")
        pins = "".join((IMAGES / "pins" / f"{file}.txt").read_text() for file in files)
        assert len(packages) == len(re.findall("^[a-z].*==", pins, re.MULTILINE))
        for package in packages:
            assert package["purl"].startswith(f"pkg:pypi/{package['name']}@")
            assert package["hashes"]
            assert all(digest["content"] in pins for digest in package["hashes"])


def test_the_sbom_of_an_image_that_is_not_built_is_of_its_pins(engines: Path, tmp_path: Path) -> None:
    log = _engine(engines, "docker")
    _engine(engines, "syft")
    done = _make(engines, "sbom", "control", "--out", str(tmp_path / "sbom"))
    assert done.stdout.endswith("from the pins\n"), done.stderr
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [
        ["docker", "info"],
        ["docker", "save"],
    ]


def test_syft_reads_an_image_that_is_built(engines: Path, tmp_path: Path) -> None:
    log = _engine(engines, "buildah")
    (engines / "buildah").write_text((engines / "buildah").read_text().replace("exit 1;;", "exit 0;;"))
    _engine(engines, "syft")
    done = _make(engines, "sbom", "control", "--out", str(tmp_path / "sbom"))
    assert done.stdout.endswith("control-0.1.0.cdx.json: by syft, from the built image\n"), done.stderr
    push, scan = log.read_text().splitlines()
    assert push.startswith("buildah push --quiet mathloop/control:0.1.0 oci-archive:/")
    assert scan.startswith("syft scan --quiet oci-archive:/")


def _engine(folder: Path, name: str, info: int = 0) -> Path:
    log = folder / "log"
    (folder / name).write_text(ENGINE.format(log=log, info=info))
    (folder / name).chmod(0o755)
    for program in ("sh", "basename"):
        if not (folder / program).exists():
            (folder / program).symlink_to(f"/usr/bin/{program}")
    return log


def _make(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(IMAGES / f"{script}.py"), *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MATHLOOP_IMAGE_")}
    return subprocess.run(command, env=kept | {"PATH": str(folder)}, capture_output=True, text=True)


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("PREFIX", "TAG", "VARIANT"):
        monkeypatch.delenv(f"MATHLOOP_IMAGE_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"MATHLOOP_IMAGE_{name}", value)
