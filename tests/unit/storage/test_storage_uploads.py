"""Data sets that a user uploaded are read by their URL, and errors name that URL."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster import preflight
from mathloop.errors import BadData, StorageRefused
from mathloop.problems import build
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.sources import read_source
from mathloop.records import read_problems
from mathloop.storage import local_copy
from mathloop.storage.s3 import S3Objects

ROWS = "".join(f'{{"problem": "{n}+1?", "answer": "{n + 1}"}}\n' for n in range(20))


@pytest.fixture
def folder(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A prefix of the bucket; temporary files are in an empty folder."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return f"s3://mathloop/data-{uuid.uuid4().hex}"


def upload(url: str, text: str) -> None:
    """As any S3 client does it: no manifest, no checksum."""
    import io

    data = text.encode()
    bucket, _, key = url.removeprefix("s3://").partition("/")
    S3Objects(bucket, "")._client.put_object(bucket, key, io.BytesIO(data), len(data))


def test_problems_are_read_from_a_bucket_and_nothing_stays_behind(folder: str, tmp_path: Path) -> None:
    url = f"{folder}/math/train.jsonl"
    upload(url, ROWS + '{"problem": "9+9?"}\n')
    out, held = tmp_path / "out.parquet", tmp_path / "held.parquet"
    config = ProblemsConfig(train=100, benchmark=100, rejects_share=0.2)
    # A component passes a Path, which has one slash less.
    report = build.run(problems_file=Path(url), out=out, benchmark=held, config=config, seed=0)
    assert sorted(p.problem for file in (out, held) for p in read_problems(file)) == sorted(
        f"{n}+1?" for n in range(20)
    )
    assert report.notes[0] == "layout problem-answer: 20 rows"
    assert report.notes[1].startswith("train.jsonl, row 21, field 'answer': missing; ")
    assert all(problem.id.startswith("math-") for problem in read_problems(out))
    assert preflight._digest(url) == hashlib.sha256((ROWS + '{"problem": "9+9?"}\n').encode()).hexdigest()
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_folder_of_a_bucket_is_read_as_one(folder: str, tmp_path: Path) -> None:
    for part in (1, 2):
        upload(f"{folder}/set/train-0000{part}-of-00002.jsonl", ROWS.replace("+1?", f"+1? ({part})"))
    with local_copy(Path(f"{folder}/set/")) as copy:
        problems = list(read_source(copy))
    assert len(problems) == 40
    assert {problem.source for problem in problems} == {"set"}
    assert len(preflight._digest(f"{folder}/set/")) == 64
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_errors_name_the_object(folder: str, tmp_path: Path) -> None:
    url = f"{folder}/train.jsonl"
    with pytest.raises(BadData, match=f"^{url}: there is no such object; upload it"):
        preflight._digest(url)
    upload(url, "broken\n" * 3)
    with pytest.raises(BadData, match=f"^{url}, row 1: not JSON"):
        build.run(
            problems_file=Path(url),
            out=tmp_path / "out.parquet",
            benchmark=tmp_path / "held.parquet",
            config=ProblemsConfig(),
            seed=0,
        )
    with pytest.raises(StorageRefused, match="no such bucket"), local_copy("s3://nobucket/a.jsonl"):
        pass


def test_a_file_of_this_machine_is_itself(tmp_path: Path) -> None:
    with local_copy(tmp_path / "a.jsonl") as path:
        assert path == tmp_path / "a.jsonl"
