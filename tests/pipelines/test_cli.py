"""The command line's light commands and its refusals; whole rounds are in tests/system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mathloop.settings import Settings
from pipelines import cli
from pipelines.profile import changed_fields, load_profile, profile_names
from tests.paths import ROOT
from tests.pipelines.command import mathloop, refused


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_grade_adds_verdicts_in_order(tmp_path: Path) -> None:
    rows = [
        {"gold": "1/2", "pred": "0.5", "id": 7},
        {"gold": "20001", "pred": "20000"},
        {"gold": 5, "pred": 5.0},
        {"gold": "三", "pred": None},
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "pairs.jsonl").write_text(text, encoding="utf-8")
    result = mathloop("grade", "pairs.jsonl", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    graded = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["correct"] for row in graded] == [True, False, True, False]
    assert all(row.pop("reason") for row in graded)
    assert [{key: row[key] for key in row if key != "correct"} for row in graded] == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"gold": "1", "pred": "1"}\n\n{"gold": "1"}',
            "pairs.jsonl, row 3, field 'pred': the field is missing",
        ),
        ('{"gold": null, "pred": "1"}', "row 1, field 'gold': expected a string or a number"),
        ('{"gold": "1", ', "pairs.jsonl, row 1"),
    ],
)
def test_grade_refuses_broken_rows(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(text)
    assert said in refused("grade", "pairs.jsonl", folder=tmp_path)


@pytest.mark.slow
def test_decontaminate_takes_files_globs_and_folders(tmp_path: Path) -> None:
    leaked = "How many apples are left when Ann eats 3 of her 12 apples and gives 4 away to Bo?"
    clean = "A train leaves at noon and travels 60 km an hour. How far is it after 3 hours?"
    other = "What is the sum of all even numbers between 1 and 100, both ends left out of it?"
    _write(tmp_path / "train.jsonl", [{"question": text} for text in (leaked, clean, other)])
    (tmp_path / "deep").mkdir()
    _write(tmp_path / "a.jsonl", [{"problem": leaked}])
    _write(tmp_path / "deep" / "b.jsonl", [{"problem": other}])
    rest = ["--train", "train.jsonl", "--out", "kept.jsonl", "--removed", "removed.jsonl"]
    for benchmarks in (["a.jsonl", "deep/b.jsonl"], ["a.jsonl", "--benchmarks", "deep"]):
        result = mathloop("decontaminate", "--benchmarks", *benchmarks, *rest, folder=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout == "1 of 3 rows kept, 2 removed\n"
        assert "filter: " in result.stderr
        assert [row["question"] for row in _read(tmp_path / "kept.jsonl")] == [clean]
        assert {row["text"] for row in _read(tmp_path / "removed.jsonl")} == {leaked, other}
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept.jsonl").unlink()
    assert "empty: no data file" in refused("decontaminate", "--benchmarks", "empty", *rest, folder=tmp_path)


def test_execute_runs_stdin_in_the_sandbox(tmp_path: Path) -> None:
    result = mathloop("execute", folder=tmp_path, stdin="x = 6\nprint(x * 7)")
    assert result.returncode == 0, result.stderr
    execution = json.loads(result.stdout)
    assert set(execution) == {"status", "stdout", "error", "seconds"}
    assert (execution["status"], execution["stdout"].strip()) == ("ok", "42")
    broken = json.loads(mathloop("execute", folder=tmp_path, stdin="1 / 0").stdout)
    assert broken["status"] == "error"
    assert "ZeroDivisionError" in broken["error"]


LIGHT = {
    *("typer", "click", "shellingham", "annotated_doc"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
}
"""What a command may import that starts at once: typer and pydantic, with what they are made of."""


@pytest.mark.parametrize(("command", "stdin"), [(["grade", "pairs.jsonl"], ""), (["execute"], "1 + 1")])
def test_light_commands_import_only_light_packages(tmp_path: Path, command: list[str], stdin: str) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"gold": "1/2", "pred": "0.5"}\n')
    script = (
        # A package may import itself when Python starts, by a .pth file.
        "import sys; before = set(sys.modules); import pipelines.cli as cli\n"
        f"sys.argv = ['mathloop', *{command!r}]\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "packages = {name.partition('.')[0] for name in {*sys.modules} - before} - sys.stdlib_module_names\n"
        "print(*(name for name in packages if not name.startswith('_')), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        input=stdin,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert set(result.stderr.split()) <= {"mathloop", "pipelines", *LIGHT}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--profile", "labtop"], "no profile 'labtop', did you mean 'laptop'"),
        (["run", "--set", "grpo.stepz=3"], "--set grpo.stepz=3: no such field"),
        (["run", "--set", "grop.steps=1"], "--set grop.steps=1: no such field, did you mean 'grpo'"),
        (
            ["run", "--set", "pretraining.train.steps=9"],
            "is now two sections of their own: corpus, and pretrain",
        ),
        (["run", "--pipeline", "evalution"], "no pipeline 'evalution', did you mean 'evaluation'; known: "),
        (["run", "--pipeline", "pretraining", "--problems", "x.jsonl"], "pretraining takes no problems"),
        (["profiles", "labtop"], "no profile 'labtop', did you mean 'laptop'"),
        (["profiles", "--set", "grpo.steps=1"], "--set changes a profile; add its NAME"),
        (["run", "--set", "gate.metric=3"], "--set gate.metric=3: input should be"),
        (
            ["run", "--resume", "20990101-0000-abcd"],
            "no run '20990101-0000-abcd'; there are no runs in runs/",
        ),
        (["run", "--problems", "absent.jsonl"], "absent.jsonl: there is no such file"),
        (["run", "--store", "ftp://somewhere/x"], "ftp://somewhere/x"),
        (["grade", "absent.jsonl"], "absent.jsonl: there is no such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "No such command 'nothing'; see mathloop --help"),
        (["run", "--frobnicate"], "No such option: --frobnicate"),
        (["grade"], "Missing argument 'PAIRS.jsonl'; see mathloop grade --help"),
        (["compile"], "Missing option '--out'; see mathloop compile --help"),
        (["run", "--seed", "x"], "--seed"),
        (["run", "--seed", "9" * 22], "--seed"),
    ],
)
def test_usage_errors_are_one_line_too(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments, folder=tmp_path)


@pytest.mark.parametrize("option", [["--seed", "3"], ["--profile", "laptop"], ["--set", "grpo.steps=2"]])
def test_resume_takes_no_other_option(tmp_path: Path, option: list[str]) -> None:
    assert f"leave out {option[0]}" in refused("run", "--resume", "x", *option, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"), [(["run", "--help"], "--resume RUN"), (["--help"], "evaluate"), ([], "evaluate")]
)
def test_help_is_on_stdout_and_no_error(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = mathloop(*arguments, folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert said in result.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "problems.jsonl"),
        (b'{"question": "1 + 1?", "answer": "2"}\n{"question": "1 + 2?", \n', "row 2"),
        (b'{"question": "1 + 1?", "answer": "2"}\n{"question": "1 + 2?"}\n', "row 2, field 'answer'"),
        (b'{"question": "gr\xf6\xdfer?", "answer": "2"}\n', "UTF-8"),
        (b'{"text": "1 + 1?", "answer": "2"}\n', "row 1, field 'problem'"),
        (b'{"question": "1 + 1?", "answer": "2"}\n', "at least two rows"),
        (b'{"question": "1 + 1?", "answer": "2", "id": " "}\n', "row 1, field 'id'"),
    ],
)
def test_a_broken_problems_file_is_refused_before_anything_starts(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "problems.jsonl").write_bytes(content)
    line = refused("run", "--profile", "tiny", "--problems", "problems.jsonl", folder=tmp_path)
    assert "problems.jsonl" in line
    assert said in line


def test_a_store_that_refuses_writes_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder is needed")
    line = refused("run", "--profile", "tiny", "--store", "store", folder=tmp_path)
    assert "store" in line


@pytest.mark.parametrize("name", ["gpu", "laptop", "smollm", "tiny"])
def test_shipped_profiles_fit_the_stages(name: str) -> None:
    assert load_profile(name).name == name


def test_profiles_lists_what_is_shipped(tmp_path: Path) -> None:
    result = mathloop("profiles", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    listed = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert listed == {name: load_profile(name).description for name in profile_names()}


@pytest.mark.parametrize("name", ["gpu", "laptop", "smollm", "tiny"])
def test_what_profiles_prints_is_the_profile_and_its_defaults(tmp_path: Path, name: str) -> None:
    given = mathloop("profiles", name, "--set", "grpo.steps=77", folder=tmp_path)
    assert given.returncode == 0, given.stderr
    (tmp_path / "again.yaml").write_text(given.stdout)
    assert load_profile(str(tmp_path / "again.yaml")) == load_profile(name, ["grpo.steps=77"])
    lines = given.stdout.splitlines()
    assert f"  steps: 77  # default {Settings().grpo.steps}" in lines
    # A field that has its default is not there.
    commented = [line.partition("  # default ") for line in lines if "# default" in line]
    assert all(line.partition(": ")[2] != default for line, _, default in commented)
    assert len(commented) == len(list(changed_fields(load_profile(name, ["grpo.steps=77"]), Settings()))) - 2


def test_doctor_names_what_it_looked_at(tmp_path: Path) -> None:
    result = mathloop("doctor", folder=tmp_path)
    lines = result.stdout.splitlines()
    assert [line[5:].partition(":")[0] for line in lines] == [
        "python", "packages", "model package", "memory", "disk", "sandbox",
    ]  # fmt: skip
    assert (result.returncode == 0) == all(line.startswith("ok") for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_compile_writes_every_pipeline(tmp_path: Path) -> None:
    result = mathloop("compile", "--out", "deep/er", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    written = {path.name for path in (tmp_path / "deep" / "er").iterdir()}
    assert written == {path.name for path in (ROOT / "pipelines" / "compiled").iterdir()}
    (tmp_path / "taken").write_text("")
    assert "taken" in refused("compile", "--out", "taken", folder=tmp_path)


def test_an_interrupt_that_a_library_has_wrapped_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def app(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("while building a schema") from interrupt

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(cli.Progress, "readable", False)  # `main` sets it for the process
    monkeypatch.setattr(sys, "argv", ["mathloop", "profiles"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
