"""Every step streams, says what it dropped and why, and writes the same bytes after a kill."""

from __future__ import annotations

import json
import os
import random

import pytest

from mathloop.corpus import deduplication, extraction, quality, questions, recall, steps
from mathloop.corpus.classifier import Classifier, line_of, train
from mathloop.corpus.config import DeduplicationConfig, ExtractionConfig, QualityConfig, RecallConfig
from mathloop.errors import BadData, Corrupt
from mathloop.records import Document, read_documents, write_documents, write_rows
from tests.unit.decontamination.test_minhash import near_copy

HAY_WORDS = "shop order cart price customer login page file function return value error trait struct string"
MATH_WORDS = "theorem proof sum equation triangle angle square root integral number solve area prime factor"
ALGEBRA_WORDS = "group ring ideal module field homomorphism kernel lattice monoid functor sheaf scheme"
HAY, MATH, ALGEBRA = HAY_WORDS.split(), MATH_WORDS.split(), ALGEBRA_WORDS.split()


def prose(words: list[str], rng: random.Random, length: int = 60) -> str:
    return " ".join(rng.choices([*words, "the", "of", "is", "a"], k=length))


@pytest.fixture(scope="module")
def haystack() -> list[Document]:
    """Every tenth is mathematical; every twentieth in words that no seed has, on hosts of mathematics."""
    rng = random.Random(0)
    documents = []
    for number in range(600):
        if number % 10:
            text, host = prose(HAY, rng), f"shop{number % 7}.com"
        else:
            mixed = number % 20 and number % 40 != 30
            text, host = prose(ALGEBRA if mixed else MATH, rng), f"math{number % 3}.org"
        documents.append(Document(str(number), text, f"https://www.{host}/{number}"))
    return documents


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(steps, "SHARD", 50)
    monkeypatch.setattr(recall, "PART", 150)
    monkeypatch.setattr(deduplication, "PART", 200)
    monkeypatch.setattr(deduplication, "KEYS", 5_000)


def killed_everywhere(run, out, monkeypatch) -> None:
    """Runs a step that is killed at each of its first writes in turn; compares it with one that was not."""
    from mathloop import files

    run()
    whole, replace, count = out.read_bytes(), os.replace, 0
    out.unlink()

    def counted(*arguments):
        nonlocal count
        count += 1
        replace(*arguments)
        if count in (2, 5, 9):
            raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", counted)
    for _ in range(10):
        try:
            run()
            break
        except KeyboardInterrupt:
            assert not out.exists() or out.read_bytes() == whole
    monkeypatch.setattr(files.os, "replace", replace)
    assert count > 2
    assert out.read_bytes() == whole
    assert not list(out.parent.glob(".mathloop*"))


def test_recall_learns_a_kind_of_mathematics_that_the_seeds_do_not_have(
    tmp_path, haystack, small_shards, monkeypatch
):
    rng = random.Random(1)
    write_documents(tmp_path / "documents.parquet", haystack)
    write_rows(tmp_path / "seeds.jsonl", ({"text": prose(MATH, rng)} for _ in range(40)))
    seen: dict[int, int] = {}
    is_math = [number % 10 == 0 for number in range(len(haystack))]

    def run(observe=None):
        return recall.run(
            documents=tmp_path / "documents.parquet",
            seeds=[tmp_path / "seeds.jsonl"],
            out=tmp_path / "out.jsonl",
            dropped=tmp_path / "dropped.jsonl",
            config=RecallConfig(iterations=2, buckets=1000, host_share=0.3, host_score=0.0),
            observe=observe,
        )

    report = run(lambda iteration, scores: seen.__setitem__(iteration, int((scores[is_math] >= 0.5).sum())))
    assert seen[1] < 0.8 * sum(is_math)
    assert seen[2] > 0.95 * sum(is_math)
    assert report.values["mathematical hosts, iteration 2"] == 3
    assert report.values["hosts"] == 10
    kept = [int(document.id) for document in read_documents(tmp_path / "out.jsonl")]
    assert sum(number % 10 == 0 for number in kept) >= 0.95 * len(kept)
    dropped = list(map(json.loads, (tmp_path / "dropped.jsonl").read_text().splitlines()))
    assert len(dropped) == report.dropped["not mathematical"] == len(haystack) - len(kept)
    killed_everywhere(run, tmp_path / "out.jsonl", monkeypatch)


def test_recall_without_seeds_or_documents(tmp_path, haystack):
    write_documents(tmp_path / "documents.parquet", haystack[:5])
    write_documents(tmp_path / "none.parquet", [])
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"text": "theorem"}\n')
    arguments = {"out": tmp_path / "out.jsonl", "dropped": None, "config": RecallConfig(iterations=1)}
    with pytest.raises(BadData, match="no documents"):
        recall.run(documents=tmp_path / "none.parquet", seeds=[seeds], **arguments)
    with pytest.raises(BadData, match="no seeds"):
        recall.run(documents=tmp_path / "documents.parquet", seeds=[tmp_path / "none.parquet"], **arguments)
    assert sorted(os.listdir(tmp_path)) == ["documents.parquet", "none.parquet", "seeds.jsonl"]


def test_a_changed_or_cut_classifier_is_not_loaded(tmp_path):
    path = tmp_path / "model.bin"
    config = RecallConfig(buckets=100, dimensions=4)
    rows = [(True, "a theorem of sums"), (False, "a shop of carts")] * 20
    train(path, rows, config)
    first = path.read_bytes()
    assert Classifier(path).scores(["a theorem", "shop carts", ""])[2] == 0
    train(path, rows, config)
    assert path.read_bytes() == first
    path.write_bytes(first[: len(first) // 2])  # fastText itself loads this, and scores everything 0.5
    with pytest.raises(Corrupt, match="not the classifier that was trained"):
        Classifier(path)


def test_no_text_contains_a_label():
    assert line_of("__label__math x_1 = 12,345 \\frac 解") == "label math x 0 = 00 , 000 \\frac 解"


def test_deduplication_finds_planted_copies_and_keeps_the_first(tmp_path, small_shards, monkeypatch):
    rng = random.Random(3)
    words = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
    texts = [rng.choices(words, k=80) for _ in range(400)]
    copies = [near_copy(words_, 0.8, rng) for words_ in texts[:100]]
    documents = [Document(f"d{i}", " ".join(text)) for i, text in enumerate([*texts, *copies])]
    documents += [Document(f"same{i}", documents[0].text) for i in range(50)]
    write_documents(tmp_path / "documents.jsonl", documents)

    def run():
        return deduplication.run(
            documents=tmp_path / "documents.jsonl",
            out=tmp_path / "out.jsonl",
            dropped=tmp_path / "dropped.jsonl",
            config=DeduplicationConfig(),
        )

    report = run()
    kept = {document.id for document in read_documents(tmp_path / "out.jsonl")}
    assert {f"d{i}" for i in range(400)} <= kept
    assert len(kept) <= 405
    assert report.dropped == {"near-copy of an earlier document": 550 - len(kept)}
    killed_everywhere(run, tmp_path / "out.jsonl", monkeypatch)


def test_extraction_drops_with_reasons_and_resumes(tmp_path, small_shards, monkeypatch):
    body = "<p>Let <math><msup><mi>x</mi><mn>2</mn></msup></math> be a number of the sum. " * 6
    german = "<p>Dies ist ein deutscher Text über die Summe von Quadraten und Dreiecken. " * 6
    pages = [body, "<p>short", german, "<div>" * 900]
    rows = [{"url": f"https://a.org/{i}", "html": pages[i % 4] + str(i)} for i in range(200)]
    write_rows(tmp_path / "pages.parquet", rows)

    def run():
        return extraction.run(
            pages=tmp_path / "pages.parquet",
            out=tmp_path / "out.jsonl",
            dropped=tmp_path / "dropped.jsonl",
            config=ExtractionConfig(),
            source="web",
        )

    report = run()
    reasons = ("too little text", "another language", "elements nested too deep")
    assert report.dropped == dict.fromkeys(reasons, 50)
    first = next(read_documents(tmp_path / "out.jsonl"))
    assert first.text.startswith("Let $x^2$ be a number")
    assert (first.url, first.source, first.id) == ("https://a.org/0", "web", "https://a.org/0")
    killed_everywhere(run, tmp_path / "out.jsonl", monkeypatch)


def test_pages_in_a_folder_and_wrong_input(tmp_path):
    folder = tmp_path / "pages" / "host.org"
    folder.mkdir(parents=True)
    (folder / "a.html").write_bytes("<p>Größe ".encode("latin-1") + b"is the sum of numbers. " * 20)
    pages = list(extraction.read_pages(tmp_path / "pages"))
    assert [page.url for page in pages] == ["file://host.org/a.html"]
    assert "Größe" in pages[0].html
    (tmp_path / "empty").mkdir()
    arguments = {"out": tmp_path / "out.jsonl", "dropped": None, "config": ExtractionConfig()}
    with pytest.raises(BadData, match="no page"):
        extraction.run(pages=tmp_path / "empty", **arguments)
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(BadData, match="row 1, field 'html': expected the page's HTML"):
        extraction.run(pages=tmp_path / "rows.jsonl", **arguments)
    assert sorted(os.listdir(tmp_path)) == ["empty", "pages", "rows.jsonl"]


def test_quality_is_distilled_into_a_linear_model(tmp_path, small_shards, monkeypatch):
    rng = random.Random(5)
    documents = [Document(str(i), prose(MATH if i % 2 else HAY, rng)) for i in range(300)]
    write_documents(tmp_path / "documents.jsonl", documents)
    asked: list[str] = []

    def scorer(texts):
        asked.extend(texts)
        return [sum(word in MATH for word in text.split()) / 10 for text in texts]

    def run():
        return quality.run(
            documents=tmp_path / "documents.jsonl",
            out=tmp_path / "out.jsonl",
            dropped=None,
            config=QualityConfig(sample=150, keep=0.5),
            scorer=scorer,
        )

    report = run()
    assert len(asked) == 150
    assert report.values["correlation of the linear model"] > 0.9
    kept = list(read_documents(tmp_path / "out.jsonl"))
    assert 120 < len(kept) < 180
    assert all(int(document.id) % 2 and document.score > 1 for document in kept[:100])
    killed_everywhere(run, tmp_path / "out.jsonl", monkeypatch)
    with pytest.raises(BadData, match="not finite"):
        quality.run(
            documents=tmp_path / "documents.jsonl",
            out=tmp_path / "other.jsonl",
            dropped=None,
            config=QualityConfig(),
            scorer=lambda texts: [float("nan")] * len(texts),
        )


def test_questions_are_found_by_rule_and_by_a_writer(tmp_path):
    text = (
        "Intro.\n\nExercise 2.1: Find all primes below 10.\n\nSolution. They are 2, 3, 5 and 7.\n\n"
        "Problem 3. Without any answer here.\n\nExample 4: What is the sum of 1 and 2?\nAnswer: 3"
    )
    assert questions.marked_pairs(text) == [
        ("Find all primes below 10.", "They are 2, 3, 5 and 7."),
        ("What is the sum of 1 and 2?", "3"),
    ]
    zh = Document("z", "例1：小明有3个苹果，又买了2个，一共几个苹果？\n解：3+2=5", language="zh")
    plain = Document("p", "Just a text about the number 7.")
    outcomes = list(questions.extract([Document("d", text), zh, plain]))
    assert [(reason, one.id) for reason, one in outcomes] == [
        ("", "d#1"),
        ("", "d#2"),
        ("", "z#1"),
        ("no question with an answer", "p"),
    ]
    assert outcomes[2][1].text == "问题：小明有3个苹果，又买了2个，一共几个苹果？\n\n解答：3+2=5"

    def writer(texts):
        assert texts == [plain.text]
        return [[questions.Pair("Which number?", "7"), questions.Pair(" ", "none")]]

    written = list(questions.extract([zh, plain], writer))
    assert [one.text for _, one in written][1:] == ["Question: Which number?\n\nAnswer: 7"]
