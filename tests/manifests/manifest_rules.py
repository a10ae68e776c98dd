"""What every object of a build must satisfy beyond its schema, as kube-linter and the house ask for.

`make manifests` runs this module: it builds each overlay, checks it, and exits with 1 if
something is wrong.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import crd_schemas
from tests.manifests import kustomized
from tests.manifests.kustomized import Object

NAMESPACES = {"mathloop", "kubeflow", "kubeflow-user-example-com"}
"""Ours, and those of runs: KFP's own, and the example in components/multi-user."""
CLUSTER_WIDE = {
    "Namespace", "ClusterTrainingRuntime", "ClusterStorageContainer", "ResourceFlavor", "ClusterQueue",
}  # fmt: skip
OUTSIDE_SECRETS = {"mathloop-s3", "mathloop-minio-root", "mathloop-minio-tls"}
"""Secrets that an admin or cert-manager makes; they are in no build."""
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "part-of", "component", "managed-by")}
KUBERNETES = ("1.34", "1.36")
"""Versions whose schemas core objects are held against."""
PINNED = re.compile(r"[^\s:]+(:\d+/\S+)?(@sha256:[0-9a-f]{64}|:(?!latest)[A-Za-z0-9_][A-Za-z0-9_.-]*)")
CREDENTIAL = re.compile(r"(SECRET|PASSWORD|TOKEN|ACCESS_KEY|API_KEY)(_ID)?$|^(ROOT_)?(KEY|SECRET)$")
LEAK = re.compile(
    r"-----BEGIN|AKIA[0-9A-Z]{16}|(secret_?key|password)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9+/]{12}", re.I
)
BYTES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SERVERS = {"StatefulSet", "Deployment", "ServingRuntime"}


@dataclass(frozen=True)
class Pod:
    """A pod template, wherever it stands."""

    owner: str
    kind: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    containers: Sequence[Mapping[str, Any]] = field(default=())
    partial: bool = False
    """One container of a pod that somebody else makes."""


def pods(built: Sequence[Object]) -> Iterator[Pod]:
    """Every pod template of a build, those inside custom resources too."""
    for body in built:
        kind, spec = body["kind"], body.get("spec") or {}
        owner = f"{kind}/{body['metadata']['name']}"
        if kind in ("StatefulSet", "Deployment", "DaemonSet", "Job"):
            yield _pod(owner, kind, spec["template"])
        elif kind == "CronJob":
            yield _pod(owner, kind, spec["jobTemplate"]["spec"]["template"])
        elif kind in ("ServingRuntime", "ClusterServingRuntime"):
            yield _pod(owner, "ServingRuntime", {"spec": spec, "metadata": {"labels": spec.get("labels")}})
        elif kind in ("ClusterTrainingRuntime", "TrainingRuntime"):
            for job in spec["template"]["spec"]["replicatedJobs"]:
                yield _pod(f"{owner}/{job['name']}", kind, job["template"]["spec"]["template"])
        elif kind == "ClusterStorageContainer":
            yield Pod(owner, kind, {}, {}, [spec["container"]], partial=True)


def _pod(owner: str, kind: str, template: Mapping[str, Any]) -> Pod:
    spec = template["spec"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    return Pod(owner, kind, spec, labels, [*spec.get("initContainers", ()), *spec["containers"]])


def images(built: Any) -> Iterator[str]:
    """Every image name in the objects, however deep it stands."""
    if isinstance(built, Mapping):
        for name, value in built.items():
            if name == "image" and isinstance(value, str):
                yield value
            else:
                yield from images(value)
    elif isinstance(built, list | tuple):
        for item in built:
            yield from images(item)


def problems(built: Sequence[Object]) -> list[str]:
    """Everything that is wrong with a build, one line each."""
    found = list(_identities(built))
    for body in built:
        found += [f"{body['kind']}/{body['metadata']['name']}: {said}" for said in _object(body)]
    for pod in pods(built):
        found += [f"{pod.owner}: {said}" for said in _pod_problems(pod)]
        found += [f"{pod.owner}: {said}" for said in _references(pod, built)]
    return found


def core_problems(built: Sequence[Object]) -> list[str]:
    """What an API server would refuse in Kubernetes' own objects, unknown fields among it."""
    import kubernetes_validate

    found = []
    for body in filter(is_core, built):
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(body, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                said = str(getattr(error, "message", error))[:200]
                found.append(f"{body['kind']}/{body['metadata']['name']}: {said} (Kubernetes {version})")
    return found


def is_core(body: Object) -> bool:
    """Whether Kubernetes itself brings the kind; a group in x-k8s.io is a project's own."""
    group = body["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def _identities(built: Sequence[Object]) -> Iterator[str]:
    names = Counter((b["kind"], b["metadata"].get("namespace", ""), b["metadata"]["name"]) for b in built)
    yield from (f"{kind}/{name}: twice" for (kind, _, name), count in names.items() if count > 1)


def _object(body: Object) -> Iterator[str]:
    kind, meta, spec = body["kind"], body["metadata"], body.get("spec") or {}
    if missing := LABELS - set(meta.get("labels") or {}):
        yield f"lacks the labels {', '.join(sorted(missing))}"
    if kind in CLUSTER_WIDE:
        if "namespace" in meta:
            yield "is cluster-wide and has a namespace"
    elif meta.get("namespace") not in NAMESPACES:
        yield f"is in the namespace {meta.get('namespace')!r}"
    if kind in ("Secret", "ClusterRole", "ClusterRoleBinding"):
        yield f"a {kind} is not for git" if kind == "Secret" else "rights stay in a namespace: use a Role"
    if kind == "Role":
        yield from _rights(body["rules"])
    if kind == "ConfigMap" and LEAK.search("\n".join((body.get("data") or {}).values())):
        yield "holds what looks like a secret"
    if kind == "Service" and spec.get("type", "ClusterIP") != "ClusterIP":
        yield f"opens the cluster: type {spec['type']}"
    if kind == "ServiceAccount" and body.get("automountServiceAccountToken") is not False:
        yield "hands its token to every pod"


def _rights(rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for rule in rules:
        for key in ("apiGroups", "resources", "verbs"):
            if any("*" in value for value in rule[key]):
                yield f"a wildcard in {key}"
        if "secrets" in rule["resources"]:
            yield "a pipeline may not read secrets"


def _pod_problems(pod: Pod) -> Iterator[str]:
    spec, security = pod.spec, pod.spec.get("securityContext") or {}
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is set"
    if not pod.partial:
        if missing := LABELS - set(pod.labels):
            yield f"its pods lack the labels {', '.join(sorted(missing))}"
        if pod.kind != "ServingRuntime" and spec.get("automountServiceAccountToken") is not False:
            yield "mounts a token of the API server"
    for volume in spec.get("volumes", ()):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a path of the node"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} may fill the node: no sizeLimit"
    for container in pod.containers:
        for said in (
            *_image(container["image"]),
            *_security(container.get("securityContext") or {}, security),
            *_resources(container.get("resources") or {}),
            *_environment(container.get("env", ())),
            *(_probes(container) if pod.kind in SERVERS else ()),
        ):
            yield f"container {container['name']}: {said}"


def _image(name: str) -> Iterator[str]:
    if not PINNED.fullmatch(name):
        yield f"image {name} is not pinned to a tag or a digest"


def _security(own: Mapping[str, Any], pods: Mapping[str, Any]) -> Iterator[str]:
    both = {**pods, **own}
    if both.get("runAsNonRoot") is not True:
        yield "may run as root: runAsNonRoot"
    if not both.get("runAsUser"):
        yield "no user id: an image's name for its user is not enough for runAsNonRoot"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("privileged"):
        yield "is privileged"
    capabilities = own.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "keeps capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write to its image: readOnlyRootFilesystem"
    if (both.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "seccompProfile is not RuntimeDefault"


def _resources(given: Mapping[str, Any]) -> Iterator[str]:
    for part in ("requests", "limits"):
        for name in ("cpu", "memory"):
            if name not in (given.get(part) or {}):
                yield f"no {name} in {part}"
                return
    for name in ("cpu", "memory"):
        if quantity(given["requests"][name]) > quantity(given["limits"][name]):
            yield f"requests more {name} than its limit"


def quantity(text: str | int) -> float:
    """Cores or bytes of a quantity such as 500m or 2Gi."""
    number, unit = re.fullmatch(r"([0-9.]+)(\w*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) / 1000 if unit == "m" else float(number) * BYTES[unit]


def _environment(env: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for variable in env:
        if "value" in variable and CREDENTIAL.search(variable["name"]):
            yield f"{variable['name']} is a credential in plain text"


def _probes(container: Mapping[str, Any]) -> Iterator[str]:
    if missing := [
        name for name in ("startupProbe", "readinessProbe", "livenessProbe") if name not in container
    ]:
        yield f"no {', '.join(missing)}"


def _references(pod: Pod, built: Sequence[Object]) -> Iterator[str]:
    """Volumes, accounts, ConfigMaps and Secrets that are named and nowhere to be found."""
    volumes = {volume["name"] for volume in pod.spec.get("volumes", ())}
    if pod.partial:  # of the pods that it stands in
        volumes = set.intersection(*(_volumes(one) for one in pods(built) if one.kind == "ServingRuntime"))
    for container in pod.containers:
        for mount in container.get("volumeMounts", ()):
            claimed = pod.kind == "StatefulSet" and mount["name"] == "data"
            if mount["name"] not in volumes and not claimed:
                yield f"container {container['name']} mounts {mount['name']}, which is no volume"
    there = {(body["kind"], body["metadata"]["name"]) for body in built}
    account = pod.spec.get("serviceAccountName")
    if account and ("ServiceAccount", account) not in there:
        yield f"there is no ServiceAccount {account}"
    for kind, name in _named(pod):
        known = name in OUTSIDE_SECRETS if kind == "Secret" else (kind, name) in there
        if not known:
            yield f"there is no {kind} {name}"


def _volumes(pod: Pod) -> set[str]:
    return {volume["name"] for volume in pod.spec.get("volumes", ())}


def _named(pod: Pod) -> Iterator[tuple[str, str]]:
    for volume in pod.spec.get("volumes", ()):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    for container in pod.containers:
        for variable in container.get("env", ()):
            source = variable.get("valueFrom") or {}
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"]
            if "configMapKeyRef" in source:
                yield "ConfigMap", source["configMapKeyRef"]["name"]


def crd_problems(built: Sequence[Object]) -> tuple[list[str], set[str]]:
    """What the CRDs at hand refuse in custom resources, and the kinds for which there is none."""
    groups = {path.name.partition("_")[0] for path in crd_schemas.CRDS.glob("*.yaml")}
    found, unknown = [], set()
    for body in built:
        if is_core(body):
            continue
        if body["apiVersion"].partition("/")[0] not in groups:
            unknown.add(body["kind"])
            continue
        name = f"{body['kind']}/{body['metadata']['name']}"
        found += [f"{name}: {said}" for said in crd_schemas.problems(body)]
    return found, unknown


def main(out: Path) -> int:
    """Builds every overlay into `out`, checks it, says what was found, and returns the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in kustomized.OVERLAYS:
        try:
            text = kustomized.build(kustomized.MANIFESTS / "overlays" / name)
        except kustomized.BuildFailed as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        (out / f"{name}.yaml").write_text(text, encoding="utf-8")
        built = kustomized.objects(text)
        refused, unknown = crd_problems(built)
        found = [*problems(built), *core_problems(built), *refused]
        print(f"{out / name}.yaml: {len(built)} objects, {len(found)} problems")
        if unknown:
            print(f"  no CRD at hand for {', '.join(sorted(unknown))}")
        for said in found:
            print(f"  {said}", file=sys.stderr)
        failed = failed or bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
