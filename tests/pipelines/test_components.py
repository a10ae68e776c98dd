"""Components: ports described, and the one call in their bodies, in a pod and on this machine."""

import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kfp import dsl

from components import running
from components.component import PORTS, component
from mathloop.cluster import reuse
from mathloop.errors import BadData, MathloopError, StorageRefused
from mathloop.reports.summary import read_summary, write_summary
from mathloop.stages import StageReport
from tests.paths import ROOT

FILES = sorted((ROOT / "components").glob("*.py"))
NAMES = [file.stem for file in FILES if file.stem not in ("__init__", "component", "images", "running")]
REPORT = StageReport("gate", 1.0, inputs=3, kept=2, dropped={"x": 1}, scores={"difference": 1.5, "low": 0.5})


@pytest.mark.parametrize("name", NAMES)
def test_every_port_is_described(name: str) -> None:
    function = getattr(importlib.import_module(f"components.{name}"), name).python_func
    described = dict(re.findall(r"^ {4}(\w+): (.+)$", function.__doc__, re.MULTILINE))
    assert described
    assert set(described) == set(inspect.signature(function).parameters)
    assert all(len(text) >= 10 and text.endswith(".") for text in described.values())


def test_a_components_own_words_come_before_those_of_ports_that_recur() -> None:
    @component("mathloop/control:1")
    def stage(store: str, own: str, summary: dsl.Output[dsl.Markdown], seed: int = 0) -> None:
        """Does a thing.

        Args:
            own: What it alone has.
            seed: Another meaning.
        """

    text = stage.python_func.__doc__
    assert text.startswith(
        "Does a thing.\n\nArgs:\n    own: What it alone has.\n    seed: Another meaning.\n"
    )
    assert f"    store: {PORTS['store']}" in text
    inputs = stage.component_spec.inputs
    assert (inputs["seed"].description, inputs["own"].description) == (
        "Another meaning.",
        "What it alone has.",
    )
    assert (inputs["store"].type, inputs["seed"].default) == ("String", 0)


def test_a_port_without_a_description_is_refused_as_the_component_is_defined() -> None:
    with pytest.raises(KeyError, match="mystery"):

        @component("mathloop/control:1")
        def stage(mystery: str) -> None:
            """Does a thing."""


def port(path: Path, uri: str = "") -> Any:
    return SimpleNamespace(path=str(path), uri=uri or str(path))


class Scores:
    """KFP's Metrics, as far as a component uses them."""

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value


def test_ports_reach_a_stage_as_plain_paths_and_its_report_becomes_summary_and_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def stage(**arguments: Any) -> StageReport:
        given.update(arguments)
        return REPORT

    scores = Scores()
    value = running.run(
        stage,
        port(tmp_path / "summary"),
        scores=scores,
        one=port(tmp_path / "one"),
        several=[port(tmp_path / "a"), port(tmp_path / "b")],
        named={"x": port(tmp_path / "x"), "absent": None},
        text="s3://bucket/x",
        nothing=None,
        seed=3,
    )
    assert value is None
    assert given == {
        "one": tmp_path / "one",
        "several": [tmp_path / "a", tmp_path / "b"],
        "named": {"x": tmp_path / "x"},  # an optional input that is not connected
        "text": "s3://bucket/x",
        "nothing": None,
        "seed": 3,
    }
    assert read_summary(tmp_path / "summary") == [REPORT]
    assert scores.logged == REPORT.scores
    assert capsys.readouterr().err.splitlines() == ["gate: 3 in, 2 kept, 1 dropped (1.0 s)"]


def test_models_carry_what_was_measured_and_earlier_reports_are_carried(tmp_path: Path) -> None:
    write_summary([StageReport("sft", 1.0)], tmp_path / "earlier")
    model = dsl.Model()
    running.run(
        lambda: [REPORT, StageReport("report", values={"difference": 9.0, "bytes": 3.0})],
        port(tmp_path / "summary"),
        earlier=[port(tmp_path / "earlier")],
        describes=[model],
    )
    assert [report.stage for report in read_summary(tmp_path / "summary")] == ["sft", "gate", "report"]
    assert model.metadata == {"difference": 9.0, "bytes": 3.0} | REPORT.scores


def test_a_damaged_earlier_summary_stops_a_step_before_its_work(tmp_path: Path) -> None:
    (tmp_path / "earlier").write_text("### SFT")
    with pytest.raises(BadData, match="earlier: expected a stage's summary"):
        running.run(broken(RuntimeError()), port(tmp_path / "summary"), earlier=[port(tmp_path / "earlier")])
    assert "expected a stage" in (tmp_path / "summary").read_text()


def test_what_a_stage_returns_beside_its_report_is_the_components(tmp_path: Path) -> None:
    assert running.run(lambda: (REPORT, ("key", 7)), port(tmp_path / "summary")) == ("key", 7)
    assert read_summary(tmp_path / "summary") == [REPORT]


def broken(error: Exception) -> Any:
    def stage() -> StageReport:
        raise error

    return stage


def test_on_this_machine_a_refusal_is_raised_and_is_the_summary_too(tmp_path: Path) -> None:
    error = BadData("expected a number", path="numbers.jsonl", row=3, field="answer")
    with pytest.raises(BadData) as caught:
        running.run(broken(error), port(tmp_path / "summary"))
    assert caught.value is error
    assert (tmp_path / "summary").read_text() == f"**Failed.** {error}\n"


@pytest.mark.parametrize("error", [BadData("not\n  a number", path="x.jsonl"), MathloopError("away")])
def test_in_a_pod_the_one_line_is_the_last_and_the_exit_code_the_errors(
    error: MathloopError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["executor", running.POD_ARGUMENT, "{}"])
    with pytest.raises(SystemExit) as ended:
        running.run(broken(error), port(tmp_path / "summary"))
    assert ended.value.code == error.exit_code
    said = " ".join(str(error).split())
    assert capsys.readouterr().err.splitlines() == [f"mathloop: error: {said}"]
    assert (tmp_path / "summary").read_text() == f"**Failed.** {said}\n"


@pytest.mark.parametrize("pod", [True, False])
def test_an_error_that_is_nobodys_mistake_keeps_its_traceback(
    pod: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["executor", *([running.POD_ARGUMENT, "{}"] if pod else [])])
    with pytest.raises(ZeroDivisionError):
        running.run(broken(ZeroDivisionError("a bug")), port(tmp_path / "summary"))


def test_a_pod_notes_its_files_for_later_runs_and_this_machine_notes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[tuple[str, set[str]]] = []
    monkeypatch.setattr(reuse, "remember", lambda uri, path, outputs: noted.append((uri, set(outputs))))
    summary = port(tmp_path / "summary", "minio://mathloop/v2/p/r/t/1/summary")
    running.run(lambda: REPORT, summary)
    assert noted == []
    ports = ("results", "scores", "summary", "executor-logs")
    executor_input = json.dumps({"outputs": {"artifacts": {name: {} for name in ports}}})
    monkeypatch.setattr(sys, "argv", ["executor", running.POD_ARGUMENT, executor_input])
    running.run(lambda: REPORT, summary, scores=Scores())
    # KFP keeps scores in its metadata store and writes logs itself.
    assert noted == [(summary.uri, {"results", "summary"})]


def test_a_summary_that_the_disk_refuses_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageRefused):
        running.run(lambda: REPORT, port(tmp_path / "file" / "summary"))


def test_a_refusal_is_said_although_its_summary_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadData, match="a mistake"):
        running.run(broken(BadData("a mistake")), port(tmp_path / "file" / "summary"))


def test_an_empty_or_absent_model_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert running.model_or_none(port(folder)) is None
    folder.mkdir()
    assert running.model_or_none(port(folder)) is None
    (folder / "config.json").write_text("{}")
    assert running.model_or_none(port(folder)) == folder


def test_a_work_folder_is_the_runners_or_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(running.WORK_VARIABLE, str(tmp_path / "work"))
    assert running.work_folder() == tmp_path / "work"
    monkeypatch.setenv(running.WORK_VARIABLE, "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, other = running.work_folder(), running.work_folder()
    assert one != other
    assert one.is_dir()
    assert one.parent == tmp_path
