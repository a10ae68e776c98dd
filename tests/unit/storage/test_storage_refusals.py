"""Disks, servers and settings that refuse: one line, soon, without secrets."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mathloop.errors import Corrupt, StorageRefused
from mathloop.storage import Store, Taken, open_store, s3

WRONG_SECRET = "wrong-secret-that-no-message-may-hold"


def refused(use: Callable[[], object]) -> str:
    """The one line with which `use` is refused, without credentials, in the traceback too."""
    with pytest.raises(StorageRefused) as caught:
        use()
    shown = "".join(traceback.format_exception(caught.value))
    secrets = [os.environ.get(name, "").strip() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    for secret in [*filter(None, secrets), "X-Amz-Signature", "user:password"]:
        assert secret not in shown
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def uses(place: Store, folder: Path) -> list[Callable[[], object]]:
    (folder / "source").write_text("x")
    return [
        place.check_writable,
        lambda: place.publish(folder / "source", "a/b"),
        lambda: place.append("champion", 0, b"x"),
    ]


def test_a_writable_store_is_left_as_it_was(store_url: str) -> None:
    place = open_store(store_url)
    place.append("champion", 0, b"x")
    before = sorted(place._objects.keys(""))
    place.check_writable()
    assert sorted(place._objects.keys("")) == before


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    for url in (tmp_path / "store", tmp_path / "store" / "below", Path("/proc/none")):
        for use in uses(open_store(str(url)), tmp_path):
            assert refused(use).startswith(f"{url}: ")


def test_a_log_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "_logs").symlink_to("_logs")
    place = open_store(str(tmp_path))
    assert refused(lambda: list(place.read_log("champion"))).startswith(f"{tmp_path}: ")


MADE: dict[str, Callable[[Path], object]] = {
    "file": Path.touch,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "dangling link": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize(
    ("where", "made"),
    [
        *((where, made) for where in ("_logs", "_logs/champion") for made in MADE if made != "folder"),
        *(("_logs/champion/000000000000", made) for made in MADE if made != "file"),
    ],
)
def test_something_else_in_a_logs_place_is_not_taken_for_an_empty_log(
    tmp_path: Path, where: str, made: str
) -> None:
    place = open_store(str(tmp_path))
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    MADE[made](tmp_path / where)
    with pytest.raises((StorageRefused, Corrupt)) as caught:
        list(place.read_log("champion"))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("made", ["file", "pipe", "dangling link"])
@pytest.mark.parametrize("name", ["_probe", "_unfinished"])
def test_a_check_that_fails_leaves_the_folder_as_it_was(tmp_path: Path, name: str, made: str) -> None:
    MADE[made](tmp_path / name)
    assert "choose another folder" in refused(open_store(str(tmp_path)).check_writable)
    assert os.listdir(tmp_path) == [name]


def test_a_check_that_fails_half_way_takes_the_store_away_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    assert "hard links" in refused(open_store(str(tmp_path / "new" / "store")).check_writable)
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_way_of_a_fetch(tmp_path: Path) -> None:
    place = open_store((tmp_path / "store").as_uri())
    (tmp_path / "file").write_text("x")
    place.publish(tmp_path / "file", "a")
    assert "a file is where a folder should be" in refused(
        lambda: place.fetch("a", tmp_path / "file" / "copy")
    )


FULL_DISK = """
import resource, sys
from pathlib import Path
from mathloop.errors import StorageRefused
from mathloop.storage import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
place = open_store(sys.argv[2])
try:
    getattr(place, sys.argv[3])(*map(eval, sys.argv[4:]))
except StorageRefused as error:
    print(error)
"""


def test_a_disk_that_runs_full_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the file's size stands in for a full disk."""
    (tmp_path / "source").write_bytes(b"x" * 300_000)
    place = open_store(str(tmp_path / "store"))
    place.publish(tmp_path / "source", "whole")
    (tmp_path / "new").mkdir()
    calls = [
        ("100000", "publish", f"Path({str(tmp_path / 'source')!r})", "'other'"),
        ("100000", "append", "'log'", "0", "b'x' * 200_000"),
        ("10", "append", "'log'", "0", "b'x' * 100"),
        ("100000", "fetch", "'whole'", f"Path({str(tmp_path / 'new' / 'copy')!r})"),
    ]
    for limit, *call in calls:
        command = [sys.executable, "-c", FULL_DISK, limit, place.url, *call]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "choose a disk that takes files of this size" in answer
        assert answer.count("\n") == 1
    assert list(place.names()) == ["whole"]
    assert list(place.read_log("log")) == []
    assert os.listdir(tmp_path / "store" / "_unfinished") == os.listdir(tmp_path / "new") == []


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(
    s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, WRONG_SECRET)
    place = open_store("s3://mathloop/team")
    reads: list[Callable[[], object]] = [
        lambda: place.exists("a"),
        lambda: list(place.names()),
        lambda: list(place.read_log("champion")),
        lambda: place.fetch("a", tmp_path / "copy"),
    ]
    for use in [*uses(place, tmp_path), *reads]:
        assert "access denied; check AWS_ACCESS_KEY_ID" in refused(use)


@pytest.mark.parametrize("variable", ["MATHLOOP_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_variable_that_is_not_set(s3: object, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for value in ("", " "):
        monkeypatch.setenv(variable, value)
        assert variable in refused(lambda: open_store("s3://mathloop/team"))
    monkeypatch.delenv(variable)
    assert variable in refused(lambda: open_store("s3://mathloop/team"))


def test_endpoints_that_are_none(s3: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in (
        "127.0.0.1:9000",
        "s3://x",
        "http://",
        "http://user:password@127.0.0.1:1",
        "http://a/b",
        "http://a:x",
        "http://[::1",
    ):
        monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", endpoint)
        assert "MATHLOOP_S3_ENDPOINT" in refused(lambda: open_store("s3://mathloop"))


def test_urls_that_are_no_store(s3: object) -> None:
    for url in (
        "",
        " ",
        "gs://bucket",
        "https://x/y",
        "s3://",
        "s3://UPPER",
        "s3://user:password@bucket",
        "s3://b?x",
        "a\0",
        "\u200b",
        "s3://[::1",
        "http://[bad",
        "file:relative",
        "s3:bucket",
        "file://",
        "file:///dev/null/a%00b",
        "file:///a#b",
        "file:///a?b",
        "s3://bucket/a#b",
    ):
        assert "is not a store; expected a folder, file:///folder or s3://bucket/prefix" in refused(
            lambda url=url: open_store(url)  # type: ignore[misc]
        )
    for prefix in ("../other", "x" * 100_000):
        line = refused(lambda prefix=prefix: open_store(f"s3://bucket/{prefix}"))  # type: ignore[misc]
        assert "cannot name" in line
        assert len(line) < 300
    assert open_store("s3://bucket/a/b/").url == "s3://bucket/a/b"
    assert open_store("file:///a%20b").url == "/a b"


@pytest.mark.parametrize("region", ["bad region!", "-x", "x" * 70, "a\nb"])
def test_a_region_that_is_none(s3: object, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("MATHLOOP_S3_REGION", region)
    assert "MATHLOOP_S3_REGION" in refused(lambda: open_store("s3://mathloop"))
    monkeypatch.setenv("MATHLOOP_S3_REGION", " ")
    open_store("s3://mathloop").check_writable()


def test_a_server_that_is_not_there(s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", "http://127.0.0.1:1")
    place = open_store("s3://mathloop")
    for use in [*uses(place, tmp_path), lambda: list(place.names()), lambda: place.exists("a")]:
        assert "no S3 server at http://127.0.0.1:1 (connection refused)" in refused(use)


def test_a_server_with_another_name_or_without_tls(s3: object, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.environ["MATHLOOP_S3_ENDPOINT"]
    faults = (
        ("http://no-such.invalid:9000", "unknown host name"),
        (plain.replace("http", "https"), "TLS failed"),
    )
    for endpoint, said in faults:
        monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", endpoint)
        for use in (
            open_store("s3://mathloop").check_writable,
            lambda: open_store("s3://mathloop").exists("a"),
        ):
            assert f"no S3 server at {endpoint} ({said}" in refused(use)


class Scripted(BaseHTTPRequestHandler):
    """A server with one fault, which a real one shows too seldom to be tested."""

    fault = ""
    objects: dict[str, bytes] = {}  # noqa: RUF012
    puts = 0
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        kind = type(self)
        kind.puts += 1
        data = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0]
        if kind.fault == "silent":
            time.sleep(1)
        elif kind.fault == "ignores conditions":
            self.reply(200)
        elif kind.fault == "full":
            self.reply(507, "XMinioStorageFull")
        elif kind.fault == "no bucket":
            self.reply(404, "NoSuchBucket")
        elif kind.fault == "says taken":
            self.reply(412, "PreconditionFailed")
        elif kind.fault == "no S3":
            self.reply(404)
        elif path in kind.objects:
            self.reply(412, "PreconditionFailed")
        elif kind.fault == "conflict" and kind.puts < 3:
            self.reply(409, "ConditionalRequestConflict")
        else:
            kind.objects[path] = data
            if kind.fault == "loses answers" and kind.puts == 1:
                self.close_connection = True
            elif kind.fault == "fails after writing" and kind.puts == 1:
                self.reply(500, "InternalError")
            else:
                self.reply(200)

    def do_GET(self) -> None:
        if type(self).fault == "no bucket":
            self.reply(404, "NoSuchBucket")
        else:
            self.reply(200, data=type(self).objects[self.path])

    def do_DELETE(self) -> None:
        self.reply(204)

    def reply(self, status: int, code: str = "", data: bytes = b"") -> None:
        body = f"<Error><Code>{code}</Code></Error>".encode() if code else data
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Store]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("MATHLOOP_S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-that-no-message-may-hold")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRONG_SECRET)

    def open_with(fault: str) -> Store:
        Scripted.fault, Scripted.puts, Scripted.objects = fault, 0, {}
        return open_store("s3://mathloop/team")

    yield open_with
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("ignores conditions", "ignores If-None-Match"),
        ("says taken", "reports that a new name is already taken; use a server with conditional writes"),
        ("full", "no space left"),
        ("no bucket", "there is no such bucket"),
        ("no S3", "the answer is not from an S3 server"),
        ("silent", "did not answer in time"),
    ],
)
def test_a_server_that_will_not_do_is_found_by_the_probe(
    faulty: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    monkeypatch.setattr(s3, "CREATE_READ_SECONDS", 0.2)
    assert said in refused(faulty(fault).check_writable)


@pytest.mark.parametrize("fault", ["loses answers", "fails after writing"])
def test_an_entry_whose_answer_was_lost_is_still_its_writers(
    faulty: Callable[[str], Store], fault: str
) -> None:
    place = faulty(fault)
    place.append("champion", 0, b"mine")
    assert list(Scripted.objects.values()) == [b"mine"]
    assert Scripted.puts == 2
    with pytest.raises(Taken):
        place.append("champion", 0, b"mine")


def test_an_entry_that_another_wrote_while_the_answer_was_lost_is_theirs(
    faulty: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = faulty("loses answers")
    monkeypatch.setattr(
        s3.time, "sleep", lambda _: Scripted.objects.update(dict.fromkeys(Scripted.objects, b"theirs"))
    )
    with pytest.raises(Taken):
        place.append("champion", 0, b"mine")


def test_a_conflict_of_two_writers_is_tried_again(faulty: Callable[[str], Store]) -> None:
    faulty("conflict").append("champion", 0, b"mine")
    assert Scripted.puts == 3
