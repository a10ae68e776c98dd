"""Sampling on several pods: a stage publishes its inputs, creates an Indexed Job and joins the pods' shards.

The work is in shards of problems, each an artifact of the store once it is done. A stage that was killed
resumes: published inputs are not sent again, the job is found by its name, and only shards that are missing
are drawn.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from mathloop.cluster import sampling_job_spec, train_job
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.sampling_node import CONFIGS, DROPPED, MODELS, REPORT, RESPONSES, Task
from mathloop.cluster.train_job_launching import NAMESPACE, Access
from mathloop.cluster.train_job_spec import job_name
from mathloop.errors import BadConfig, Corrupt
from mathloop.files import disk, filled, replacing
from mathloop.records import Response, read_problems, read_responses, write_responses
from mathloop.settings.pools import SamplerPool
from mathloop.stages import StageReport, timed
from mathloop.storage import Store, open_store
from mathloop.validation import first_mistake

SAMPLES = 6
"""Examples in the report."""

_CHECKED = {model.__name__: model for model in (SamplerPool, Access, Task, *CONFIGS.values())}


@timed
def run(
    *,
    stage_name: str,
    inputs: Mapping[str, Path],
    out: Path,
    dropped: Path,
    store_url: str,
    round_id: str,
    pool: str,
    access: str,
    image: str,
    config: str,
    seed: int,
    cluster: Cluster | None = None,
    say: Callable[[str], None] = print,
    poll_seconds: float = train_job.POLL_SECONDS,
) -> StageReport:
    """Samples by a Job with a pod per node of `pool` (a `SamplerPool` as JSON); writes `out` and `dropped`.

    Args:
        stage_name: cot, tir or reward_data.
        inputs: problems, policy, and reward_model for cot or champion for reward_data; their folders may be
            empty, and what the stage does not use is not published.
        access: an `Access` as JSON.
        image: the pods' image.

    Raises:
        BadConfig: `pool`, `access` or `config` does not fit its model.
        Corrupt: a shard is not what a pod published; it is removed.
        ClusterRefused: the cluster lacks permission or an answer.
        TrainJobFailed: the job failed or took too long.
    """
    count = sum(1 for _ in read_problems(inputs["problems"]))
    name = f"sampling/{round_id}/{stage_name}"
    try:
        nodes, store_access = SamplerPool.model_validate_json(pool), Access.model_validate_json(access)
        shards = max(1, -(-count // nodes.shard_problems))
        given = _used(stage_name, inputs, config)
        task = Task.model_validate(
            {
                "stage": stage_name,
                "store_url": store_url,
                "inputs": {key: f"{name}/inputs/{key}" for key in given},
                "output": f"{name}/shards",
                "config": config,
                "seed": seed,
                "shard_problems": nodes.shard_problems,
                "shards": shards,
                "pods": min(nodes.nodes, shards),
            }
        )
    except ValidationError as error:
        mistake = first_mistake(error, _CHECKED.get(error.title, Task))
        raise BadConfig(f"{mistake.line(error.title)}; compile the profile again") from None
    store = open_store(store_url)
    if not _complete(store, task):
        for key, path in given.items():
            store.publish(path, task.inputs[key])
        job = sampling_job_spec.build(
            name=job_name(round_id, stage_name),
            namespace=NAMESPACE,
            stage=stage_name,
            task=task.model_dump_json(),
            pods=task.pods,
            image=image,
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
            shape=train_job.SAMPLING,
        )
    for artifact in task.inputs.values():  # the shards suffice should this step be started again
        store.remove(artifact)
    return _join(store, task, out, dropped)


def _used(stage: str, inputs: Mapping[str, Path], config: str) -> dict[str, Path]:
    """The inputs that pods need: a champion that adds no responses would be sent for nothing."""
    names = {"problems", "policy", *MODELS.get(stage, ())}
    if stage in CONFIGS:
        checked = CONFIGS[stage].model_validate_json(config)
        if not getattr(checked, "champion_samples", 0):
            names.discard("champion")
    return {key: path for key, path in inputs.items() if key in names and (path.is_file() or filled(path))}


def _complete(store: Store, task: Task) -> bool:
    return all(store.exists(task.artifact(shard)) for shard in range(task.shards))


def _join(store: Store, task: Task, out: Path, dropped: Path) -> StageReport:
    """Writes the shards' records in the order of the problems; returns the report of all."""
    reports: list[StageReport] = []
    with tempfile.TemporaryDirectory(prefix="mathloop-") as folder, replacing(dropped) as partial:
        with disk(dropped):
            file = partial.open("wb")

        def responses() -> Iterator[Response]:
            for shard in range(task.shards):
                results = Path(folder, str(shard))
                try:
                    store.fetch(task.artifact(shard), results)
                except Corrupt as error:  # two pods of one index may have published at the same moment
                    store.remove(task.artifact(shard))
                    raise Corrupt(
                        f"{error} (shard {shard + 1} was removed; retry the step, which draws it alone again)"
                    ) from None
                reports.append(StageReport.read(results / REPORT))
                with disk(dropped), (results / DROPPED).open("rb") as lines:
                    file.writelines(lines)
                yield from read_responses(results / RESPONSES)
                for path in results.iterdir():
                    path.unlink()

        with file:
            write_responses(out, responses())
    report = joined(task.stage, reports)
    report.notes.append(
        f"Sampled by {task.pods} pods in {task.shards} shards of {task.shard_problems} problems; "
        "tokens per second are those of one pod."
    )
    return report


def joined(stage: str, reports: Sequence[StageReport]) -> StageReport:
    """One report of the same stage's shards: counts added, values weighted by the responses drawn."""
    drawn = sum(report.generated for report in reports)
    names = dict.fromkeys(name for report in reports for name in report.values)
    dropped: Counter[str] = Counter()
    for report in reports:
        dropped.update(report.dropped)
    return StageReport(
        stage,
        inputs=sum(report.inputs for report in reports),
        generated=drawn,
        kept=sum(report.kept for report in reports),
        dropped=dict(dropped),
        values={
            name: sum(report.values.get(name, 0.0) for report in reports)
            if name == "tokens"
            else sum(report.values.get(name, 0.0) * report.generated for report in reports) / max(1, drawn)
            for name in names
        },
        samples=[sample for report in reports for sample in report.samples][:SAMPLES],
        notes=list(dict.fromkeys(note for report in reports for note in report.notes)),
    )
