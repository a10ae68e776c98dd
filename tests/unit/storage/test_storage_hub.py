"""Data sets of the Hugging Face Hub, read from a stand-in for it (tests/hub_stand_in.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadConfig, BadData, Corrupt, StorageRefused, UserError
from mathloop.evaluation.benchmarks import find_benchmark, read_benchmark
from mathloop.problems import build
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.files import read_problem_file
from mathloop.problems.sources import read_source
from mathloop.records import read_problems
from mathloop.storage import hub as hub_module
from mathloop.storage import local_copy, pinned
from mathloop.storage.hub import parse_hub_url
from pipelines.cluster.problems import check_benchmarks, problems_url
from pipelines.commands.problems import problems
from pipelines.local import round as local_round
from pipelines.profile import load_profile
from tests.hub_stand_in import Repository, StandIn, running

constants = pytest.importorskip("huggingface_hub.constants")

OLD, NEW = "0" * 39 + "a", "0" * 39 + "b"
TEST = "".join(f'{{"question": "{n}+1?", "answer": "So #### {n + 1}"}}\n' for n in range(20)).encode()
TRAIN = b'{"question": "8+8?", "answer": "#### 16"}\n'
FILES = {
    "README.md": b"# Sums",
    "sums.py": b"raise SystemExit('code of a data set was run')",
    "main/test-00000-of-00001.jsonl": TEST,
    "main/train-00000-of-00001.jsonl": TRAIN,
    "socratic/test-00000-of-00001.jsonl": TRAIN,
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in with one data set, and an empty cache."""
    sums = Repository({OLD: FILES, NEW: {**FILES, "main/test-00000-of-00001.jsonl": TRAIN}}, {"main": OLD})
    stand_in = StandIn({"ada/sums": sums, "ada/closed": Repository({OLD: FILES}, {"main": OLD}, gated=True)})
    with running(stand_in):
        online(monkeypatch, stand_in.url, tmp_path / "cache")
        yield stand_in


def online(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path, *, offline: bool = False) -> None:
    """As HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE do in a new process."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HOME", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))


def questions(url: str, **settings: Any) -> list[str]:
    with local_copy(url) as path:
        return [problem.problem for problem in read_source(path, **settings)]


def test_a_data_set_is_read_by_name_revision_and_path(hub: StandIn) -> None:
    sums = [f"{n}+1?" for n in range(20)]
    for url in (
        f"hf://datasets/ada/sums@{OLD}/main",
        f"hf://ada/sums@{OLD}/main",
        "hf://datasets/ada/sums/main",
        "hf:/datasets/ada/sums@main/main",  # a Path has one slash less
    ):
        assert questions(url, split="test") == sums
    for path in ("main/test-*.jsonl", "main/test-00000-of-00001.jsonl"):
        assert questions(f"hf://datasets/ada/sums@{OLD}/{path}") == sums
    assert not [line for line in hub.requests if "README" in line or ".py" in line], "no code, no documents"
    with local_copy(f"hf://datasets/ada/sums@{OLD}/main") as path:
        first = next(iter(read_source(path, split="test")))
    assert (first.id, first.source, first.answer) == ("sums-1", "sums", "1")


def test_a_second_reading_sends_nothing_and_a_moved_branch_does_not_change_a_commit(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = pinned("hf://ada/sums/main/test-*")
    assert url == f"hf://datasets/ada/sums@{OLD}/main/test-*"
    assert len(questions(url)) == 20
    hub.repositories["ada/sums"].branches["main"] = NEW
    sent = len(hub.requests)
    assert len(questions(url)) == 20
    assert len(hub.requests) == sent
    record = json.loads((tmp_path / f"cache/mathloop/ada/sums/{OLD}.json").read_text())
    assert record["source"] == f"hf://datasets/ada/sums@{OLD}"
    assert set(record["files"]) == set(FILES)
    assert {len(digest) for digest in record["files"].values()} == {40, 64}, "of Git and of large files"
    assert questions("hf://ada/sums/main/test-*") == ["8+8?"], "the branch is looked up again"
    online(monkeypatch, "http://127.0.0.1:1", tmp_path / "cache", offline=True)
    assert len(questions(url)) == 20
    assert questions("hf://ada/sums@main/main/test-*") == ["8+8?"], "as it was at last time"
    with pytest.raises(
        StorageRefused, match=r"hf://datasets/ada/sums@.*train.*: not in the cache, and HF_HUB_OFF"
    ):
        questions(f"hf://ada/sums@{OLD}/main/train-00000-of-00001.jsonl")
    with pytest.raises(StorageRefused, match="not in the cache, and HF_HUB_OFFLINE"):
        questions("hf://ada/others")


@pytest.mark.parametrize("name", ["test", "train"])  # a large file, one that is in Git
def test_a_file_that_is_not_what_was_published_is_refused(hub: StandIn, tmp_path: Path, name: str) -> None:
    url = f"hf://datasets/ada/sums@{OLD}/main/{name}-00000-of-00001.jsonl"
    questions(url)
    with local_copy(url) as path:
        blob = path.resolve()
    blob.write_bytes(blob.read_bytes().replace(b"8", b"9"))
    with pytest.raises(Corrupt, match=rf"{name}-00000-of-00001.jsonl is not what was published .*; remove /"):
        questions(url)
    blob.unlink()
    assert questions(url)


def test_what_the_hub_changes_under_a_commit_is_refused(hub: StandIn) -> None:
    questions(f"hf://ada/sums@{OLD}/socratic")  # lists the commit
    hub.repositories["ada/sums"].commits[OLD]["main/test-00000-of-00001.jsonl"] = TEST.replace(b"1", b"2")
    with pytest.raises(Corrupt, match="is not what was published"):
        questions(f"hf://ada/sums@{OLD}/main", split="test")
    hub.repositories["ada/sums"].commits[OLD]["main/test-00000-of-00001.jsonl"] = TEST


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("hf://ada/none", BadData, "ada/none: there is no such data set, or it is private"),
        ("hf://ada/sums@v9", BadData, "ada/sums@v9: the data set has no revision v9"),
        (f"hf://ada/sums@{'f' * 40}/main", BadData, "the data set has no revision fff"),
        (f"hf://ada/closed@{OLD}/main", BadData, "given out after a login: .* HF_TOKEN"),
        (
            "hf://ada/sums/other",
            BadData,
            r"no data file of this name; it has main/test-00000-of-00001.jsonl, ",
        ),
        ("hf://ada", BadConfig, "hf://ada: expected hf://datasets/OWNER/NAME@REVISION/PATH"),
        ("hf://datasets/sums", BadConfig, "expected hf://datasets/OWNER/NAME@REVISION/PATH"),
        ("hf://models/ada/sums", BadConfig, "expected hf://datasets/OWNER/NAME@REVISION/PATH"),
        ("hf://ada/sums/../../x", BadConfig, "expected hf://datasets/OWNER/NAME@REVISION/PATH"),
        ("hf://ada/sums.git", BadConfig, "there can be no sums.git on the Hub"),
        ("hf://-ada/sums", BadConfig, "there can be no -ada on the Hub"),
        ("hf://ada/sums-", BadConfig, "there can be no sums- on the Hub"),
        ("hf://ada/su--ms", BadConfig, "there can be no su--ms on the Hub"),
        ("hf://.ada/sums", BadConfig, "there can be no .ada on the Hub"),
        (f"hf://../sums@{OLD}", BadConfig, "there can be no .. on the Hub"),
        (f"hf://ada/..@{OLD}", BadConfig, "there can be no .. on the Hub"),
        ("hf://ada/sums@..", BadConfig, "there can be no .. on the Hub"),
        (f"hf://ada/{'s' * 97}", BadConfig, "expected hf://datasets/OWNER/NAME@REVISION/PATH"),
    ],
)
def test_refusals_are_one_line(hub: StandIn, url: str, error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message) as refusal:
        questions(url)
    assert "\n" not in str(refusal.value)


def test_a_hub_that_is_away_is_one_line(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for url in ("http://127.0.0.1:1", "http://user:s3cret@127.0.0.1:1", "http://user:s3cret@127.0.0.1:1/hub"):
        online(monkeypatch, url, tmp_path / "cache")
        with pytest.raises(
            StorageRefused, match=r"ada/sums: 127.0.0.1 did not deliver it .*HF_HUB_OFFLINE=1"
        ) as refusal:
            questions("hf://ada/sums")
        assert "s3cret" not in str(refusal.value)
    told = hub_module._without_login("https://user:s3cret@h:9/x", "no https://user:s3cret@h:9/x/api")
    assert told == ("h", "no https://h:9/x/api")


def test_errors_name_the_url(hub: StandIn) -> None:
    hub.repositories["ada/sums"].commits[OLD] = {"data/train.jsonl": b'{"question": "1?"}\n'}
    with (
        pytest.raises(BadData, match=r"^hf://datasets/ada/sums/data/train.jsonl, row 1") as refusal,
        local_copy("hf://ada/sums") as path,
    ):
        list(read_problem_file(path))
    assert "tmp" not in str(refusal.value)


def test_a_round_and_a_benchmark_take_one_and_record_its_commit(
    hub: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = local_round._location(Path("hf://ada/sums@main/main/test-*"))
    assert location == f"hf://datasets/ada/sums@{OLD}/main/test-*", "a resumed run reads the same commit"
    out, held = tmp_path / "out.parquet", tmp_path / "held.parquet"
    config = ProblemsConfig(train=100, benchmark=100)
    build.run(problems_file=Path(location), out=out, benchmark=held, config=config, seed=0)
    assert len([*read_problems(out), *read_problems(held)]) == 20
    entry = tmp_path / "mine.yaml"
    entry.write_text(f"path: hf://datasets/ada/sums/main\nrevision: {OLD}\n")
    for name, wanted in ((str(entry), "mine/sums-1"), (f"hf://ada/sums@{OLD}/main", "sums/sums-1")):
        assert next(read_benchmark(find_benchmark(name))).id == wanted
    entry.write_text("path: hf://datasets/ada/sums/main\n")
    for name in (str(entry), "hf://ada/sums@main/main"):
        with pytest.raises(BadConfig, match=r"must not change: name the commit, hf://.*@COMMIT/main"):
            find_benchmark(name)
    problems(["hf://ada/sums@main/main/test-*"])
    assert f"hf://datasets/ada/sums@{OLD}/main/test-*" in capsys.readouterr().out


def test_a_cluster_refuses_one_and_says_what_to_do() -> None:
    with pytest.raises(
        BadConfig,
        match=r"do not reach the Hugging Face Hub; upload .*hf download --repo-type dataset ada/sums "
        r"--revision v1 .*aws s3 cp --recursive sums s3://b/store/problems/sums`, and name "
        r"s3://b/store/problems/sums/main/$",
    ):
        problems_url("hf://ada/sums@v1/main", "s3://b/store")
    for change in (f"benchmarks=[hf://ada/sums@{OLD}]", "problems.files=[{path: hf://ada/sums}]"):
        with pytest.raises(BadConfig, match="do not reach the Hugging Face Hub"):
            check_benchmarks(load_profile("tiny", [change]), "s3://b/store")
    assert parse_hub_url("hf://ada/sums@refs/convert/parquet/x").revision == "refs/convert/parquet"
