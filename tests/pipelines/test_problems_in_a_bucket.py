"""Problems of a local run that are in a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mathloop.errors import BadConfig
from pipelines.cluster.problems import check_benchmarks, problems_url
from pipelines.local import round as local_round
from pipelines.profile import load_profile


def test_a_url_stays_one_and_its_content_is_what_a_resumed_run_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.jsonl").write_bytes(b"{}\n")

    @contextmanager
    def copy(location: Path) -> Iterator[Path]:
        assert local_round._location(location) == "s3://bucket/mine.jsonl"
        yield tmp_path / "mine.jsonl"

    monkeypatch.setattr("mathloop.storage.local_copy", copy)
    digest = hashlib.sha256(b"{}\n").hexdigest()
    assert local_round._digest(Path("s3://bucket/mine.jsonl")) == digest
    assert local_round._digest(tmp_path / "mine.jsonl") == digest
    assert local_round._location(Path("mine.jsonl")) == str(Path("mine.jsonl").absolute())


def test_the_digest_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1")
    before = local_round._digest(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"2")
    assert local_round._digest(tmp_path) != before


@pytest.mark.parametrize("name", ["p.jsonl", "p.parquet", "p.json", "p.csv", "p.jsonl.gz"])
def test_a_cluster_run_takes_every_format_that_a_local_one_does(name: str) -> None:
    assert problems_url(f"problems/{name}", "s3://b/store") == f"s3://b/store/problems/{name}"


def test_benchmarks_of_a_cluster_are_no_files_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_benchmarks(load_profile("tiny", ["benchmarks=[gsm8k, s3://b/own/sums.yaml]"]), "s3://b/store")
    with pytest.raises(
        BadConfig, match=r"benchmarks: /.*/sums.yaml: a run's pods cannot .* s3://b/store/ben"
    ):
        check_benchmarks(load_profile("tiny", ["benchmarks.exclude=[sums.yaml]"]), "s3://b/store")
