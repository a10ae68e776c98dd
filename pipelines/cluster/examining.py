"""`mathloop doctor --cluster`: what a round needs of a cluster, looked at with the user's own rights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mathloop.cluster import reuse
from mathloop.cluster.inference_services import RUNTIMES, SOLVER, STORAGE_CONTAINER
from mathloop.cluster.kubernetes import (
    CONFIG_MAP,
    INFERENCE_SERVICE,
    LOCAL_QUEUE,
    MANIFESTS,
    POD,
    SECRET,
    SERVING_RUNTIME,
    TRAIN_JOB,
    TRAINING_RUNTIME,
    Cluster,
    Kind,
)
from mathloop.cluster.launching import NAMESPACE
from mathloop.cluster.train_job_spec import RUNTIME
from mathloop.errors import MathloopError
from mathloop.settings.pools import CA_KEY, DeploymentConfig, Pool, PoolsConfig
from mathloop.storage import open_store
from mathloop.storage.s3 import ENDPOINT_VARIABLE, KEY_VARIABLE, SECRET_VARIABLE
from pipelines.cluster import connection
from pipelines.compiling import for_cluster
from pipelines.doctor import Finding
from pipelines.placement import CONFIG_MAP_KEYS, SECRET_KEYS
from pipelines.profile import load_profile

NODE = Kind("Node", "nodes", "", "v1")
SERVICE = Kind("Service", "services", "", "v1")
CONTAINER = Kind("ClusterStorageContainer", "clusterstoragecontainers", "serving.kserve.io", "v1alpha1")
WRITE = ("get", "list", "create", "update", "patch", "delete")
NEEDED: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    (INFERENCE_SERVICE, "", WRITE),
    (TRAIN_JOB, "", ("get", "create", "patch", "delete")),
    (POD, "", ("list",)),
    (POD, "log", ("get",)),
    (SERVICE, "proxy", ("create",)),
)
"""What deploying and training do in our namespace: kind, subresource, verbs."""


def examine_cluster(
    *, profile: str, sets: Sequence[str], host: str | None, namespace: str | None
) -> list[Finding]:
    """Looks at the cluster of the kubeconfig, for what this profile asks of it.

    Raises:
        UserError: the profile is wrong, or there is no cluster to look at.
    """
    settings = for_cluster(load_profile(profile, sets))
    connection.quiet()
    cluster = Cluster.connect()
    version = cluster.request("/version")["gitVersion"]
    findings = [Finding("kubernetes", True, f"{version} at {cluster.host}")]
    findings += _look("kubeflow pipelines", lambda: _pipelines(cluster, host))
    findings += _apis(cluster, settings.pools)
    for kind, subresource, verbs in NEEDED:
        findings += _rights(cluster, kind, subresource, verbs)
    runs = namespace or connection.NAMESPACE
    namespaces = list(dict.fromkeys((NAMESPACE, runs)))
    for place in namespaces:
        findings += _keys(cluster, SECRET, settings.pools.secret, place, tuple(SECRET_KEYS))
        findings += _keys(cluster, CONFIG_MAP, settings.pools.config_map, place, tuple(CONFIG_MAP_KEYS))
    if settings.pools.ca_config_map:
        findings += _keys(cluster, CONFIG_MAP, settings.pools.ca_config_map, runs, (CA_KEY,))
    findings += _looking_back(cluster, settings.pools, runs)
    findings += _runtimes(cluster, settings.deployment)
    for name in ("sampler", "trainer"):
        findings += _pool(cluster, name, getattr(settings.pools, name))
    findings += _queues(cluster, settings.pools, namespaces)
    findings += _look("bucket", lambda: _bucket(settings.store))
    return findings


def _look(what: str, look: Callable[[], str]) -> Iterator[Finding]:
    """What `look` says, good; what it raises, missing."""
    try:
        yield Finding(what, True, look())
    except MathloopError as error:
        yield Finding(what, False, str(error))


def _pipelines(cluster: Cluster, host: str | None) -> str:
    found = connection.connect(host)
    said = f"answers at {found.host}, {'multi-user' if found.multi_user else 'single user'}"
    try:
        old = cluster.request(f"{connection.PROXY}/apis/v1beta1/healthz")
    except MathloopError:
        return said
    return f"{said}, version {old['tag_name']}" if old.get("tag_name") else said


def _apis(cluster: Cluster, pools: PoolsConfig) -> Iterator[Finding]:
    wanted = [INFERENCE_SERVICE, SERVING_RUNTIME, TRAIN_JOB, TRAINING_RUNTIME]
    if any(pool.queue for pool in (pools.sampler, pools.trainer, pools.control)):
        wanted.append(LOCAL_QUEUE)
    for kind in wanted:
        try:
            served = cluster.request(f"/apis/{kind.group}/{kind.version}")["resources"]
            good = any(one["name"] == kind.plural for one in served)
        except MathloopError:
            good = False
        yield Finding(kind.crd, good, kind.version if good else f"not {kind.version}; {kind.remedy}")


def _rights(cluster: Cluster, kind: Kind, subresource: str, verbs: Sequence[str]) -> Iterator[Finding]:
    name = f"{kind.plural}/{subresource}" if subresource else kind.plural

    def look() -> str:
        return ", ".join(verb for verb in verbs if not cluster.allowed(verb, kind, NAMESPACE, subresource))

    for found in _look(f"rights to {name}", look):
        if not found.good:
            yield found
        elif found.said:
            yield Finding(found.what, False, f"may not {found.said} in {NAMESPACE}; {MANIFESTS}")
        else:
            yield Finding(found.what, True, f"{', '.join(verbs)} in {NAMESPACE}")


def _keys(
    cluster: Cluster, kind: Kind, name: str, namespace: str, keys: tuple[str, ...]
) -> Iterator[Finding]:
    what = f"{kind.name} {namespace}/{name}"
    try:
        found = cluster.get(kind, name, namespace)
    except MathloopError as error:
        yield Finding(what, False, str(error))
        return
    if found is None:
        yield Finding(what, False, f"is not there; {_remedy(kind, name, namespace, keys)}")
        return
    missing = [key for key in keys if not (found.get("data") or {}).get(key)]
    said = (
        f"lacks {', '.join(missing)}; {_remedy(kind, name, namespace, keys)}" if missing else ", ".join(keys)
    )
    yield Finding(what, not missing, said)


def _looking_back(cluster: Cluster, pools: PoolsConfig, namespace: str) -> Iterator[Finding]:
    """The keys of KFP's bucket: without them rounds run, and run everything."""
    for found in _keys(cluster, SECRET, pools.artifacts.secret, namespace, tuple(reuse.KEYS)):
        said = found.said.partition(";")[0]
        without = f"{said}: rounds reuse nothing of earlier ones until pools.artifacts names it"
        yield Finding(found.what, True, found.said if found.good else without)


def _remedy(kind: Kind, name: str, namespace: str, keys: Sequence[str]) -> str:
    if kind is SECRET:
        return (
            f"kubectl create secret generic {name} -n {namespace} "
            "--from-file=accesskey=FILE --from-file=secretkey=FILE"
        )
    if CA_KEY in keys:
        return f"kubectl create configmap {name} -n {namespace} --from-file={CA_KEY}=FILE"
    return MANIFESTS if namespace == NAMESPACE else f"{MANIFESTS} (component runs-namespace)"


def _runtimes(cluster: Cluster, deployment: DeploymentConfig) -> Iterator[Finding]:
    suffix = "-cpu" if deployment.runtimes == "cpu" else ""
    wanted = [
        (SERVING_RUNTIME, runtime + suffix, deployment.namespace)
        for service, runtime in RUNTIMES.items()
        if deployment.vllm or service == SOLVER
    ]
    for kind, name, place in (
        *wanted,
        (CONTAINER, STORAGE_CONTAINER, None),
        (TRAINING_RUNTIME, RUNTIME, None),
    ):
        what = f"{kind.name} {name}"
        try:
            good = cluster.get(kind, name, place) is not None
            yield Finding(what, good, "there" if good else f"is not there; {MANIFESTS}")
        except MathloopError as error:
            yield Finding(what, False, str(error))


def _pool(cluster: Cluster, name: str, pool: Pool) -> Iterator[Finding]:
    if pool.gpus:
        yield from _accelerators(cluster, f"pool {name}", pool)
    else:
        yield Finding(f"pool {name}", True, "asks for no accelerator")


def _queues(cluster: Cluster, pools: PoolsConfig, namespaces: Sequence[str]) -> Iterator[Finding]:
    queues = [pool.queue for pool in (pools.sampler, pools.trainer, pools.control) if pool.queue]
    for queue in dict.fromkeys(queues):
        for place in namespaces:
            what = f"LocalQueue {place}/{queue}"
            try:
                good = cluster.get(LOCAL_QUEUE, queue, place) is not None
                said = "there" if good else f"is not there; add the component kueue: {MANIFESTS}"
                yield Finding(what, good, said)
            except MathloopError as error:
                yield Finding(what, False, str(error))


def _accelerators(cluster: Cluster, what: str, pool: Pool) -> Iterator[Finding]:
    labels = ",".join(f"{key}={value}" for key, value in pool.node_selector.items())
    try:
        nodes = cluster.listed(NODE, labels=labels)
    except MathloopError as error:
        yield Finding(what, False, str(error))
        return
    counts = [int(node["status"].get("allocatable", {}).get(pool.accelerator, 0)) for node in nodes]
    fitting = sum(count >= pool.gpus for count in counts)
    said = f"{sum(counts)} {pool.accelerator} on {len(nodes)} nodes with {labels or 'any label'}"
    if fitting >= pool.nodes:
        yield Finding(what, True, said)
    else:
        needs = f"{pool.nodes} with {pool.gpus} each are needed"
        remedy = f"kubectl label node NODE {labels.replace(',', ' ')}" if labels else "add nodes"
        yield Finding(what, False, f"{said}, {needs}; {remedy}, and run the accelerator's device plugin")


def _bucket(url: str) -> str:
    try:
        store = open_store(url)
        store.check_writable()
    except MathloopError as error:
        reach = f"kubectl port-forward -n {NAMESPACE} svc/minio 9000"
        named = f"{ENDPOINT_VARIABLE}=http://localhost:9000, {KEY_VARIABLE} and {SECRET_VARIABLE}"
        raise type(error)(f"{error}; from here: {reach}, and set {named}") from None
    return f"{store.url} takes writes, one writer at a time"
