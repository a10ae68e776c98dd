"""Compiled pipelines: valid, described, free of this machine, and the golden files up to date."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.dsl import PipelineTask
from kfp.pipeline_spec import pipeline_spec_pb2

from mathloop.errors import BadConfig
from pipelines import compiling, improvement_round, table
from pipelines.profile import load_profile
from pipelines.table import PIPELINES, find_pipeline
from tests.paths import ROOT

GOLDEN = ROOT / "pipelines" / "compiled"
NAMES = list(PIPELINES)
NESTED = {"comp-synthesis", "comp-learning"}
"""Nested pipelines; their summaries are those of their last steps."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled")
    compiling.write_compiled(out)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_files_are_not_stale(compiled: Path, name: str) -> None:
    fresh = compiling.comparable(compiled / f"{name}.yaml")
    assert fresh == compiling.comparable(GOLDEN / f"{name}.yaml"), (
        "run: mathloop compile --out pipelines/compiled"
    )


def test_no_golden_file_without_a_pipeline(compiled: Path) -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {path.name for path in compiled.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_ir_with_described_parameters(compiled: Path, name: str) -> None:
    spec = _spec(compiled, name)
    # The schema itself: an unknown or mistyped field does not parse.
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert parsed.pipeline_info.name == name
    assert parsed.root.input_definitions.parameters
    for definitions in (parsed.root, *parsed.components.values()):
        for key, parameter in definitions.input_definitions.parameters.items():
            assert len(parameter.description) > 4, f"{key} has no description"
        for key, artifact in definitions.input_definitions.artifacts.items():
            assert len(artifact.description) > 4, f"{key} has no description"
    for task in parsed.root.dag.tasks.values():
        for before in task.dependent_tasks:
            assert before in parsed.root.dag.tasks


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_this_machine_is_inside(compiled: Path, name: str) -> None:
    text = (compiled / f"{name}.yaml").read_text()
    for part in (str(ROOT), str(Path.home()) + "/", "/tmp/", "pip install"):
        assert part not in text


def test_only_stages_whose_inputs_say_everything_may_be_cached(compiled: Path) -> None:
    """A store's state and what stands in a file or folder are not in KFP's cache key, but in preflight's."""
    outside = {"preflight", "judgment", "base-publication", "model-import", "deployment"}
    for name in NAMES:
        tasks = _tasks(_spec(compiled, name))
        uncached = {task for task, said in tasks.items() if not said["cachingOptions"].get("enableCache")}
        assert uncached == outside & set(tasks), name
        for task, said in tasks.items():
            if task not in uncached and not said["inputs"].get("artifacts"):
                # It depends on no other task, and so tells nobody's code or files apart by itself.
                source = _source(said["inputs"]["parameters"]["cache_key"])
                assert source == "cache_key", task


@pytest.mark.parametrize("name", NAMES)
def test_a_form_has_few_parameters_whose_names_explain_themselves(compiled: Path, name: str) -> None:
    parameters = set(_spec(compiled, name)["root"]["inputDefinitions"]["parameters"])
    # An import has nothing to configure: it names what to import.
    assert (
        parameters <= {"store", "source"} if name == "model-import" else parameters >= {"store", "overrides"}
    )
    assert parameters <= {"store", "problems", "overrides", "seed", "serve", "source"}


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_shows_itself_by_one_summary_and_few_have_scores(compiled: Path, name: str) -> None:
    spec = _spec(compiled, name)
    scored = set()
    for key, component in spec["components"].items():
        artifacts = component["outputDefinitions"]["artifacts"]
        kinds = {port: one["artifactType"]["schemaTitle"] for port, one in artifacts.items()}
        assert [port for port, kind in kinds.items() if kind == "system.Markdown"] == ["summary"], key
        if key in NESTED:
            continue
        metrics = [port for port, kind in kinds.items() if kind == "system.Metrics"]
        assert metrics in ([], ["scores"]), key
        scored |= {key.removeprefix("comp-")} if metrics else set()
    assert scored <= {"evaluation", "champion-evaluation", "judgment"}
    assert scored == {
        "improvement-round": {"evaluation", "judgment"},
        "evaluation": {"champion-evaluation"},
    }.get(name, set())


def test_the_report_has_the_summary_of_every_stage(compiled: Path) -> None:
    """A summary carries those that its step reads, so that all of them reach the judgment."""
    spec = _spec(compiled, "improvement-round")
    carried = set()
    for tasks in (
        group["dag"]["tasks"] for group in (spec["root"], *spec["components"].values()) if "dag" in group
    ):
        for task in tasks.values():
            for port, source in task["inputs"].get("artifacts", {}).items():
                if port.endswith("_summary"):
                    carried.add(source["taskOutputArtifact"]["producerTask"])
    last = {"evaluation", "decontamination"}  # the summaries of the nested pipelines
    assert carried | last == set(_tasks(spec)) - {"judgment", "deployment"} | {"synthesis", "learning"}


@pytest.mark.parametrize("name", NAMES)
def test_stages_get_their_own_section_of_preflights_settings(compiled: Path, name: str) -> None:
    """A section, component and task have one name, and KFP's cache is keyed by the section."""
    shared = {"champion-evaluation": "evaluation", "judgment": "gate"}
    shared |= {"statements": "problems", "written-problems": "writing"}
    seen = 0
    for task, said in _tasks(_spec(compiled, name)).items():
        source = said["inputs"].get("parameters", {}).get("settings")
        if source is None:
            continue
        component = said["componentRef"]["name"].removeprefix("comp-")
        assert _source(source) == shared.get(component, component.replace("-", "_")), task
        seen += 1
    counts = {"improvement-round": 12, "data": 4, "evaluation": 2, "pretraining": 2, "writing": 2}
    counts["written-corpus"] = 4
    assert seen == counts.get(name, 0)


def test_component_bodies_are_short_and_call_the_library_once() -> None:
    files = sorted((ROOT / "components").glob("*.py"))
    components = [file for file in files if file.stem not in ("__init__", "component", "images", "running")]
    assert len(components) > 15
    for file in components:
        (function,) = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert function.name == file.stem
        body = function.body[1:]  # without the docstring
        assert body[-1].end_lineno is not None
        assert body[-1].end_lineno - body[0].lineno < 40, file
        assert [type(node) for node in body if not isinstance(node, ast.ImportFrom | ast.Import)][-1:] == [
            ast.Return if file.stem == "preflight" else ast.Expr
        ]
        calls = [node for node in ast.walk(function) if _is_stage_call(node)]
        assert len(calls) == 1, file


def test_pipelines_do_not_share_a_stage_name() -> None:
    """The local runner keeps a first round's two pipelines in one folder."""
    from pipelines.local.runner import stage_names

    firsts = ("pretraining", "model-import")
    for first, then in itertools.product(firsts, set(NAMES) - set(firsts)):
        together = [*stage_names(find_pipeline(first)).values(), *stage_names(find_pipeline(then)).values()]
        assert len(together) == len(set(together))


def test_stages_are_shown_in_an_order_that_can_run() -> None:
    from pipelines.local.runner import stage_names
    from pipelines.local.tasks import in_order

    tasks = improvement_round.improvement_round.pipeline_spec.root.dag.tasks
    order = in_order(tasks)
    assert order == ["preflight", "synthesis", "learning", "judgment"]
    stages = list(stage_names(improvement_round.improvement_round))
    assert stages == [
        *("preflight", "champion", "problems", "cot", "tir", "decontamination"),
        *("sft", "reward-data", "selection", "reward-model", "grpo", "evaluation", "judgment"),
    ]
    for name in order:
        assert all(order.index(before) < order.index(name) for before in tasks[name].dependent_tasks)


def _spec(folder: Path, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = next(iter(yaml.safe_load_all((folder / f"{name}.yaml").read_text())))
    return spec


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    """Tasks of a pipeline and of those nested in it, without the nested pipelines themselves."""
    groups = [part["dag"]["tasks"] for part in (spec["root"], *spec["components"].values()) if "dag" in part]
    tasks = {name: task for group in groups for name, task in group.items()}
    return {name: task for name, task in tasks.items() if task["componentRef"]["name"] not in NESTED}


def _source(parameter: dict[str, Any]) -> str:
    """The output of preflight that a parameter is; into a nested pipeline it comes by that one's input."""
    if "taskOutputParameter" in parameter:
        assert parameter["taskOutputParameter"]["producerTask"].startswith("preflight")
        return str(parameter["taskOutputParameter"]["outputParameterKey"])
    return str(parameter["componentInputParameter"]).removesuffix("_settings")


def _is_stage_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "run"


def test_a_pipeline_is_named_as_it_is_asked_for() -> None:
    for name in NAMES:
        assert find_pipeline(name).name == name
    with pytest.raises(
        BadConfig, match="no pipeline 'evalution', did you mean 'evaluation'; known: improvement-"
    ):
        find_pipeline("evalution")


def test_a_new_pipeline_is_its_file_and_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "champion_only.py").write_text(
        "from components.champion import champion\n"
        "from pipelines.tracing import pipeline\n\n"
        '@pipeline("champion-only")\n'
        "def champion_only(store: str) -> None:\n"
        '    """Fetches the champion.\n\n    Args:\n        store: Store with the champion.\n    """\n'
        "    champion(store=store, champion='{}')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(table.PIPELINES, "champion-only", "champion_only")
    written = compiling.write_compiled(tmp_path / "out")
    path, cost = written[-1]
    assert (path.name, cost.steps, cost.seconds) == ("champion-only.yaml", 1, 20)
    assert list(_spec(tmp_path / "out", "champion-only")["root"]["dag"]["tasks"]) == ["champion"]
    assert find_pipeline("champion-only").name == "champion-only"


def test_tasks_are_configured_without_a_look_at_the_callers_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """KFP's own look grows with the modules that are loaded, for each setting of each task."""
    monkeypatch.setattr("inspect.stack", lambda *_: pytest.fail("inspect.stack() was called"))
    compiling.compile_one(find_pipeline("model-import"), tmp_path / "one.yaml", load_profile("gpu"))
    with pytest.raises(ValueError, match="only a task of a single step"):
        PipelineTask._ensure_container_spec_exists(SimpleNamespace(container_spec=None))
