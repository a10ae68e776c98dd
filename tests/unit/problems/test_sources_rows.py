"""Golds and rows of published files that are easily read wrong, or lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mathloop import lines
from mathloop.answers import verify
from mathloop.errors import BadData
from mathloop.problems.sources import Source, json_rows, read_source, reader
from mathloop.storage import local_copy
from tests.compressing import compressed
from tests.paths import SHARED_DATA


def source_of(folder: Path, *rows: dict[str, Any], name: str = "p.jsonl") -> Source:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_source(folder / name)


def golds(source: Source) -> list[str | None]:
    return [problem.answer for problem in source]


@pytest.mark.parametrize(("answer", "gold"), [(0, "0"), (0.0, "0"), ("0", "0"), ("", None), (None, None)])
def test_zero_is_an_answer_where_an_empty_one_is_unknown(
    tmp_path: Path, answer: Any, gold: str | None
) -> None:
    row = {"question": "What is 1-1?", "answer": answer, "lang": "en", "source": "x"}
    source = source_of(tmp_path, row)
    assert golds(source) == ([] if gold is None else [gold])
    assert (len(source.left_out), source.broken) == (0 if gold else 1, [])


def test_none_is_an_answer_and_what_programs_write_for_nothing_is_not(tmp_path: Path) -> None:
    answers = ("none", "None", "NaN", "nan", "N/A")
    source = source_of(tmp_path, *({"problem": f"{text}?", "answer": text} for text in answers))
    assert golds(source) == ["none"]
    assert [left.row for left in source.left_out] == [2, 3, 4, 5]


PROSE = (
    "Janet has 16 eggs every day and eats three of them for breakfast. She bakes with four more of them. "
    "So she sells the 9 eggs that are left for 2 dollars each at the market, which makes 18 dollars."
)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (PROSE, None),
        (PROSE.replace("market, which makes 18 dollars.", "market. The answer is 18."), "18"),
        ("小明有三个苹果和五个梨子。他又买了四个苹果。所以他一共有十二个水果可以分给大家。", None),
        (
            r"local min. $(1,1)$; local max. $(-1,-1)$; saddle pts. $(1,-1),(-1,1) $ alone. At all. $x$",
            "=",
        ),
        ("The rocket reaches its maximum height of 500 feet 10 seconds after lift-off.", "="),
        (r"$f(x)=a x+b$, where $b$ is an arbitrary integer, and $a$ is an arbitrary positive integer", "="),
    ],
)
def test_a_worked_solution_is_no_gold_answer(tmp_path: Path, answer: str, gold: str | None) -> None:
    source = source_of(tmp_path, {"problem": "How much?", "answer": answer})
    assert golds(source) == ([] if gold is None else [answer if gold == "=" else gold])
    assert [left.reason.partition(" (")[0] for left in source.left_out] == (
        [] if gold else ["its answer is a worked solution that marks no final answer"]
    )
    assert len(list(read_source(tmp_path / "p.jsonl", prose=True))) == 1, "a recorded set is read whole"


@pytest.mark.parametrize(
    ("given", "gold", "right"),
    [
        (["$2$"], "2", "2"),
        (["$1$", "$2$"], "1, 2", "1,2"),
        (["$69$,$84$"], "$69$,$84$", "69,84"),
        ([r"$(-\infty, 0) \cup\{1\}$."], r"(-\infty, 0) \cup\{1\}", r"(-\infty,0)\cup\{1\}"),
        (["$f(n)=n$, $g(n)=1$"], "$f(n)=n$, $g(n)=1$", "f(n)=n,g(n)=1"),
    ],
)
def test_only_a_pair_of_dollars_around_an_answer_goes(
    tmp_path: Path, given: list[str], gold: str, right: str
) -> None:
    source = source_of(tmp_path, {"question": "?", "final_answer": given, "subfield": "Algebra"})
    assert golds(source) == [gold]
    assert verify(gold, right).correct


def test_no_gold_of_olympiadbench_has_half_a_pair_of_dollars() -> None:
    place = SHARED_DATA / "benchmarks" / "olympiadbench"
    if not place.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    halves = [gold for gold in golds(read_source(place)) if gold is None or gold.count("$") % 2]
    assert halves == ["$221,$8$"]  # as it is published


ARC = {"text": ["10", "20", "30", "40"], "label": ["1", "2", "3", "4"]}


@pytest.mark.parametrize(
    ("choices", "answer", "letter"),
    [
        (ARC, "1", "A"),
        (ARC, 4, "D"),
        ({"text": ["x", "y"], "label": ["A", "B"]}, "B", "B"),
        (["AB", "BC", "CD", "AC"], "AB", "A"),
        (["AB", "BC", "CD", "AC"], "AD", "AD"),
        (["10", "20", "30", "40"], "2", "C"),
        (["0", "1", "2", "3"], "2", "C"),
    ],
)
def test_the_right_choice_is_what_the_row_says(
    tmp_path: Path, choices: Any, answer: Any, letter: str
) -> None:
    assert golds(source_of(tmp_path, {"question": "?", "choices": choices, "answerKey": answer})) == [letter]


@pytest.mark.parametrize(
    ("choices", "answer", "said"),
    [
        (["1", "2", "3", "4"], "2", "'2' is the text of choice B and the number from 0 of choice C"),
        (["B", "C", "A"], "B", "'B' is the text of choice A and the letter of choice B"),
        ({"text": ["x", "y"], "label": ["1"]}, "1", "expected one label for each choice"),
    ],
)
def test_a_right_choice_that_is_one_of_two_is_refused(
    tmp_path: Path, choices: Any, answer: Any, said: str
) -> None:
    source = source_of(tmp_path, {"question": "?", "choices": choices, "answerKey": answer})
    assert golds(source) == []
    assert said in str(source.broken[0])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "two.json",
            '[{"problem": "1?", "answer": 1}]\n[{"problem": "2?", "answer": 2}]',
            "more after the end",
        ),
        (
            "comma.json",
            '[{"problem": "1?", "answer": 1} {"problem": "2?", "answer": 2}]',
            "row 2: .*no comma",
        ),
        ("last.json", '[{"problem": "1?", "answer": 1},]', "row 2: not JSON"),
        ("twice.csv", "problem,answer,answer\n1?,1,2\n", "row 1, field 'answer': two columns"),
    ],
)
def test_what_would_be_lost_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadData, match=said):
        golds(read_source(tmp_path / name))


def test_broken_rows_are_not_kept_in_memory(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"problem": "1?", "answer": 1}, {"problem": "x" * 9000, "answer": ""})
    (tmp_path / "p.jsonl").open("a").write("{cut\n")
    assert golds(source) == ["1"]
    assert [(error.row, error.__traceback__, error.__context__) for error in source.broken] == [
        (2, None, None),
        (3, None, None),
    ]


def test_layouts_of_few_sets_of_columns_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_KNOWN", 3)
    source = source_of(tmp_path, *({"problem": "?", "answer": n, f"x{n}": 1} for n in range(10)))
    assert len(golds(source)) == 10
    assert len(source.kinds._known) <= 3


@pytest.mark.parametrize(
    "name", ["p.jsonl", "p.JSONL", "p.jsonl.gz", "p.jsonl.zst", "p.json", "list.json", "p.csv"]
)
def test_a_line_or_object_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 2000)
    monkeypatch.setattr(json_rows, "_BLOCK", 500)
    row = json.dumps({"problem": "x" * 5000, "answer": 1})
    text = {"list.json": f"[{row}]", "p.csv": f"problem,answer\n{'x' * 5000},1\n"}.get(name, row)
    data = text.encode()
    (tmp_path / name).write_bytes(compressed(data, Path(name).suffix))
    with pytest.raises(BadData, match="longer than 2,000 bytes") as caught:
        golds(read_source(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_the_same_data_in_two_formats_or_configurations_is_refused(tmp_path: Path) -> None:
    row = {"problem": "1?", "answer": 1}
    for inner in ("hf/main", "hf/socratic", "two"):
        source_of(tmp_path / inner, row, name="test-00000-of-00001.jsonl")
    with pytest.raises(BadData, match="hf: it has the configurations main, socratic; choose one"):
        read_source(tmp_path / "hf", split="test")
    assert [problem.id for problem in read_source(tmp_path / "hf" / "main")] == ["hf-1"]
    (tmp_path / "two" / "test.csv").write_text("problem,answer\n1?,1\n")
    with pytest.raises(BadData, match=r"same data again; keep one"):
        read_source(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "p.parquet",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "a pointer of Git LFS",
        ),
        ("p.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "run `git lfs pull`"),
        ("p.txt", b"1+1? 2\n", "of a format that is not read; expected .parquet"),
        ("p.xlsx", b"PK\x03\x04", "of a format that is not read; expected .parquet"),
        ("p.jsonl.gz", b'{"problem": "1?", "answer": 1}', "not a gzip file .* remove .gz from its name"),
        ("p.csv", b"problem,answer\n1?,2,3\n", "quote texts that hold a ','"),
    ],
)
def test_a_file_of_another_kind_is_one_line_that_says_so(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    source = read_source(tmp_path / name)
    with pytest.raises(BadData, match=said):
        (list(source), source.check())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "problem;answer\n1+1?;2\n"),
        ("p.csv", "problem,answer\n1+1?,2\n"),
        ("p.json", '{"problems": [{"problem": "1+1?", "answer": 2}]}'),
        ("p.txt", '{"problem": "1+1?", "answer": 2}\n'),
    ],
)
def test_common_spellings_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert golds(read_source(tmp_path / name)) == ["2"]


def test_other_urls_say_what_is_read() -> None:
    for url in ("https://example.org/p.jsonl", Path("https://example.org/p.jsonl")):
        with pytest.raises(BadData, match=r"a https URL; download it, or give s3://"), local_copy(url):
            pass
