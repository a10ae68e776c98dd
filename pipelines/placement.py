"""Where tasks run on a cluster: the one place that knows of node pools. The local runner ignores all of it.

A pool is a node selector, label → value, given as a pipeline parameter, so that who starts a run in the
UI can choose another pool without compiling again. An empty selector leaves the choice to Kubernetes.
"""

from kfp import kubernetes
from kfp.dsl import PipelineTask


def place(nodes: dict[str, str], *tasks: PipelineTask) -> None:
    """Has the tasks run on nodes that carry the labels `nodes` (a pipeline parameter)."""
    for task in tasks:
        kubernetes.add_node_selector_json(task, nodes)
