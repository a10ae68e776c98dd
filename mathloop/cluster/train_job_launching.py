"""Training on several nodes: a stage publishes its inputs, creates a TrainJob and fetches the trained model.

A stage that was killed resumes: published inputs are not sent again, the job is found by its name, and the
report of a job that completed meanwhile is in the store, where it is looked for first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mathloop.cluster import train_job, train_job_spec
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.training_node import Task
from mathloop.errors import BadConfig
from mathloop.settings.pools import Pool
from mathloop.stages import StageReport
from mathloop.storage import Store, open_store
from mathloop.validation import first_mistake

NAMESPACE = "mathloop"


class Access(BaseModel):
    """Kubernetes objects with the store's address and keys, for a job's pods."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str = "mathloop-s3"
    """Empty: the pods' identity."""
    config_map: str = "mathloop-store"
    ca_config_map: str = ""
    """ConfigMap with ca.crt, the authorities of the store's certificate; empty: the image's own."""


_CHECKED = {model.__name__: model for model in (Pool, Access, Task)}


def run(
    *,
    recipe: str,
    inputs: Mapping[str, Path],
    store_url: str,
    round_id: str,
    model: Path,
    work: Path,
    pool: str,
    access: str,
    config: str,
    seed: int,
    cluster: Cluster | None = None,
    say: Callable[[str], None] = print,
    poll_seconds: float = train_job.POLL_SECONDS,
) -> StageReport:
    """Trains by a TrainJob on the nodes of `pool` (a `Pool` as JSON) and writes the model to `model`.

    Args:
        inputs: argument of the recipe → file or folder, published as `training/<round>/<recipe>/<argument>`.
        access: an `Access` as JSON.

    Raises:
        BadConfig: `pool`, `access` or `config` does not fit its model.
        ClusterRefused: the cluster lacks Trainer, permission or an answer.
        TrainJobFailed: the job failed or took too long.
    """
    try:
        nodes, store_access = Pool.model_validate_json(pool), Access.model_validate_json(access)
        name = f"training/{round_id}/{recipe}"
        artifacts = {key: f"{name}/{key}" for key in inputs}
        task = Task.model_validate(
            {
                "recipe": recipe,
                "store_url": store_url,
                "inputs": artifacts,
                "output": f"{name}/output",
                "config": config,
                "seed": seed,
            }
        )
    except ValidationError as error:
        mistake = first_mistake(error, _CHECKED.get(error.title, Task))
        raise BadConfig(f"{mistake.line(error.title)}; compile the profile again") from None
    store = open_store(store_url)
    if not store.exists(f"{task.output}/report"):
        for key, path in inputs.items():
            store.publish(path, artifacts[key])
        job = train_job_spec.build(
            name=train_job_spec.job_name(round_id, recipe),
            namespace=NAMESPACE,
            stage=recipe,
            task=task.model_dump_json(),
            pool=nodes,
            secret=store_access.secret,
            config_map=store_access.config_map,
            ca_config_map=store_access.ca_config_map,
        )
        train_job.run(
            cluster or Cluster.connect(),
            job,
            queue_seconds=nodes.queue_seconds,
            run_seconds=nodes.run_seconds,
            say=say,
            poll_seconds=poll_seconds,
        )
    return _fetch(store, task, model, work)


def _fetch(store: Store, task: Task, model: Path, work: Path) -> StageReport:
    store.fetch(f"{task.output}/model", model)
    report = work / "trained.json"
    report.unlink(missing_ok=True)
    store.fetch(f"{task.output}/report", report)
    return StageReport.read(report)
