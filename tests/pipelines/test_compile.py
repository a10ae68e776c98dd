"""Compiled pipelines: valid, described, free of this machine, and the golden files up to date."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from mathloop.errors import BadConfig
from pipelines import compiling, improvement_round, table
from pipelines.table import PIPELINES, find_pipeline
from tests.paths import ROOT

GOLDEN = ROOT / "pipelines" / "compiled"
NAMES = list(PIPELINES)
CONDITIONS = {"condition-1", "comp-condition-1"}
"""The serving step stands in a condition: a group of tasks, whose ports KFP names."""


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
    components = [part for key, part in parsed.components.items() if key not in CONDITIONS]
    for definitions in (parsed.root, *components):
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
    outside = {"preflight", "publication", "base-publication", "model-import", "deployment"}
    for name in NAMES:
        tasks = _tasks(_spec(compiled, name))
        uncached = {task for task, said in tasks.items() if not said["cachingOptions"].get("enableCache")}
        assert uncached == outside & set(tasks), name
        for task, said in tasks.items():
            if task not in uncached and not said["inputs"].get("artifacts"):
                # It depends on no other task, and so tells nobody's code or files apart by itself.
                source = said["inputs"]["parameters"]["cache_key"]["taskOutputParameter"]
                assert source["producerTask"].startswith("preflight"), task


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
        if key in CONDITIONS:
            continue
        artifacts = component["outputDefinitions"]["artifacts"]
        kinds = {port: one["artifactType"]["schemaTitle"] for port, one in artifacts.items()}
        assert [port for port, kind in kinds.items() if kind == "system.Markdown"] == ["summary"], key
        metrics = [port for port, kind in kinds.items() if kind == "system.Metrics"]
        assert metrics in ([], ["scores"]), key
        scored |= {key.removeprefix("comp-")} if metrics else set()
    assert scored <= {"evaluation", "champion-evaluation", "gate"}
    assert scored == {"improvement-round": {"evaluation", "gate"}, "evaluation": {"champion-evaluation"}}.get(
        name, set()
    )


def test_the_report_has_the_summary_of_every_stage(compiled: Path) -> None:
    tasks = _spec(compiled, "improvement-round")["root"]["dag"]["tasks"]
    summaries = [
        source["taskOutputArtifact"]["producerTask"]
        for source in tasks["report"]["inputs"]["artifacts"].values()
        if source["taskOutputArtifact"]["outputArtifactKey"] == "summary"
    ]
    assert sorted(summaries) == sorted(set(tasks) - {"report"} - CONDITIONS)


@pytest.mark.parametrize("name", NAMES)
def test_stages_get_their_own_section_of_preflights_settings(compiled: Path, name: str) -> None:
    """A section, component and task have one name, and KFP's cache is keyed by the section."""
    shared = {"champion-evaluation": "evaluation", "report": "settings"}
    shared |= dict.fromkeys(("decontamination-problems", "decontamination-responses"), "decontamination")
    seen = 0
    for task, said in _tasks(_spec(compiled, name)).items():
        source = said["inputs"].get("parameters", {}).get("settings")
        if source is None:
            continue
        component = said["componentRef"]["name"].removeprefix("comp-")
        component = re.sub(r"-\d+$", "", component)
        # In a condition it comes by the group's input.
        output = source.get("taskOutputParameter", {}).get("outputParameterKey") or source[
            "componentInputParameter"
        ].removeprefix("pipelinechannel--preflight-")
        assert output == shared.get(component, component.replace("-", "_")), task
        seen += 1
    assert seen == {"improvement-round": 16, "data": 7, "evaluation": 2, "pretraining": 2}.get(name, 0)


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
    from pipelines.local.tasks import in_order

    tasks = improvement_round.improvement_round.pipeline_spec.root.dag.tasks
    order = in_order(tasks)
    assert sorted(order) == sorted(tasks)
    assert order[0] == "preflight"
    assert order[-1] == "report"
    for name in order:
        assert all(order.index(before) < order.index(name) for before in tasks[name].dependent_tasks)


def _spec(folder: Path, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = next(iter(yaml.safe_load_all((folder / f"{name}.yaml").read_text())))
    return spec


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    """Tasks of a pipeline, those in a condition included."""
    groups = [part["dag"]["tasks"] for part in spec["components"].values() if "dag" in part]
    inner = {name: task for group in groups for name, task in group.items()}
    outer = {name: task for name, task in spec["root"]["dag"]["tasks"].items() if name not in CONDITIONS}
    return {**outer, **inner}


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
        "    champion(store=store)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(table.PIPELINES, "champion-only", "champion_only")
    written = compiling.write_compiled(tmp_path / "out")
    assert written[-1].name == "champion-only.yaml"
    assert list(_spec(tmp_path / "out", "champion-only")["root"]["dag"]["tasks"]) == ["champion"]
    assert find_pipeline("champion-only").name == "champion-only"
