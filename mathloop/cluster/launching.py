"""Training on several nodes: a stage that hands its inputs to a TrainJob and takes the model back.

Killed and started again it goes on: inputs that arrived are not sent again, the job is found by its name, and
a job that ended well in the meantime has left its report in the store, which is looked for first.
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
    """Where a job's pods find the store's address and keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str = "mathloop-s3"
    config_map: str = "mathloop-store"
    ca_config_map: str = ""
    """ConfigMap with ca.crt, the authorities of the store's certificate; empty: those that are known."""


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
    """Trains by a TrainJob on the nodes of `pool` (a `Pool` as JSON) and brings the model to `model`.

    Args:
        inputs: name of the recipe's argument → file or folder, kept as `training/<round>/<recipe>/<name>`.
        access: an `Access` as JSON.

    Raises:
        BadConfig: the settings are not what a recipe, a pool or an access is.
        ClusterRefused: the cluster lacks Trainer, permission or an answer.
        TrainJobFailed: the job failed or took too long.
    """
    try:
        settled, keys = Pool.model_validate_json(pool), Access.model_validate_json(access)
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
            pool=settled,
            secret=keys.secret,
            config_map=keys.config_map,
            ca_config_map=keys.ca_config_map,
        )
        train_job.run(
            cluster or Cluster.connect(),
            job,
            queue_seconds=settled.queue_seconds,
            run_seconds=settled.run_seconds,
            say=say,
            poll_seconds=poll_seconds,
        )
    return _taken(store, task, model, work)


def _taken(store: Store, task: Task, model: Path, work: Path) -> StageReport:
    store.fetch(f"{task.output}/model", model)
    report = work / "trained.json"
    report.unlink(missing_ok=True)
    store.fetch(f"{task.output}/report", report)
    return StageReport.read(report)
