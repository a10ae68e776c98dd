"""Files as people name them: what is not a regular file is refused, and what replaces one does so whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mathloop.errors import BadData, StorageRefused
from mathloop.files import content_digest, filled, replacing, replacing_folder, write_file
from mathloop.records import read_rows, write_rows

ODD: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a named pipe": os.mkfifo,
    "Too many levels of symbolic links": lambda path: path.symlink_to(path),
    "File name too long": lambda path: path.with_name("x" * 256 + path.suffix),
    "NUL": lambda path: Path(f"{path}\0.jsonl"),
    "not UTF-8": lambda path: path.with_name("\udcff.jsonl"),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ""])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_a_plain_file_is_neither_read_nor_replaced(tmp_path: Path, odd: str, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    made = ODD[odd](path)
    path = made if isinstance(made, Path) else path
    if odd == "not UTF-8":
        path.touch()
    before = [(entry.name, entry.lstat().st_mode) for entry in tmp_path.iterdir()]
    with pytest.raises(BadData, match=odd) as unread:
        read_rows(path)
    with pytest.raises(StorageRefused, match=odd) as unwritten:
        write_rows(path, [{"n": 1}])
    assert "\n" not in f"{unread.value}{unwritten.value}"
    assert [(entry.name, entry.lstat().st_mode) for entry in tmp_path.iterdir()] == before


def test_a_file_whose_reading_fails_is_one_line() -> None:
    for name in ("/proc/self/mem", "/proc/self/task"):
        with pytest.raises(BadData, match=f"{name}: cannot be read"):
            list(read_rows(Path(name)))


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.jsonl").symlink_to("real/data")
    for n in (1, 2):
        write_rows(tmp_path / "link.jsonl", [{"n": n}])
        assert (tmp_path / "link.jsonl").is_symlink()
        assert list(read_rows(tmp_path / "link.jsonl")) == [{"n": n}]
    assert os.listdir(tmp_path / "real") == ["data"]


def test_a_replaced_file_has_the_usual_mode_and_its_neighbors_stay(tmp_path: Path) -> None:
    usual = tmp_path / "data.jsonl.partial"
    usual.write_text("somebody's")
    write_rows(tmp_path / "data.jsonl", [{"n": 1}])
    assert stat.S_IMODE((tmp_path / "data.jsonl").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    assert usual.read_text() == "somebody's"


def test_a_failure_takes_away_the_folders_that_were_made_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()

    def fail() -> None:
        with replacing(tmp_path / "old" / "new" / "deep" / "data") as partial:
            assert partial.name.startswith(".mathloop-")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    for content in ("one", "two"):
        with replacing_folder(target, durable=True) as partial:
            (partial / content).write_text(content)
            assert target.exists() == (content == "two")
        assert names(target) == [content]
    (tmp_path / "file").write_text("in the way")
    with replacing_folder(tmp_path / "file"):
        pass
    assert names(tmp_path / "file") == []
    assert names(tmp_path) == ["file", "new"]
    assert names(tmp_path / "new") == ["model"]


def test_a_folder_whose_body_fails_stays_as_it_was(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("old")

    def fail(name: str) -> None:
        with replacing_folder(tmp_path / name) as partial:
            (partial / "weights").write_text("new")
            raise KeyboardInterrupt

    for name in ("model", "other", "new/folders"):
        with pytest.raises(KeyboardInterrupt):
            fail(name)
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "old"


def test_a_folder_that_cannot_be_put_in_place_gives_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replacing_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("old")
    replace = os.replace
    moves: list[str] = []

    def refuse_the_third(source: Path, target: Path) -> None:
        moves.append(source.name)
        if len(moves) == 3:
            raise OSError("refused")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_third)
    with pytest.raises(StorageRefused, match="model: refused"), replacing_folder(tmp_path / "model"):
        pass
    assert len(moves) == 4
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "old"


KILLED = """
import os, sys
from pathlib import Path
from mathloop.files import replacing, replacing_folder
with {replacing}(Path(sys.argv[1])) as partial:
    ({inside}).write_text("half")
    print(partial.name, flush=True)
    sys.stdin.read()
    os._exit(9)
"""


@pytest.mark.parametrize(
    ("replacing", "inside"), [("replacing", "partial"), ("replacing_folder", "partial / 'inside'")]
)
def test_what_a_killed_process_left_goes_with_the_next_replacement_and_not_before(
    tmp_path: Path, replacing: str, inside: str
) -> None:
    target = tmp_path / "data"
    code = KILLED.format(replacing=replacing, inside=inside)
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    half = writer.stdout.readline().strip()
    write_file(target, b"whole")
    assert names(tmp_path) == [half, "data"]  # its writer lives
    writer.communicate("")
    assert writer.returncode == 9
    write_file(tmp_path / "other", b"x")
    assert half in names(tmp_path)  # another file's
    write_file(target, b"again")
    assert names(tmp_path) == ["data", "other"]
    assert target.read_bytes() == b"again"


def test_writers_of_one_file_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from mathloop.files import write_file
for _ in range(200):
    write_file(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "data"), letter]) for letter in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert names(tmp_path) == ["data"]
    assert len(set((tmp_path / "data").read_bytes())) == 1


def test_a_digest_may_leave_hidden_files_out_and_an_empty_folder_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert filled(folder) is None
    folder.mkdir()
    assert filled(folder) is None
    (folder / "weights").write_bytes(b"1")
    assert filled(folder) == folder
    before = content_digest(folder), content_digest(folder, hidden=False)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_bytes(b"2")
    assert content_digest(folder) != before[0]
    assert content_digest(folder, hidden=False) == before[1]
    (folder / "weights").write_bytes(b"2")
    assert content_digest(folder, hidden=False) != before[1]
