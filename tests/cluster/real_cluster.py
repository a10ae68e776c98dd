"""The cluster that KUBECONFIG names, as the cases see it: kubectl, our own layer, the command line."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from mathloop.cluster.kubernetes import Cluster
from tests.paths import ROOT

NAMESPACE = "mathloop"
QUEUE = "mathloop-test"
"""A queue of Kueue that cases make, and everything of it."""
RUNS = "kubeflow"
"""Namespace of KFP's API server and of its runs."""
CPU = ("--set", "deployment.runtimes=cpu", "--set", "deployment.vllm=false")
"""Options of commands that deploy, on a cluster without a GPU."""
MADE_BY_CASES = (
    "inferenceservices.serving.kserve.io",
    "trainjobs.trainer.kubeflow.org",
    "jobs.batch",
    "services",
    "pods",
    "configmaps",
    "serviceaccounts",
    "rolebindings.rbac.authorization.k8s.io",
    "localqueues.kueue.x-k8s.io",
)
"""Kinds in our namespace of which a case may leave something; controllers delete what these own."""

Found = TypeVar("Found")
Object = dict[str, Any]


class RealCluster:
    """One cluster; every command has a time limit, so that a hang is a failure."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self._kubectl = shutil.which("kubectl", path=path) or "kubectl"

    def kubectl(
        self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None, seconds: float = 300
    ) -> str:
        """The command's output; raises AssertionError with its message."""
        done = self._run([self._kubectl, *arguments], stdin, kubeconfig, seconds)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def mathloop(
        self, *arguments: str, kubeconfig: Path | None = None, seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """`mathloop` as a user calls it; the exit code is the case's to judge."""
        return self._run([sys.executable, "-m", "pipelines.cli", *arguments], "", kubeconfig, seconds)

    def log_in(self, path: Path, user: Object) -> Path:
        """Writes a kubeconfig of this cluster with another user."""
        view = self.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
        config = json.loads(view)
        config["users"][0]["user"] = user
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def apply(self, *objects: Object) -> None:
        """Server-side, as `kubectl apply` would of a file."""
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=body)

    def items(self, resource: str, namespace: str | None = NAMESPACE, labels: str = "") -> list[Object]:
        """Objects of a kind, by its plural and group; [] where the cluster does not have the kind."""
        if not self.has(resource):
            return []
        place = ["-n", namespace] if namespace else []
        chosen = ["-l", labels] if labels else []
        return list(json.loads(self.kubectl("get", resource, *place, *chosen, "-o", "json"))["items"])

    @functools.cache  # noqa: B019  (one cluster per session)
    def has(self, resource: str) -> bool:
        """Whether the API server serves the kind."""
        group = resource.partition(".")[2]
        names = self.kubectl("api-resources", f"--api-group={group}", "-o", "name").split()
        return resource in names

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server has the kind of a manifest."""
        group, _, version = api_version.rpartition("/")
        place = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            found = json.loads(self.kubectl("get", "--raw", place))["resources"]
        except AssertionError:
            return False
        return any(one["kind"] == kind for one in found)

    @property
    def version(self) -> str:
        return str(json.loads(self.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"])

    @property
    def api(self) -> Cluster:
        """Our own layer, connected as every command of ours connects."""
        return Cluster.connect()

    def has_kfp(self) -> bool:
        names = [one["metadata"]["name"] for one in self.items("services", RUNS)]
        return "ml-pipeline" in names and bool(self.items("pods", RUNS, "app=ml-pipeline"))

    def leftovers(self) -> set[tuple[str, str]]:
        """(kind, name) of everything in our namespace that a case can make and no controller owns."""
        kinds = ",".join(filter(self.has, MADE_BY_CASES))
        return {
            (one["kind"], one["metadata"]["name"])
            for one in json.loads(self.kubectl("get", kinds, "-n", NAMESPACE, "-o", "json"))["items"]
            if not one["metadata"].get("ownerReferences")
        }

    @contextlib.contextmanager
    def forwarded(self, target: str, port: int, namespace: str = NAMESPACE) -> Iterator[str]:
        """The URL at which a port of `service/NAME` or `pod/NAME` answers on this machine."""
        process = subprocess.Popen(
            [self._kubectl, "port-forward", f"--namespace={namespace}", target, f":{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(None),
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            local = re.search(r"127\.0\.0\.1:(\d+)", first)
            assert local, f"kubectl port-forward {target}: {first.strip()}"
            yield f"http://127.0.0.1:{local[1]}"
        finally:
            process.kill()
            process.wait()

    def _run(
        self, command: list[str], stdin: str, kubeconfig: Path | None, seconds: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self._environment(kubeconfig),
            timeout=seconds,
            check=False,
        )

    def _environment(self, kubeconfig: Path | None) -> dict[str, str]:
        ours = {"KUBECONFIG": str(kubeconfig or self.kubeconfig), "PYTHONPATH": str(ROOT)}
        return {"MATHLOOP_IMAGE_VARIANT": "cpu", **os.environ, **ours}


def until(what: str, seconds: float, look: Callable[[], Found | None]) -> Found:
    """The first answer of `look` that is neither None nor False; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(1)
