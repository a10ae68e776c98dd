"""Kueue's queues cover what our pods request: one resource that is not covered holds a TrainJob back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mathloop.cluster import train_job_spec
from mathloop.settings.pools import Pool
from pipelines.profile import load_profile, profile_names
from tests.manifests import manifest_builds, manifest_rules
from tests.manifests.kustomized import Object
from tests.manifests.manifest_builds import built

QUEUED = [
    name
    for name in manifest_builds.BUILDS
    if "kueue" in manifest_builds.BUILDS[name][1] or name in ("gpu", "airgapped")
]
LARGE = {name for name in profile_names() if name.startswith("qwen")}
"""Profiles for whole nodes of GPUs, whose quotas docs/plan.md tells to raise."""


def requested(pools: Pool, objects: list[Object]) -> Counter[str]:
    """What the pods of a pool's TrainJob request of Kueue, in cores, bytes and devices."""
    job = train_job_spec.build(
        name="job", namespace="mathloop", stage="sft", task="{}", pool=pools, secret="s", config_map="c"
    )
    (runtime,) = [pod for pod in manifest_rules.pods(objects) if pod.kind == "ClusterTrainingRuntime"]
    trainer = job["spec"]["trainer"]
    # Trainer merges the job's resources into its runtime's; Kueue takes a limit where there is no request.
    merged: dict[str, Any] = {}
    for kind in ("limits", "requests"):
        merged |= runtime.containers[0]["resources"][kind]
        merged |= trainer.get("resourcesPerNode", {}).get(kind, {})
    amounts = {name: manifest_rules.quantity(value) * trainer["numNodes"] for name, value in merged.items()}
    return Counter(amounts)


def quotas(objects: list[Object], pool: Pool) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Name and quotas of each flavor whose nodes the pool may use."""
    labels = {
        body["metadata"]["name"]: body["spec"]["nodeLabels"]
        for body in objects
        if body["kind"] == "ResourceFlavor"
    }
    (queue,) = [body["spec"] for body in objects if body["kind"] == "ClusterQueue"]
    (group,) = queue["resourceGroups"]
    for flavor in group["flavors"]:
        covered = [one["name"] for one in flavor["resources"]]
        assert covered == group["coveredResources"], "Kueue's webhook refuses another order"
        nodes = labels[flavor["name"]]
        if all(pool.node_selector.get(key, value) == value for key, value in nodes.items()):
            yield (
                flavor["name"],
                {one["name"]: manifest_rules.quantity(one["nominalQuota"]) for one in flavor["resources"]},
            )


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("name", QUEUED)
def test_a_trainjob_of_every_profile_fits_its_flavor(name: str, profile: str) -> None:
    pool = load_profile(profile, ()).pools.trainer.model_copy(update={"nodes": 2})
    wanted = requested(pool, built(name))
    assert {"cpu", "memory", "ephemeral-storage"} <= set(wanted)
    flavors = dict(quotas(built(name), pool))
    flavor = (
        f"mathloop-{pool.node_selector.get('mathloop.dev/pool', 'trainer')}"  # one rented node: the sampler's
    )
    assert flavor in flavors
    assert set(wanted) <= set(flavors[flavor]), "a resource that is not covered"
    if profile not in LARGE:
        assert all(amount <= flavors[flavor][resource] for resource, amount in wanted.items())


def test_the_gpu_profiles_tasks_are_covered() -> None:
    pools = load_profile("gpu", ()).pools
    for pool in (pools.sampler, pools.trainer):
        assert pool.queue == "mathloop"
        ((_, covered),) = quotas(built("gpu"), pool)
        assert {*pool.resources()["requests"], *pool.resources()["limits"]} <= set(covered)
