"""The writer: templates, parsing, checks, near-copies, resuming, votes; a script plays the model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mathloop.decontamination.config import DecontaminationConfig
from mathloop.errors import BadConfig, BadData, UserError
from mathloop.evaluation.benchmarks.named import NamedBenchmarks
from mathloop.evaluation.config import BenchmarksConfig
from mathloop.problems.nano import generate
from mathloop.records import Problem, read_problems, read_rows, write_problems
from mathloop.stages import StageReport
from mathloop.writing import stage as round_stage
from mathloop.writing import write
from mathloop.writing.checks import wrong_with
from mathloop.writing.config import WritingConfig
from mathloop.writing.solving import difficulty, shares
from pipelines.profile import load_profile
from pipelines.table import find_pipeline
from pipelines.tracing import trace
from tests.paths import SHARED_DATA
from tests.unit.writing.standins import Script, ScriptedWriter

GSM8K = SHARED_DATA / "train/gsm8k/train.jsonl"
PARENTS = [
    Problem("a", "Tom has 12 apples and eats 5 of them. How many apples are left?", "7", family="loss"),
    Problem("b", "A train travels 90 miles in 3 hours. What is its speed in miles per hour?", "30"),
    Problem("c", "小明有12个苹果，吃了5个。还剩几个苹果？", "7", language="zh"),
    Problem("d", "Which is prime? (A) 4 (B) 7", "B", choices=("4", "7")),
]


@pytest.fixture
def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[StageReport, ScriptedWriter]]:
    """Runs the stage on PARENTS with a script in place of the model; files are in `tmp_path`."""

    def run(
        script: Script,
        parents: list[Problem] = PARENTS,
        seed: int = 0,
        dies_at: int | None = None,
        **config: object,
    ) -> tuple[StageReport, ScriptedWriter]:
        writer = ScriptedWriter(script, dies_at)
        monkeypatch.setattr(write, "open_writer", lambda *_: writer)
        write_problems(tmp_path / "parents.parquet", parents)
        return write.run(
            problems=tmp_path / "parents.parquet",
            policy=None,
            out=tmp_path / "out.parquet",
            dropped=tmp_path / "dropped.jsonl",
            work=tmp_path / "work",
            config=WritingConfig.model_validate(config),
            seed=seed,
        ), writer

    return run


def written(tmp_path: Path) -> list[Problem]:
    return list(read_problems(tmp_path / "out.parquet"))


def reasons(tmp_path: Path) -> Counter[str]:
    return Counter(row["drop_reason"] for row in read_rows(tmp_path / "dropped.jsonl"))


def renumbered(prompt: str) -> str:
    """The problem of a prompt with every number plus 40."""
    statement = prompt.rpartition("Problem: ")[2].rpartition("题目：")[2]
    return re.sub(r"\d+", lambda found: str(int(found[0]) + 40), statement)


def test_changed_numbers_are_kept_with_their_parent_and_without_an_answer(stage, tmp_path):
    report, writer = stage(
        lambda prompt: f"New problem: {renumbered(prompt)}", templates=["change_numbers"], count=3
    )
    one, other, chinese = written(tmp_path)
    assert one.problem == "Tom has 52 apples and eats 45 of them. How many apples are left?"
    assert (one.parent, one.operation, one.answer, one.family) == ("a", "change_numbers", None, "loss")
    assert chinese.problem == "小明有52个苹果，吃了45个。还剩几个苹果？"
    assert len({one.id, other.id, chinese.id} | {parent.id for parent in PARENTS}) == 7
    assert report.generated == report.kept == 3
    assert all(PARENTS[3].problem not in prompt for prompt in writer.asked)  # its answer is a letter


@pytest.mark.parametrize(
    ("template", "text", "reason"),
    [
        ("change_numbers", "Tom has 12 apples and eats 5. How many are left of them?", "its numbers are those of its parent"),  # noqa: E501
        ("change_numbers", "Tom has 14 pears, eats 6, buys 3. How many now?", "it has more or fewer numbers than its parent"),  # noqa: E501
        ("change_numbers", "Tom?", "too short"),
        ("change_numbers", "小红有14个苹果，吃了6个。还剩几个苹果？", "in another language"),
        ("change_numbers", "Tom has 14 apples and eats 6 of them. The answer is 8.", "it states an answer or a solution"),  # noqa: E501
        ("change_numbers", "As in the problem above, with 14 and 6, how many?", "not self-contained: it speaks of something that is not there"),  # noqa: E501
        ("raise_complexity", "Eva has 12 apples and 5 more than Mia. How many together?", "not self-contained: it compares with somebody of whom it says nothing"),  # noqa: E501
        ("change_numbers", "Tom has 14 apples and eats 6 of them.", "it asks nothing"),
        ("change_numbers", "", "not in the form of parser labeled"),
        ("raise_complexity", PARENTS[0].problem.upper(), "a near-copy of its parent"),
        ("fractions", "Tom has 12 apples and eats 4 of them. How many stay?", "no fraction or percentage was added"),  # noqa: E501
        ("add_condition", "Tom has 12 apples, eats 5. How many remain?", "no condition was added"),
        ("need_computing", "Tom has 2 pears and eats 1. How many remain?", "its numbers are no larger than those of its parent"),  # noqa: E501
        ("reword", "Of 12 apples, Tom ate 6. How many apples remain?", "its numbers are not those of its parent"),  # noqa: E501
        ("combine_concepts", "Ann buys 3 pens for 2 dollars. What does she pay?", "it takes nothing from one of its parents"),  # noqa: E501
        ("translate", "汤姆有12个苹果，吃掉6个。还剩几个苹果？", "its numbers are not those of its parent"),
        ("change_numbers", "Tom has 20 apples and gives Mia 5. How many apples are left?", "reserved for the benchmark"),  # noqa: E501
    ],
)  # fmt: skip
def test_each_check_has_its_reason(stage, tmp_path, template, text, reason):
    parents = [PARENTS[0], PARENTS[1]] if template == "combine_concepts" else [PARENTS[0]]
    report, _ = stage(lambda _: text, parents, templates=[template], count=1)
    assert report.dropped == {reason: 1}
    (row,) = read_rows(tmp_path / "dropped.jsonl")
    assert text in (row["problem"], row.get("text"))
    assert row["parents"][0] == PARENTS[0].problem or template == "combine_concepts"


@pytest.mark.skipif(not GSM8K.exists(), reason="the shared data folder is not beside this checkout")
def test_what_people_wrote_passes_the_checks_that_need_no_parent():
    rows = GSM8K.read_text(encoding="utf-8").splitlines()[:1500]
    config = WritingConfig()
    passed = sum(not wrong_with(json.loads(row)["question"], "en", config) for row in rows)
    assert passed > 0.99 * len(rows)


def test_rewording_and_translation_keep_the_gold_answer_unless_told_otherwise(stage, tmp_path):
    def script(prompt: str) -> str:
        return (
            "汤姆有12个苹果，吃掉5个。还剩几个苹果？"
            if "Chinese" in prompt
            else "Tom ate five of 12 apples. How many remain?"
        )

    config = {"templates": ["reword", "translate"], "count": 1, "similarity": 0.9}
    stage(script, PARENTS[:1], **config)
    assert [(one.language, one.answer) for one in written(tmp_path)] == [("en", "7"), ("zh", "7")]
    stage(script, PARENTS[:1], keep_answers=False, **config)
    assert [one.answer for one in written(tmp_path)] == [None, None]


def test_a_translation_is_dropped_where_its_back_translation_differs(stage, tmp_path):
    back = {"十二": "Tom has 12 apples and eats 5 of them. How many apples are left?"}

    def script(prompt: str) -> str:
        if "into Chinese" in prompt:
            return (
                "汤姆有12个苹果，吃掉5个。还剩几个？"
                if "apples" in prompt
                else "火车3小时走90英里。速度是多少？"
            )
        return back["十二"] if "苹果" in prompt else "A ship sails for 3 days with 90 men on board. Why?"

    report, _ = stage(script, PARENTS[:2], templates=["translate_and_back"], count=2)
    assert [one.parent for one in written(tmp_path)] == ["a"]
    assert report.dropped == {"its back-translation says something else": 1}


def test_near_copies_of_seen_problems_are_dropped_once_one_is_kept(stage, tmp_path):
    texts = iter(
        [
            "Ann has 30 pens and gives 4 of them away to her sister. How many pens does Ann have now?",
            "Ann has 30 pens, and gives 4 of them away to her sister; how many pens does Ann have now?",
            PARENTS[1].problem.replace("What", "what"),
        ]
    )
    report, _ = stage(
        lambda prompt: next(texts) if prompt.isascii() else PARENTS[2].problem,
        PARENTS[:3],
        templates=["write_new"],
        count=5,
    )
    assert [one.parent for one in written(tmp_path)] == [None]
    assert report.dropped == {"a near-copy of a problem that was seen": 4}


def test_a_killed_stage_repeats_one_shard_and_ends_with_the_same_bytes(stage, tmp_path):
    parents = [nano.problem for nano in generate("train", 60, 3)]
    config = {"templates": ["change_numbers", "raise_complexity"], "count": 40, "shard": 8}
    _, whole = stage(renumbered, parents, **config)
    out, dropped = (tmp_path / "out.parquet").read_bytes(), (tmp_path / "dropped.jsonl").read_bytes()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(KeyboardInterrupt):
        stage(renumbered, parents, dies_at=45, **config)
    assert not (tmp_path / "out.parquet").exists()
    assert not (tmp_path / "dropped.jsonl").exists()
    report, resumed = stage(renumbered, parents, **config)
    assert len(resumed.asked) == len(whole.asked) - 45
    assert (tmp_path / "out.parquet").read_bytes() == out
    assert (tmp_path / "dropped.jsonl").read_bytes() == dropped
    assert report.values["texts from the cache"] == 45
    _, other_seed = stage(renumbered, parents, seed=1, **config)
    assert len(other_seed.asked) == len(whole.asked)  # other parameters: nothing is taken from the cache


def test_a_writer_of_rubbish_ends_the_stage_early_with_one_line(stage, tmp_path):
    parents = [nano.problem for nano in generate("train", 300, 3)]
    with pytest.raises(BadData, match="wrote nothing usable: 128 texts") as error:
        stage(lambda _: "lorem ipsum dolor", parents, templates=["change_numbers"], count=300)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert not (tmp_path / "out.parquet").exists()


def test_a_template_without_a_parent_says_so(stage):
    with pytest.raises(BadConfig, match="template translate: none of the 1 problems can be a parent"):
        stage(renumbered, [PARENTS[2]], templates=["translate"])


def test_votes_drop_what_cannot_be_solved_and_grade_the_rest(stage, tmp_path):
    count: Counter[str] = Counter()

    def script(prompt: str) -> str:
        if "boxed" not in prompt:
            return renumbered(prompt)
        count[prompt] += 1
        if "train" in prompt:
            return f"\\boxed{{{count[prompt]}}}"  # never the same
        return f"\\boxed{{{7 if 'apples' in prompt or count[prompt] <= 3 else count[prompt]}}}"

    report, _ = stage(
        script, templates=["change_numbers"], count=3, votes=4, hard=0.8, budget=4, agreement=0.4, shard=12
    )
    assert report.dropped == {"its votes do not agree": 1}
    assert {one.parent: one.difficulty for one in written(tmp_path)} == {"a": 1, "c": 2}
    # The train's problem was hard and first: it got the budget of 4 further solutions.
    assert sorted(count.values()) == [4, 4, 8]


def test_difficulties_are_balanced_from_the_hardest_down():
    assert shares(Counter({1: 900, 2: 50, 3: 10}), 90) == {1: 40, 2: 40, 3: 10}
    assert shares(Counter({1: 5, 2: 5}), 100) == {1: 5, 2: 5}
    assert shares(Counter({1: 50, 2: 50}), 5) == {2: 3, 1: 2}
    assert [difficulty(share) for share in (1.0, 0.81, 0.8, 0.5, 0.0)] == [1, 1, 2, 3, 5]


def test_the_kept_share_is_balanced_and_the_rest_has_its_reason(stage, tmp_path):
    parents = [nano.problem for nano in generate("train", 60, 3, chinese_share=0)]

    def script(prompt: str) -> str:
        if "boxed" not in prompt:
            return renumbered(prompt)
        hard = "factory" in prompt or "truck" in prompt
        return f"\\boxed{{{next(numbers) % 2 if hard else 1}}}"

    numbers = iter(range(10_000))
    report, _ = stage(script, parents, templates=["change_numbers"], count=60, votes=4, keep=6)
    levels = Counter(one.difficulty for one in written(tmp_path))
    assert levels == {1: 3, 3: 3}
    assert (
        report.dropped["beyond the share of its difficulty"]
        == reasons(tmp_path)["beyond the share of its difficulty"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\noperation: reword\nparser: whole\nprompts: {en: Say it anew.}", "prompts.en: the field {problem} is missing"),  # noqa: E501
        ("version: 1\noperation: reword\nparser: whole\nprompts: {en: '{problem} {answer}'}", "there is no field {answer}"),  # noqa: E501
        ("version: 1\noperation: rewrod\nparser: whole\nprompts: {en: '{problem}'}", "no operation 'rewrod', did you mean 'reword'"),  # noqa: E501
        ("version: 1\noperation: reword\nparser: xml\nprompts: {en: '{problem}'}", "no parser 'xml'; known: whole"),  # noqa: E501
        ("operation: reword\nparser: whole\nprompts: {en: '{problem}'}", "version: missing; add it"),
        ("version: 1\noperation: reword\nparser: whole\nprompts: {fr: '{problem}'}", "prompts.fr"),
        ("version: 1\noperation: reword\nparser: whole\nprompt: x\nprompts: {en: '{problem}'}", "no such field, did you mean 'prompts'"),  # noqa: E501
        ("- 1", "expected fields"),
    ],
)  # fmt: skip
def test_a_bad_template_is_one_line_that_names_file_and_field(stage, tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadConfig, match=re.escape(said)) as error:
        stage(renumbered, templates=[str(file)])
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_own_templates_are_files_and_unknown_names_are_refused(stage, tmp_path):
    file = tmp_path / "mine.yaml"
    text = "version: 3\noperation: change_numbers\nparser: json\nprompts:\n  en: 'Set {x} in \\frac{ab}{cd}: Problem: {problem}'"  # noqa: E501
    file.write_text(text, encoding="utf-8")
    stage(lambda prompt: json.dumps({"problem": renumbered(prompt)}), templates=[str(file)], count=2)
    assert [one.id for one in written(tmp_path)] == ["a-mine-0-0", "b-mine-0-0"]
    with pytest.raises(UserError, match="no template 'rewordd', did you mean 'reword'"):
        stage(renumbered, templates=["rewordd"])
    with pytest.raises(UserError, match=r"writing\.templates: reword is named twice"):
        stage(renumbered, templates=["reword", "reword"])


def test_the_step_of_a_round_adds_decontaminated_problems_behind_their_parents(tmp_path, monkeypatch):
    parents = [nano.problem for nano in generate("train", 12, 3)]
    held = Problem("held", renumbered(f"Problem: {parents[0].problem}"), "1")
    monkeypatch.setattr(write, "open_writer", lambda *_: ScriptedWriter(renumbered))
    write_problems(tmp_path / "problems.parquet", parents)
    write_problems(tmp_path / "benchmark.parquet", [held])
    (tmp_path / "work").mkdir()
    reports = round_stage.run(
        problems=tmp_path / "problems.parquet",
        policy=None,
        benchmark=tmp_path / "benchmark.parquet",
        out=tmp_path / "out.parquet",
        dropped=tmp_path / "dropped.jsonl",
        work=tmp_path / "work",
        named=NamedBenchmarks(BenchmarksConfig()),
        config=WritingConfig(templates=("change_numbers",), count=12),
        decontamination=DecontaminationConfig(rules=("ngram_lcs", "exact"), lcs_ratio=0.95),
        seed=0,
    )
    assert [report.stage for report in reports] == ["writing", "decontamination_writing"]
    extended = written(tmp_path)
    assert extended[:12] == parents
    assert held.problem not in {one.problem for one in extended}
    assert 12 < len(extended) == 12 + reports[1].kept < 24
    stages = {row["stage"] for row in read_rows(tmp_path / "dropped.jsonl")}
    assert "decontamination_writing" in stages


def test_a_round_has_the_step_where_the_profile_names_templates():
    def tasks(*sets: str) -> set[str]:
        traced = trace(find_pipeline("data"), load_profile("tiny", sets), cluster=False)
        return set(traced.pipeline_spec.components["comp-synthesis"].dag.tasks)

    assert tasks("writing.templates=[nano_write]") - tasks() == {"writing"}
