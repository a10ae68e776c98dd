"""The graph of a round in Kubeflow's UI: few tasks a layer, and a layer fits the canvas.

Kubeflow Pipelines 2.17's UI lays out a layer with dagre, top to bottom, with dagre's own distances: a node
per task and per output artifact, an edge from a task to its artifacts, from an artifact to the tasks that
read it, and from a task to every task that depends on it. Sizes: `frontend/src/lib/v2/StaticFlow.ts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dukpy
import pytest
import yaml
from xstatic.pkg import dagre

from pipelines import compiling
from pipelines.overhead import overhead
from pipelines.table import PIPELINES, find_pipeline
from tests.paths import ROOT

NODE = {"width": 224, "height": 48}
CANVAS, ZOOM = 1_220, 0.5
"""Pixels of the UI's canvas in a window of 1,440, and its smallest zoom."""
MOST_TASKS = 9
LAYOUT = """
var graph = new dagre.graphlib.Graph();
graph.setGraph({rankdir: 'TB'});
graph.setDefaultEdgeLabel(function () { return {}; });
dukpy.nodes.forEach(function (name) {
    graph.setNode(name, {width: dukpy.node.width, height: dukpy.node.height});
});
dukpy.edges.forEach(function (edge) { graph.setEdge(edge[0], edge[1]); });
dagre.layout(graph);
var centers = graph.nodes().map(function (name) { return graph.node(name).x; });
Math.max.apply(null, centers) - Math.min.apply(null, centers) + dukpy.node.width;
"""

Layer = Mapping[str, Mapping[str, Any]]
"""Task → its `outputs` (artifacts), `inputs` (task, artifact) and the tasks `before` it."""


@pytest.fixture(scope="module")
def interpreter() -> dukpy.JSInterpreter:
    script = Path(dagre.BASE_DIR, "dagre.js").read_text(encoding="utf-8")
    engine = dukpy.JSInterpreter()
    engine.evaljs(f"var window = this; {script}; null")
    return engine


def width(engine: dukpy.JSInterpreter, layer: Layer) -> float:
    """Pixels of a layer at the smallest zoom."""
    nodes = [f"task {task}" for task in layer]
    nodes += [f"{task} {artifact}" for task, one in layer.items() for artifact in one["outputs"]]
    edges = [(f"task {task}", f"{task} {name}") for task, one in layer.items() for name in one["outputs"]]
    for task, one in layer.items():
        edges += [(f"{producer} {name}", f"task {task}") for producer, name in one["inputs"]]
        edges += [(f"task {before}", f"task {task}") for before in one["before"]]
    return ZOOM * float(engine.evaljs(LAYOUT, nodes=nodes, edges=edges, node=NODE))


def layers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Layer]]:
    """The layers of a compiled pipeline: its own and those of its nested pipelines."""
    groups = {"": spec["root"]} | spec["components"]
    for name, component in groups.items():
        if "dag" in component:
            yield name.removeprefix("comp-"), _layer(component["dag"]["tasks"], spec["components"])


def _layer(tasks: Mapping[str, Any], components: Mapping[str, Any]) -> Layer:
    layer = {}
    for name, task in tasks.items():
        artifacts = task.get("inputs", {}).get("artifacts", {}).values()
        parameters = task.get("inputs", {}).get("parameters", {}).values()
        read = [one["taskOutputArtifact"] for one in artifacts if "taskOutputArtifact" in one]
        before = [one["taskOutputParameter"] for one in parameters if "taskOutputParameter" in one]
        layer[name] = {
            "outputs": list(components[task["componentRef"]["name"]]["outputDefinitions"]["artifacts"]),
            "inputs": [(one["producerTask"], one["outputArtifactKey"]) for one in read],
            "before": list(
                dict.fromkeys([one["producerTask"] for one in before] + task.get("dependentTasks", []))
            ),
        }
    return layer


def test_a_layout_here_is_as_wide_as_in_kubeflows_ui(interpreter: dukpy.JSInterpreter) -> None:
    """The first round ever seen in the UI, all of its steps in one layer: 81 nodes, 6,724 px."""
    wide = json.loads((ROOT / "tests" / "pipelines" / "wide_graph.json").read_text())
    assert sum(1 + len(task["outputs"]) for task in wide.values()) == 81
    assert width(interpreter, wide) == pytest.approx(6_724, rel=0.03)


@pytest.mark.parametrize("profile", [None, "gpu", "nodes"])
def test_every_layer_fits_the_canvas(
    tmp_path: Path, interpreter: dukpy.JSInterpreter, profile: str | None
) -> None:
    from pipelines.profile import load_profile

    sets = ["pools.trainer.nodes=2", "pools.sampler.nodes=2"] if profile == "nodes" else []
    compiling.write_compiled(tmp_path, load_profile("gpu", sets) if profile else None)
    for name in PIPELINES:
        spec = next(yaml.safe_load_all((tmp_path / f"{name}.yaml").read_text()))
        for layer, tasks in layers(spec):
            assert len(tasks) <= MOST_TASKS, (name, layer)
            assert width(interpreter, tasks) <= CANVAS, (name, layer)


def test_the_overhead_is_that_of_the_longest_path() -> None:
    cost = overhead(find_pipeline("improvement-round").pipeline_spec)
    assert cost.path == (
        "preflight",
        "synthesis",
        "problems",
        "tir",
        "decontamination",
        "learning",
        "sft",
        "reward-data",
        "reward-model",
        "grpo",
        "evaluation",
        "judgment",
    )
    # 10 steps of 20 s and 2 nested pipelines of 10 s; champion, TIR and selection run beside them.
    assert (cost.steps, cost.seconds) == (13, 220)
    assert overhead(find_pipeline("model-import").pipeline_spec).sentence() == (
        "2 steps; Kubeflow itself takes about 40 s of a run"
    )
