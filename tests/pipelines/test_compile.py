"""Compiled pipelines: valid, described, free of this machine, and the golden files up to date."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines import compiling
from tests.paths import ROOT

GOLDEN = ROOT / "pipelines" / "compiled"
NAMES = [pipeline.name for pipeline in compiling.PIPELINES]
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
    outside = {"preflight", "preflight-base", "publish-round", "publish-base"}
    outside |= {"import-model", "deploy-champion"}
    for name in NAMES:
        tasks = _tasks(_spec(compiled, name))
        uncached = {task for task, said in tasks.items() if not said["cachingOptions"].get("enableCache")}
        assert uncached == outside & set(tasks), name
        for task, said in tasks.items():
            if task not in uncached and not said["inputs"].get("artifacts"):
                # It depends on no other task, and so tells nobody's code or files apart by itself.
                source = said["inputs"]["parameters"]["cache_key"]["taskOutputParameter"]
                assert source["producerTask"].startswith("preflight"), task


def test_every_component_of_the_round_reports(compiled: Path) -> None:
    spec = _spec(compiled, "improvement-round")
    for name, component in spec["components"].items():
        if name in CONDITIONS:
            continue
        assert "stage_report" in component["outputDefinitions"]["artifacts"], name
    report = spec["root"]["dag"]["tasks"]["report-round"]
    told = {
        source["taskOutputArtifact"]["producerTask"]
        for source in report["inputs"]["artifacts"].values()
        if source["taskOutputArtifact"]["outputArtifactKey"] == "stage_report"
    }
    assert told == set(spec["root"]["dag"]["tasks"]) - {"report-round"} - CONDITIONS


def test_component_bodies_are_short_and_call_the_library_once() -> None:
    files = sorted((ROOT / "components").glob("*.py"))
    components = [file for file in files if file.stem not in ("__init__", "images", "ports")]
    assert len(components) > 15
    for file in components:
        (function,) = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert function.name == file.stem
        body = function.body[1:]  # without the docstring
        assert body[-1].end_lineno is not None
        assert body[-1].end_lineno - body[0].lineno < 40, file
        calls = [node for node in ast.walk(function) if _is_stage_call(node)]
        assert len(calls) == 1, file


def test_pipelines_do_not_share_a_stage_name() -> None:
    """The local runner keeps a first round's two pipelines in one folder."""
    from pipelines.local.runner import stage_names

    pipelines = {pipeline.name: pipeline for pipeline in compiling.PIPELINES}
    for first in ("pretraining", "model-import"):
        together = [
            *stage_names(pipelines[first]).values(),
            *stage_names(pipelines["improvement-round"]).values(),
        ]
        assert len(together) == len(set(together))


def test_stages_are_shown_in_an_order_that_can_run() -> None:
    from pipelines.local.tasks import in_order

    pipeline = compiling.PIPELINES[0]
    tasks = pipeline.pipeline_spec.root.dag.tasks
    order = in_order(tasks)
    assert sorted(order) == sorted(tasks)
    assert order[0] == "preflight"
    assert order[-1] == "report-round"
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
    """`report = module.function(...)`, or `report, start = …`"""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and re.match(r"\(?report\b", ast.unparse(node.targets[0])) is not None
    )
