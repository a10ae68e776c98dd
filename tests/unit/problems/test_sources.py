"""Published rows in every format, and what is told of rows that are no problems."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.decontamination.sources import read_items
from mathloop.errors import BadConfig, BadData
from mathloop.problems import build
from mathloop.problems.config import ProblemFile, ProblemsConfig
from mathloop.problems.files import ProblemTable, read_problem_file
from mathloop.problems.sources import LAYOUTS, read_source
from mathloop.problems.sources.choices import inline_choices, right_letters
from mathloop.problems.sources.files import name_of
from mathloop.problems.sources.parsing import Place
from mathloop.problems.sources.passages import texts_of
from mathloop.records import read_problems, read_rows, write_problems
from mathloop.records.schema import Problem
from tests.compressing import compressed

ROWS = [{"problem": f"{n} + 1?", "answer": str(n + 1)} for n in range(4)]


def write(path: Path, rows: list[Any], lines: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows, indent=1)
    path.write_text(text, encoding="utf-8")
    return path


def golds(place: Path, **options: Any) -> list[str | None]:
    return [problem.answer for problem in read_source(place, **options)]


def test_columns_of_mixed_values_that_datasets_writes_as_json_are_decoded(tmp_path: Path) -> None:
    mixed = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['"x"', "2", None, '"3"'], pa.string()))
    nested = pa.array([{"a": value} for value in ('"x"', "2", None, "[1]")], pa.struct([("a", pa.string())]))
    nested = pa.StructArray.from_arrays(
        [pa.ExtensionArray.from_storage(pa.json_(), nested.field("a"))], names=["a"]
    )
    table = pa.table({"problem": ["1?", "2?", "3?", "4?"], "answer": mixed, "inner": nested})
    pq.write_table(table, tmp_path / "mixed.parquet")
    rows = list(read_rows(tmp_path / "mixed.parquet"))
    assert [row["answer"] for row in rows] == ["x", 2, None, "3"]
    assert [row["inner"]["a"] for row in rows] == ["x", 2, None, [1]]
    source = read_source(tmp_path / "mixed.parquet")
    assert [problem.answer for problem in source] == ["x", "2", "3"]
    assert [error.row for error in source.broken] == [3]


@pytest.mark.parametrize(
    "name", ["a.json", "a.JSON", "a.jsonl.gz", "a.jsonl.zst", "a.JSONL", "a.csv", "a.tsv"]
)
def test_formats_are_read_alike(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix in (".gz", ".zst"):
        data = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
        path.write_bytes(compressed(data, path.suffix))
    elif path.suffix in (".csv", ".tsv"):
        mark = "," if path.suffix == ".csv" else "\t"
        path.write_text(
            "".join(
                f"{row['problem']}{mark}{row['answer']}\n"
                for row in [{"problem": "problem", "answer": "answer"}, *ROWS]
            )
        )
    else:
        write(path, ROWS, lines=path.suffix == ".JSONL")
    assert golds(path) == ["1", "2", "3", "4"]


def test_frames_of_zstd_that_follow_each_other_are_one_file(tmp_path: Path) -> None:
    parts = [json.dumps(row).encode() + b"\n" for row in ROWS]
    path = tmp_path / "train.jsonl.zst"
    path.write_bytes(b"".join(compressed(part, ".zst") for part in parts))
    assert golds(path) == ["1", "2", "3", "4"]
    assert golds(tmp_path) == ["1", "2", "3", "4"]


def test_a_json_list_streams_across_blocks(tmp_path: Path) -> None:
    rows = [{"problem": f"{n} é {'x' * 3000}", "answer": n} for n in range(1000)]
    assert len(golds(write(tmp_path / "long.json", rows, lines=False))) == 1000
    (tmp_path / "cut.json").write_text((tmp_path / "long.json").read_text()[:-40])
    with pytest.raises(BadData, match=r"cut\.json, row 1000: not JSON"):
        golds(tmp_path / "cut.json")


def test_a_list_of_conversations_without_names_is_read(tmp_path: Path) -> None:
    row = [{"from": "human", "value": "1+1?"}, {"from": "assistant", "ground_truth": {"value": "2"}}]
    assert golds(write(tmp_path / "orz.json", [row], lines=False)) == ["2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{oops", "not JSON"),
        ("a.json", b"[1, 2]", "row 1: expected an object"),
        ("a.jsonl.gz", b"plain", "not a gzip file"),
        ("a.jsonl.zst", b"plain", "not a complete zstd file"),
        ("a.jsonl.zst", compressed(b"{}" * 9000, ".zst")[:-4], "not a complete zstd file .* copy it again"),
        ("a.csv", b"problem,answer\n1?,1,1\n", "row 2: not as many cells"),
        ("a.csv", b"problem,answer\n\xff,1\n", "not UTF-8"),
        ("a.arrow", b"ARROW1 no", "not a complete Arrow file"),
        ("a.jsonl", b"", "no rows"),
        ("a.json", b"[]", "no rows"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData, match=said) as caught:
        list(read_problem_file(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_with_splits_asks_for_one_and_is_named_after_itself(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "data"
    write(folder / "train-00000-of-00002.jsonl", ROWS[:2])
    write(folder / "train-00001-of-00002.jsonl", ROWS[2:3])
    write(folder / "test-00000-of-00001.jsonl", ROWS[3:])
    write(folder.parent / "README.md", [])
    with pytest.raises(BadData, match="has the splits test, train; choose one"):
        read_source(folder.parent)
    source = read_source(folder.parent, split="train")
    assert [problem.id for problem in source] == ["mine-1", "mine-2", "mine-3"]
    assert golds(folder.parent, split="test") == ["4"]
    with pytest.raises(BadData, match="no split 'dev' in this folder; found test, train"):
        read_source(folder.parent, split="dev")


def test_a_folder_of_several_sets_names_each_after_its_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "test.jsonl", ROWS[:1])
    problems = list(read_source(tmp_path))
    assert [(problem.id, problem.source) for problem in problems] == [("one-1", "one"), ("two-1", "two")]


def test_a_file_in_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set" / "test.jsonl", ROWS)
    (tmp_path / "set" / "more.xlsx").write_bytes(b"x")
    with pytest.raises(BadData, match=r"more\.xlsx: .*cannot be read"):
        read_source(tmp_path / "set")


def test_an_unknown_layout_lists_the_fields_and_fields_name_them(tmp_path: Path) -> None:
    rows = [{"task": {"text": "1+1?"}, "truth": "2", "n": 1}, {"task": {"text": "1+2?"}, "truth": 3, "n": 2}]
    path = write(tmp_path / "odd.jsonl", rows)
    with pytest.raises(BadData, match=r"with the fields task, truth, n: .*problems\.fields=\{problem: FIELD"):
        golds(path)
    assert golds(path, fields={"statement": "task.text", "answer": "truth"}) == ["2", "3"]
    with pytest.raises(BadConfig, match="'truth' is no part of a problem; expected problem, answer"):
        read_source(path, fields={"truth": "answer"})
    with pytest.raises(BadConfig, match="no layout 'gsm'; expected one of agieval, mmlu"):
        read_source(path, layout="gsm")


def test_fields_replace_only_what_they_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl", [{"problem": "1?", "answer": "wrong", "expected_answer": "1", "level": 3}]
    )
    (problem,) = read_source(path, fields={"answer": "expected_answer"})
    assert (problem.answer, problem.difficulty) == ("1", 3)


def test_more_than_the_first_broken_row_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [*ROWS, *({"problem": "x?", "answer": ""} for _ in range(8))])
    with pytest.raises(BadData, match=r"row 5, .* \(8 broken rows; the others: row 6, .*; and 3 more\)"):
        ProblemTable(path, ProblemsConfig())
    assert len(ProblemTable(path, ProblemsConfig(rejects_share=0.7)).orders) == 4


def test_repeated_ids_and_contradictions_are_found_without_keeping_rows(tmp_path: Path) -> None:
    rows = [*ROWS, {"problem": "0 + 1?", "answer": "7"}, {"problem": "9?", "answer": "9", "id": "p-2"}]
    path = write(tmp_path / "p.jsonl", rows)
    with pytest.raises(BadData, match=r"row 5, .*'7', but row 1 gives .*\(2 broken rows; the others: row 6"):
        ProblemTable(path, ProblemsConfig())
    table = ProblemTable(path, ProblemsConfig(rejects_share=0.5))
    assert table.broken == {4, 5}
    assert [problem.answer for problem in table.problems([3, 0])] == ["4", "1"]


def test_choices_survive_a_table(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.jsonl"):
        write_problems(tmp_path / name, [Problem("1", "Which?", "A", choices=("x", "y")), Problem("2", "?")])
        assert [each.choices for each in read_problems(tmp_path / name)] == [("x", "y"), ()]
    read = list(
        read_source(write(tmp_path / "quiz.jsonl", [{"question": "?", "choices": ["x", "y"], "answer": 1}]))
    )
    write_problems(tmp_path / "again.parquet", read)
    assert list(read_source(tmp_path / "again.parquet")) == read
    assert read[0].problem == "?\nAnswer Choices: (A) x (B) y"
    write(tmp_path / "b.jsonl", [{"id": "1", "problem": "?", "choices": ["x", 1]}])
    with pytest.raises(BadData, match="field 'choices': expected a list of texts"):
        list(read_problems(tmp_path / "b.jsonl"))


@pytest.mark.parametrize("name", ["kept.json", "kept.csv", "kept.jsonl.gz", "kept.JSONL"])
def test_an_output_of_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadData, match=r"choose a name that ends in \.jsonl or \.parquet"):
        write_problems(tmp_path / name, [Problem("1", "?")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        (2, "C"),
        ("2", "C"),
        ("B", "B"),
        ("(D)", "D"),
        ("A B", "AB"),
        ("8", "C"),
        (7, "B"),
        (12, None),
        ("E", None),
    ],
)
def test_the_right_choice(answer: Any, letters: str | None) -> None:
    assert right_letters(answer, ("6", "7", "8", "9")) == letters


def test_choices_within_a_statement() -> None:
    assert inline_choices("x=( ) A. 6 B. 7 C. 8 D. 9") == ("6", "7", "8", "9")
    assert inline_choices("In triangle A, B. and C. meet") == ()


def test_names_of_layouts_are_told_apart() -> None:
    needs = [layout.needs for layout in LAYOUTS if layout.when is None]
    for later, columns in enumerate(needs):
        assert not any(set(earlier) <= set(columns) for earlier in needs[:later]), columns


def test_decontamination_looks_at_all_texts_of_a_row(tmp_path: Path) -> None:
    row = {
        "problem": "One?",
        "solution": "Two.",
        "generations": ["Three.", "Four."],
        "generated_solution": "Five.",
        "response": "Six.",
        "text": "Seven.",
        "messages": [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Eight."},
            {"role": "user", "content": "Nine?"},
        ],
        "answer": "work\n#### 10",
    }
    texts = texts_of(row, Place(tmp_path, 1))
    assert texts.statements == ["One?", "Nine?"]
    assert {"Two.", "Three.", "Four.", "Five.", "Six.", "Seven.", "Eight."} <= set(texts.worked)
    assert texts.answer == "10"
    wrapped = (
        "Solve the following math problem step by step. The last line of your response should be of the "
    )
    wrapped += 'form Answer: $Answer.\n\nOne?\n\nRemember to put your answer on its own line after "Answer:".'
    assert texts_of({"problem": wrapped}, Place(tmp_path, 1)).statements == ["One?"]


def test_a_benchmark_is_named_after_its_folder(tmp_path: Path) -> None:
    for name in ("test.jsonl", "data/test-00000-of-00001.parquet", "main/test.jsonl.gz", "Test.JSON"):
        assert name_of(tmp_path / "gsm8k" / name) == "gsm8k"
    assert name_of(tmp_path / "gsm8k" / "mine.jsonl") == "mine"


def test_all_broken_rows_of_a_benchmark_are_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "b.jsonl", [{"question": "One?"}, {"question": 2}, {"x": 3}, {"question": "Four?"}]
    )
    with pytest.raises(
        BadData, match=r"row 2, .*expected text.*\(2 broken rows; the others: row 3, .*missing"
    ):
        list(read_items([path]))
    (tmp_path / "c.json").write_text("{oops")
    with pytest.raises(BadData, match="not JSON"):
        list(read_items([tmp_path / "c.json"]))
    written = write(
        tmp_path / "set" / "test.json",
        [{"question": "One?", "options": {"A": "1", "B": "2"}, "label": "B"}],
        lines=False,
    )
    (item,) = read_items([written])
    assert (item.benchmark, item.text, item.answer) == ("set", "One?", "2")


def test_several_data_sets_give_their_share_and_a_small_one_what_it_has(tmp_path: Path) -> None:
    sets = []
    for name, size in (("a", 400), ("b", 400), ("small", 8)):
        write(tmp_path / f"{name}.jsonl", [{"task": f"{name} {n}?", "answer": n} for n in range(size)])
        sets.append(ProblemFile(path=str(tmp_path / f"{name}.jsonl"), fields={"problem": "task"}))
    files = (sets[0], sets[1].model_copy(update={"weight": 3.0}), sets[2].model_copy(update={"weight": 4.0}))
    config = ProblemsConfig(train=200, benchmark=30, files=files)
    out, held = tmp_path / "out.parquet", tmp_path / "held.parquet"
    report = build.run(problems_file=None, out=out, benchmark=held, config=config, seed=1)
    train = list(read_problems(out))
    counts = Counter(problem.source for problem in train)
    assert len(train) == report.kept == 200
    assert counts["small"] <= 7
    assert counts["b"] == pytest.approx(3 * counts["a"], abs=3)
    assert len(list(read_problems(held))) == 30
    assert not {p.problem for p in train} & {p.problem for p in read_problems(held)}
    assert all(problem.id.startswith(("1:a-", "2:b-", "3:small-")) for problem in train)
    # A file in their place: the others are not read.
    path = write(tmp_path / "c.jsonl", ROWS)
    build.run(problems_file=path, out=out, benchmark=held, config=config, seed=1)
    assert {problem.source for problem in read_problems(out)} == {"c"}
