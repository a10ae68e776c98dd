"""Responses that other programs saved are recognized and read, each response once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.errors import BadData
from mathloop.evaluation.rescoring import Fields, Rescored, fold
from mathloop.evaluation.response_layouts import LAYOUTS, recognize
from tests.paths import SHARED_DATA

BOXED = ["so \\boxed{5}", "so \\boxed{6}", "so \\boxed{5}"]


def lm_eval(number: int, *responses: str, name: str = "strict-match", label: Any = 1.0) -> dict[str, Any]:
    """A row as lm_eval 0.4.13 writes it with --log_samples, without what is not read."""
    return {
        "doc_id": number,
        "doc": {"question": f"{number} + 1 pens?", "answer": "4+1=<<4+1=5>>5\n#### 5"},
        "target": "4+1=<<4+1=5>>5\n#### 5",
        "resps": [[*responses]],
        "filtered_resps": ["5"],
        "filter": name,
        "metrics": ["exact_match"],
        "exact_match": label,
    }


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def means(found: Rescored) -> tuple[int, int, float, float | None]:
    """Problems, samples a problem, mean score by the verifier and by the stored labels."""
    outcomes, labels = found.by_verifier, found.by_labels
    ((model, mode),) = outcomes.entries
    shares = [
        one.scores(model, mode, outcomes.drawn)["mean"].mean() for one in (outcomes, labels) if one.entries
    ]
    return len(outcomes.problems), outcomes.drawn, shares[0], shares[1] if len(shares) > 1 else None


def test_lm_evals_rows_of_two_filters_are_one_response(tmp_path: Path) -> None:
    rows = [
        lm_eval(number, text, name=name, label=label)
        for name, label in (("strict-match", 0.0), ("flexible-extract", 1.0))
        for number, text in enumerate(BOXED)
    ]
    folder = tmp_path / "out" / "model"
    write(folder / "samples_gsm8k_2026-12-02T18-29-22.772737.jsonl", *rows)
    (folder / "results_2026-12-02T18-29-22.772737.json").write_text('{"results": {}}')
    found = fold([tmp_path / "out"], verify=True)
    assert means(found) == (3, 1, pytest.approx(2 / 3), 0.0), "labels are the first filter's"
    assert [*found.layouts] == ["lm-evaluation-harness"]
    assert found.by_verifier.problems == ["gsm8k/0", "gsm8k/1", "gsm8k/2"]


def test_two_tasks_of_lm_eval_are_two_benchmarks(tmp_path: Path) -> None:
    for task in ("gsm8k", "minerva_math_algebra"):
        write(tmp_path / f"samples_{task}_2026-12-02T18-29-22.772737.jsonl", lm_eval(0, BOXED[0]))
    found = fold([tmp_path], verify=True)
    assert means(found) == (2, 1, 1.0, 1.0)


def test_two_runs_of_one_task_are_refused(tmp_path: Path) -> None:
    for place in (
        "a/samples_gsm8k_2026-12-02T18-29-22.7.jsonl",
        "a/samples_gsm8k_2026-12-03T08-00-00.1.jsonl",
    ):
        path = write(tmp_path / place, lm_eval(0, BOXED[0]))
    with pytest.raises(
        BadData, match=r"two runs of gsm8k, a/samples_gsm8k_2026-12-02.* and a/samples_.*-03T08"
    ):
        fold([tmp_path], verify=True)
    assert means(fold([path], verify=True)) == (1, 1, 1.0, 1.0)


def test_one_verdict_on_several_samples_is_nobodys(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", lm_eval(0, *BOXED, label=1.0))
    assert means(fold([path], verify=True)) == (1, 3, pytest.approx(2 / 3), None)


def test_nemo_skills_files_of_one_folder_are_the_samples_of_its_problems(tmp_path: Path) -> None:
    for seed, text in enumerate(BOXED):
        rows = [
            {"problem": f"{number}?", "expected_answer": 5, "generation": text, "symbolic_correct": seed != 1}
            for number in range(2)
        ]
        write(tmp_path / f"output-rs{seed}.jsonl", *rows)
        (tmp_path / f"output-rs{seed}.jsonl.done").touch()
    (tmp_path / "metrics.json").write_text("{}")
    assert means(fold([tmp_path], verify=True)) == (2, 3, pytest.approx(2 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (
            "Qwen2.5-Math's evaluation",
            {"question": "?", "gt": "5", "code": BOXED, "score": [True, False, True]},
        ),
        (
            "OpenR1-Math",
            {
                "problem": "?",
                "answer": "5",
                "generations": BOXED,
                "correctness_math_verify": [True, False, True],
            },
        ),
    ],
)
def test_lists_of_samples(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    found = fold([write(tmp_path / "rows.jsonl", row)], verify=True)
    assert [*found.layouts] == [name]
    assert means(found) == (1, 3, pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_verls_rollouts_by_the_prompt(tmp_path: Path) -> None:
    rows = [
        {"input": "q", "output": text, "gts": "5", "score": -1.0, "step": 3, "acc": text != BOXED[1]}
        for text in BOXED
    ]
    found = fold([write(tmp_path / "3.jsonl", *rows)], verify=True)
    assert means(found) == (1, 3, pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_real_responses_of_qwens_harness_need_no_mapping() -> None:
    path = SHARED_DATA / "voting" / "math_cot_100.jsonl"
    if not path.is_file():
        pytest.skip("no voting/math_cot_100.jsonl in shared/data")
    found = fold([path], verify=True)
    assert [*found.layouts] == ["Qwen2.5-Math's best of n"]
    assert means(found) == (100, 8, pytest.approx(0.91125), pytest.approx(0.91))


def test_a_path_into_a_column_and_a_list_of_one_list(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", lm_eval(0, *BOXED))
    fields = Fields(response="resps", answer="target", problem="doc.question")
    assert means(fold([path], fields, verify=True)) == (1, 3, pytest.approx(2 / 3), None)
    with pytest.raises(BadData, match=r"field 'doc.questoin': no row has this column"):
        fold([path], Fields(response="resps", answer="target", problem="doc.questoin"), verify=True)


def test_a_broken_row_is_named_with_its_own_column(tmp_path: Path) -> None:
    row = lm_eval(1, "x", label="often")
    with pytest.raises(BadData) as error:
        fold([write(tmp_path / "rows.jsonl", lm_eval(0, "x"), row)], verify=True)
    assert "row 2, field 'exact_match': expected true, false" in str(error.value)
    assert "read as lm-evaluation-harness" in str(error.value)


def test_likelihoods_of_choices_are_refused(tmp_path: Path) -> None:
    row = {**lm_eval(0, "x"), "resps": [[["-3.25", "False"]], [["-1.5", "True"]]]}
    with pytest.raises(BadData, match=r"row 1, field 'resps': expected a text, found a list"):
        fold([write(tmp_path / "rows.jsonl", row)], verify=True)


def test_no_layout_hides_a_later_one() -> None:
    for layout in LAYOUTS:
        assert recognize(layout.needs) is layout


def lighteval(number: int, *responses: str, verdict: float = 1.0, **others: Any) -> dict[str, Any]:
    """A row as lighteval writes it today with --save-details, without what is not read."""
    return {
        "doc": {
            "query": f"Solve: {number} + 1 pens?",
            "choices": [" 4+1=<<4+1=5>>5\n#### 5"],
            "gold_index": [0],
            "id": str(number),
        },
        "metric": {"extractive_match": verdict},
        "model_response": {"text": [*responses], "logprobs": [], "input": "…", **others},
    }


def details(folder: Path, *rows: dict[str, Any], task: str = "lighteval|gsm8k|0") -> Path:
    path = folder / "details" / "org" / "model" / "2026-12-02T18-29-22.772737"
    path.mkdir(parents=True)
    (folder / "results" / "org").mkdir(parents=True)
    (folder / "results" / "org" / "results_2026-12-02T18-29-22.772737.json").write_text('{"results": {}}')
    file = path / f"details_{task}_2026-12-02T18-29-22.772737.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file


def test_lightevals_details_are_read_with_their_verdicts(tmp_path: Path) -> None:
    rows = (lighteval(number, text, verdict=float(number != 1)) for number, text in enumerate(BOXED))
    details(tmp_path, *rows)
    found = fold([tmp_path], verify=True)
    assert means(found) == (3, 1, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert [*found.layouts] == ["lighteval"]
    assert found.by_verifier.problems == [f"lighteval|gsm8k|0/{number}" for number in range(3)]


def test_lightevals_samples_are_in_one_row(tmp_path: Path) -> None:
    file = details(tmp_path, lighteval(0, *BOXED), lighteval(1, *BOXED))
    assert means(fold([file], verify=True)) == (2, 3, pytest.approx(2 / 3), None)


def test_lightevals_older_details_whose_columns_are_texts_are_read(tmp_path: Path) -> None:
    rows = [
        {
            "full_prompt": f"{number}?",
            "predictions": str([text]),
            "gold": str(["5"]),
            "metrics": str({"extractive_match": int(number != 1)}),
        }
        for number, text in enumerate(BOXED)
    ]
    file = details(tmp_path, *rows)
    assert means(fold([file], verify=True)) == (3, 1, pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_lightevals_log_probabilities_are_refused(tmp_path: Path) -> None:
    file = details(tmp_path, lighteval(0, logprobs=[-1.0, -2.0]))
    with pytest.raises(BadData, match=r"row 1, field 'model_response': .*no text"):
        fold([file], verify=True)
