"""`mathloop doctor --cluster`: checks a cluster for what a run needs, with the user's permissions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mathloop.cluster import reuse
from mathloop.cluster.inference_services import RUNTIMES, SOLVER, STORAGE_CONTAINER
from mathloop.cluster.job_pods import SECRET_KEYS
from mathloop.cluster.kinds import (
    CONFIG_MAP,
    INFERENCE_SERVICE,
    JOB,
    JOB_SET,
    LOCAL_QUEUE,
    POD,
    SECRET,
    SERVICE,
    SERVING_RUNTIME,
    TRAIN_JOB,
    TRAINING_RUNTIME,
    Kind,
)
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import MANIFESTS
from mathloop.cluster.train_job_launching import NAMESPACE
from mathloop.cluster.train_job_spec import RUNTIME
from mathloop.errors import MathloopError
from mathloop.settings.pools import CA_KEY, DeploymentConfig, Pool, PoolsConfig
from mathloop.storage import open_store
from mathloop.storage.keys import KEY_VARIABLE, SECRET_VARIABLE
from mathloop.storage.s3 import ENDPOINT_VARIABLE
from pipelines.cluster import connection, controllers
from pipelines.compiling import for_cluster
from pipelines.doctor import Finding
from pipelines.placement import CONFIG_MAP_KEYS
from pipelines.profile import load_profile

NODE = Kind("Node", "nodes", "", "v1")
CONTAINER = Kind("ClusterStorageContainer", "clusterstoragecontainers", "serving.kserve.io", "v1alpha1")
NEEDED: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    (INFERENCE_SERVICE, "", ("get", "list", "create", "delete")),
    (TRAIN_JOB, "", ("get", "create", "patch", "delete")),
    (JOB, "", ("get", "create", "patch", "delete")),
    (POD, "", ("list",)),
    (POD, "log", ("get",)),
    (SERVICE, "", ("get", "create", "update")),
    (SERVICE, "proxy", ("create",)),
)
"""Permissions that deployment and training need in our namespace: kind, subresource, verbs."""


def examine_cluster(
    *, profile: str, sets: Sequence[str], host: str | None, namespace: str | None
) -> list[Finding]:
    """Checks the kubeconfig's cluster for what this profile needs.

    Raises:
        UserError: the profile is invalid, or there is no cluster.
    """
    settings = for_cluster(load_profile(profile, sets))
    connection.quiet()
    cluster = Cluster.connect()
    version = cluster.request("/version")["gitVersion"]
    findings = [Finding("kubernetes", True, f"{version} at {cluster.host}")]
    findings += _check("kubeflow pipelines", lambda: _pipelines(cluster, host))
    if findings[-1].ok:
        findings += controllers.examine_pipelines(cluster)
    queues = _queue_names(settings.pools)
    kinds = [INFERENCE_SERVICE, SERVING_RUNTIME, TRAIN_JOB, TRAINING_RUNTIME, JOB_SET]
    apis = [(kind, _api(cluster, kind)) for kind in (*kinds, *([LOCAL_QUEUE] if queues else []))]
    findings += [finding for _, finding in apis]
    served = [kind for kind, finding in apis if finding.ok]
    findings += controllers.examine(cluster, served, queues[0] if queues else "")
    for kind, subresource, verbs in NEEDED:
        findings += _permissions(cluster, kind, subresource, verbs)
    runs = namespace or connection.NAMESPACE
    namespaces = list(dict.fromkeys((NAMESPACE, runs)))
    for place in namespaces:
        if settings.pools.secret:
            findings += _keys(cluster, SECRET, settings.pools.secret, place, tuple(SECRET_KEYS))
        findings += _keys(cluster, CONFIG_MAP, settings.pools.config_map, place, tuple(CONFIG_MAP_KEYS))
    if not settings.pools.secret:
        findings.append(Finding("keys of the store", True, "pools.secret is empty: pods use their identity"))
    if settings.pools.ca_config_map:
        findings += _keys(cluster, CONFIG_MAP, settings.pools.ca_config_map, runs, (CA_KEY,))
    findings += _artifact_keys(cluster, settings.pools, runs)
    findings += _runtimes(cluster, settings.deployment)
    for name in ("sampler", "trainer"):
        findings += _pool(cluster, name, getattr(settings.pools, name))
    findings += _queues(cluster, settings.pools, namespaces)
    findings += _check("bucket", lambda: _bucket(settings.store))
    return findings


def _check(name: str, check: Callable[[], str]) -> Iterator[Finding]:
    """Ok with the result of `check`; not ok if it raises."""
    try:
        yield Finding(name, True, check())
    except MathloopError as error:
        yield Finding(name, False, str(error))


def _pipelines(cluster: Cluster, host: str | None) -> str:
    pipelines = connection.connect(connection.Access(host))
    detail = f"answers at {pipelines.host}, {'multi-user' if pipelines.multi_user else 'single user'}"
    try:
        old = cluster.request(f"{connection.PROXY}/apis/v1beta1/healthz")
    except MathloopError:
        return detail
    return f"{detail}, version {old['tag_name']}" if old.get("tag_name") else detail


def _api(cluster: Cluster, kind: Kind) -> Finding:
    try:
        served = cluster.request(f"/apis/{kind.group}/{kind.version}")["resources"]
        ok = any(one["name"] == kind.plural for one in served)
    except MathloopError:
        ok = False
    return Finding(kind.crd, ok, kind.version if ok else f"not {kind.version}; {kind.remedy}")


def _queue_names(pools: PoolsConfig) -> list[str]:
    """Kueue's queues of the pools, that of TrainJobs first."""
    queues = [pool.queue for pool in (pools.trainer, pools.sampler, pools.control) if pool.queue]
    return list(dict.fromkeys(queues))


def _permissions(cluster: Cluster, kind: Kind, subresource: str, verbs: Sequence[str]) -> Iterator[Finding]:
    name = f"{kind.plural}/{subresource}" if subresource else kind.plural

    def denied() -> str:
        return ", ".join(verb for verb in verbs if not cluster.allowed(verb, kind, NAMESPACE, subresource))

    for finding in _check(f"rights to {name}", denied):
        if not finding.ok:
            yield finding
        elif finding.detail:
            yield Finding(finding.name, False, f"may not {finding.detail} in {NAMESPACE}; {MANIFESTS}")
        else:
            yield Finding(finding.name, True, f"{', '.join(verbs)} in {NAMESPACE}")


def _keys(
    cluster: Cluster, kind: Kind, name: str, namespace: str, keys: tuple[str, ...]
) -> Iterator[Finding]:
    title = f"{kind.name} {namespace}/{name}"
    try:
        resource = cluster.get(kind, name, namespace)
    except MathloopError as error:
        yield Finding(title, False, str(error))
        return
    if resource is None:
        yield Finding(title, False, f"does not exist; {_remedy(kind, name, namespace, keys)}")
        return
    missing = [key for key in keys if not (resource.get("data") or {}).get(key)]
    detail = (
        f"lacks {', '.join(missing)}; {_remedy(kind, name, namespace, keys)}" if missing else ", ".join(keys)
    )
    yield Finding(title, not missing, detail)


def _artifact_keys(cluster: Cluster, pools: PoolsConfig, namespace: str) -> Iterator[Finding]:
    """The keys of KFP's artifact bucket: without them runs work, but reuse nothing."""
    for finding in _keys(cluster, SECRET, pools.artifacts.secret, namespace, tuple(reuse.KEYS)):
        problem = finding.detail.partition(";")[0]
        without = f"{problem}: rounds reuse nothing of earlier ones until pools.artifacts names it"
        yield Finding(finding.name, True, finding.detail if finding.ok else without)


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
        title = f"{kind.name} {name}"
        try:
            ok = cluster.get(kind, name, place) is not None
            yield Finding(title, ok, "exists" if ok else f"does not exist; {MANIFESTS}")
        except MathloopError as error:
            yield Finding(title, False, str(error))


def _pool(cluster: Cluster, name: str, pool: Pool) -> Iterator[Finding]:
    if pool.gpus:
        yield from _accelerators(cluster, f"pool {name}", pool)
    else:
        yield Finding(f"pool {name}", True, "requests no accelerator")


def _queues(cluster: Cluster, pools: PoolsConfig, namespaces: Sequence[str]) -> Iterator[Finding]:
    for queue in _queue_names(pools):
        for place in namespaces:
            title = f"LocalQueue {place}/{queue}"
            try:
                ok = cluster.get(LOCAL_QUEUE, queue, place) is not None
                detail = "exists" if ok else f"does not exist; add the component kueue: {MANIFESTS}"
                yield Finding(title, ok, detail)
            except MathloopError as error:
                yield Finding(title, False, str(error))


def _accelerators(cluster: Cluster, title: str, pool: Pool) -> Iterator[Finding]:
    labels = ",".join(f"{key}={value}" for key, value in pool.node_selector.items())
    try:
        nodes = cluster.listed(NODE, labels=labels)
    except MathloopError as error:
        yield Finding(title, False, str(error))
        return
    counts = [int(node["status"].get("allocatable", {}).get(pool.accelerator, 0)) for node in nodes]
    fitting = sum(count >= pool.gpus for count in counts)
    detail = f"{sum(counts)} {pool.accelerator} on {len(nodes)} nodes with {labels or 'any label'}"
    if fitting >= pool.nodes:
        yield Finding(title, True, detail)
    else:
        needs = f"{pool.nodes} with {pool.gpus} each are needed"
        remedy = f"kubectl label node NODE {labels.replace(',', ' ')}" if labels else "add nodes"
        yield Finding(title, False, f"{detail}, {needs}; {remedy}, and run the accelerator's device plugin")


def _bucket(url: str) -> str:
    try:
        store = open_store(url)
        store.check_writable()
    except MathloopError as error:
        reach = f"kubectl port-forward -n {NAMESPACE} svc/minio 9000"
        variables = f"{ENDPOINT_VARIABLE}=http://localhost:9000, {KEY_VARIABLE} and {SECRET_VARIABLE}"
        raise type(error)(f"{error}; from this machine: {reach}, and set {variables}") from None
    return f"{store.url} is writable and supports conditional writes"
