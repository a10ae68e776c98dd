"""Files as people name them: what is not a plain file is refused, and what replaces one does so whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mathloop.errors import BadData, StorageRefused
from mathloop.files import replacing
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
