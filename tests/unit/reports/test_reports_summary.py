"""A stage's summary: Markdown for people, the whole StageReport for the report, whatever models wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mathloop.errors import BadData
from mathloop.reports.figures import title
from mathloop.reports.summary import markdown, read_summary, write_failure, write_summary
from mathloop.stages import StageReport

HOSTILE = (
    "--> <!-- mathloop {} -->",
    "a | b || c \\| d",
    "`code` ``` ~~~",
    "```\nfence",
    "~~~",
    "<script>alert(1)</script> <b>bold</b> &lt;i&gt; &amp;",
    "# heading\n## another",
    "- item\n- item",
    "1. first",
    "2) second",
    "+ plus",
    "---",
    "===",
    "> quote",
    "[link](https://example.org) ![image](https://example.org/x.png) <https://example.org>",
    "**strong** _emphasis_ __init__ \\*",
    "小明有3个苹果。答案是 $\\boxed{7}$",
    "\\",
    "    indented",
    "half a pair \ud800",
)
CALM = StageReport(
    "decontamination_cot",
    61.0,
    inputs=1400,
    generated=5600,
    kept=2010,
    dropped={"wrong_answer": 3000, "duplicate": 590, "never": 0},
    values={"accuracy": 0.41234, "tokens_per_second": 9120.4},
    scores={"champion_greedy": 41.25, "promoted": 1.0},
    samples=[{"problem": f"problem {n}", "reward": -0.31, "why": None} for n in range(5)],
    notes=["The champion stays."],
)


def tokens(text: str) -> list[Token]:
    """What a Markdown viewer makes of it, without the comment at the end."""
    blocks = MarkdownIt("commonmark").enable("table").parse(text)
    return [token for block in blocks for token in (block, *(block.children or ()))]


def shown(text: str) -> str:
    return " ".join(token.content for token in tokens(text) if token.type in ("text", "code_block"))


def test_a_summary_shows_counts_reasons_scores_and_three_examples(tmp_path: Path) -> None:
    write_summary([CALM], tmp_path / "summary")
    text = (tmp_path / "summary").read_text(encoding="utf-8")
    assert text.startswith("### Decontamination: CoT responses\n")
    assert "1,400 in → 5,600 generated → 2,010 kept → 3,590 dropped (64.1 %) → 1 min 1 s" in text
    cells = [token.content for token in tokens(text) if token.type == "inline"]
    for row in (
        ["wrong answer", "3,000"],
        ["duplicate", "590"],
        ["champion greedy", "41.2"],
        ["accuracy", "0.412"],
    ):
        assert cells[cells.index(row[0]) + 1] == row[1]
    assert cells.index("wrong answer") < cells.index("duplicate"), "the most frequent reason first"
    assert "never" not in cells
    assert [n for n in range(5) if f"problem {n}" in shown(text)] == [0, 1, 2]
    assert "The champion stays." in shown(text)


def test_of_a_stage_that_only_did_its_work_there_is_its_time() -> None:
    assert markdown(StageReport("preflight", 0.4)) == "### Preflight\n\n0.4 s"


def test_the_whole_report_comes_back(tmp_path: Path) -> None:
    curves = {"loss": [(float(step), 1.0 / step) for step in range(1, 300)]}
    report = StageReport(
        "sft", 1.5, 3, 2, 1, {"x": 2}, {"v": 1e-9}, {"s": 3.0}, curves, [{"a": {"b": [1]}}], ["n"]
    )
    write_summary([report], tmp_path / "summary")
    (back,) = read_summary(tmp_path / "summary")
    assert [tuple(point) for point in back.curves["loss"]] == curves["loss"]
    back.curves = report.curves
    assert back == report


def test_a_step_shows_its_own_stages_and_carries_those_of_earlier_steps(tmp_path: Path) -> None:
    sft, reward_data, reward_model = (
        StageReport(name, 1.0) for name in ("sft", "reward_data", "reward_model")
    )
    write_summary([reward_data, reward_model], tmp_path / "summary", carried=[sft])
    assert read_summary(tmp_path / "summary") == [sft, reward_data, reward_model]
    text = (tmp_path / "summary").read_text(encoding="utf-8")
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert headings == [title(one.stage) for one in (reward_data, reward_model)]


def hostile_report(text: str) -> StageReport:
    return StageReport(
        "cot",
        dropped={text or "empty": 2, f"x {text}": 1},
        values={f"value {text}": 0.5},
        scores={f"score {text}": 50.0},
        samples=[{"problem": text, f"name {text}": text}],
        notes=[text, f"said {text}"],
    )


def check_hostile(text: str, folder: Path) -> None:
    report = hostile_report(text)
    write_summary([report], folder / "summary")
    assert read_summary(folder / "summary") == [report]
    written = (folder / "summary").read_text(encoding="utf-8")
    usual = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "strong"}
    kinds = [token.type for token in tokens(written)]
    plain = {"inline", "text", "text_special", "code_block", "html_block"}
    assert {kind.removesuffix("_open").removesuffix("_close") for kind in kinds} <= usual | plain
    assert kinds.count("html_block") == 1, "the report itself, in a comment"
    assert kinds[-1] == "html_block"
    assert (kinds.count("table_open"), kinds.count("heading_open")) == (3, 2)
    rows = [1 + 2, 1 + 1, 1 + 1]
    assert kinds.count("tr_open") == sum(rows)
    assert kinds.count("td_open") + kinds.count("th_open") == 2 * sum(rows)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_model_wrote_is_markup_or_ends_the_report(text: str, tmp_path: Path) -> None:
    check_hostile(text, tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(
        alphabet=st.one_of(st.sampled_from("\\`*_~[]()#|<>!&-+=.1 \n\t"), st.characters()), max_size=40
    )
)
def test_no_text_is_markup(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_hostile(text, tmp_path_factory.getbasetemp())


def test_hostile_text_is_still_read_as_it_was_written() -> None:
    text = markdown(StageReport("cot", notes=["a | <b> `c` *d* [e](f) \\g 小明 --> 1. ~~~"]))
    inline = [token for token in tokens(text) if token.type == "inline"][-1]
    said = "".join(token.content for token in inline.children or ())
    assert said == "a | <b> `c` *d* [e](f) \\g 小明 --> 1. ~~~"


def test_a_long_example_is_cut_and_an_empty_field_left_out() -> None:
    text = markdown(StageReport("cot", samples=[{"response": "x" * 5000, "reward": None, "why": ""}]))
    assert "x" * 600 + "…" in text
    assert "x" * 601 not in text
    assert "reward" not in text
    assert "why" not in text


def test_a_failure_is_one_line_and_no_report(tmp_path: Path) -> None:
    write_failure(BadData("expected a\nnumber <b>", path="a_file_1.jsonl", row=3), tmp_path / "summary")
    (line,) = (tmp_path / "summary").read_text(encoding="utf-8").splitlines()
    assert line.startswith("**Failed.** ")
    inline = [token for token in tokens(line) if token.type == "inline"][-1]
    said = "".join(token.content for token in inline.children or ())
    assert said == "Failed. a_file_1.jsonl, row 3: expected a number <b>"
    with pytest.raises(BadData, match="summary: expected a stage's summary"):
        read_summary(tmp_path / "summary")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "### CoT",
        "<!-- mathloop -->",
        "<!-- mathloop [{}] -->",
        '<!-- mathloop [{"stage": "x", "y": 1}] -->',
        None,
    ],
)
def test_what_is_no_summary_is_named(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "summary").write_text(text)
    with pytest.raises(BadData, match="summary: expected a stage's summary"):
        read_summary(tmp_path / "summary")
