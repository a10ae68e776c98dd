"""The corpus of two sources, from pages to the mixture: all drops are counted, a kill changes nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mathloop.corpus import build, steps
from mathloop.corpus.config import CorpusConfig
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.errors import BadData
from mathloop.records import Problem, read_documents, write_rows
from tests.unit.corpus.test_corpus_steps import HAY, MATH, prose

ITEM = "How many marbles does Ann have if she begins with 731 marbles, loses 112 and wins 45 in two games?"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CorpusConfig:
    monkeypatch.setattr(steps, "SHARD", 50)
    rng = random.Random(0)
    texts = [prose(MATH if i % 3 == 0 else HAY, rng) for i in range(150)]
    texts[1] = texts[0] + " again"
    texts[3] += f" {ITEM} " + prose(MATH, rng, 20)
    texts[6] += "\n\nExercise 1. Which number is the sum of 1 and 2?\n\nSolution. It is 3."
    pages = [f"<p>{text}</p>".replace("\n\n", "</p><p>") for text in texts]
    rows = [{"url": f"https://a{i % 3}.org/{i}", "html": page} for i, page in enumerate(pages)]
    write_rows(tmp_path / "web.parquet", rows)
    books = [{"problem": prose(MATH, rng, 30), "solution": prose(MATH, rng, 30)} for _ in range(30)]
    (tmp_path / "books.jsonl").write_text("".join(json.dumps(row) + "\n" for row in books))
    write_rows(tmp_path / "seeds.jsonl", [{"text": prose(MATH, rng)} for _ in range(40)])
    values = {
        "sources": [
            {"name": "web", "path": str(tmp_path / "web.parquet"), "weight": 3},
            {"name": "books", "path": str(tmp_path / "books.jsonl"), "kind": "text", "recall": False},
        ],
        "characters": 28_000,
        "extraction": {"main_content": False, "languages": []},
        "recall": {"seeds": [str(tmp_path / "seeds.jsonl")], "iterations": 1, "buckets": 1000},
        "questions": True,
    }
    return CorpusConfig.model_validate(values)


def run(config: CorpusConfig, folder: Path) -> list:
    return build.run(
        out=folder / "corpus.parquet",
        work=folder / "work",
        config=config,
        decontamination_config=DecontaminationConfig(),
        benchmarks=[Problem("b/1", ITEM, "664", source="b")],
        seed=0,
    )


def test_the_whole_corpus(config: CorpusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = run(config, tmp_path)
    assert [report.stage for report in reports] == [
        "corpus",
        "extraction of web",
        "recall of web",
        "extraction of books",
        "deduplication",
        "decontamination",
        "questions",
    ]
    whole = reports[0]
    assert whole.inputs == 180
    assert set(whole.dropped) >= {"not mathematical", "near-copy of an earlier document"}, whole.dropped
    assert whole.dropped["not mathematical"] >= 95
    assert whole.dropped["near-copy of an earlier document"] == 1
    assert sum(reports[5].dropped.values()) == 1
    documents = list(read_documents(tmp_path / "corpus.parquet"))
    assert not any("731 marbles" in one.text for one in documents)
    assert any(
        one.text == "Question: Which number is the sum of 1 and 2?\n\nAnswer: It is 3." for one in documents
    )
    assert whole.values["share of web"] == pytest.approx(0.75, abs=0.05)
    assert {one.source for one in documents} == {"web", "books"}

    # Killed in the middle: finished steps are not run again, and the result is the same.
    before = (tmp_path / "corpus.parquet").read_bytes()
    (tmp_path / "corpus.parquet").unlink()
    for name in ("decontamination", "questions"):
        (tmp_path / "work" / f"{name}.report.json").unlink()
    monkeypatch.setattr(build.recall, "run", None)
    again = run(config, tmp_path)
    assert (tmp_path / "corpus.parquet").read_bytes() == before
    assert [report.dropped for report in again] == [report.dropped for report in reports]


def test_a_corpus_of_which_nothing_is_left_is_refused(config: CorpusConfig, tmp_path: Path) -> None:
    strict = config.model_copy(
        update={"extraction": config.extraction.model_copy(update={"least_characters": 10**6})}
    )
    with pytest.raises(BadData, match="no document of any source is left"):
        run(strict, tmp_path)
    assert not (tmp_path / "corpus.parquet").exists()


def test_without_sources_it_is_the_nano_worlds(tmp_path: Path) -> None:
    (report,) = run(CorpusConfig(documents=20), tmp_path)
    assert report.generated == 20


def test_two_sources_of_one_name_are_refused() -> None:
    source = {"name": "web", "path": "p"}
    with pytest.raises(ValueError, match="two sources are named web"):
        CorpusConfig.model_validate({"sources": [source, source]})
