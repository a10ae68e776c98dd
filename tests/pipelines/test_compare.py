"""`mathloop compare` and `mathloop rounds --store`, as text, JSON and page; without a cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mathloop.evaluation.passes import Pass
from mathloop.evaluation.saved import SavedEvaluation, write_shard
from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.registry import Registry
from mathloop.reports.records import publish_record
from mathloop.stages import StageReport
from mathloop.storage import open_store
from pipelines.local.folder import write_json

PROBLEMS = [Problem(f"p{n}", f"How many are {n} apples?", str(n)) for n in range(20)]
Call = Callable[..., str]


def responses(model: str, right: int) -> list[Response]:
    """Greedy and two samples per problem, of which the first `right` problems are solved."""
    return [
        Response(p.id, sample, "cot", f"So \\boxed{{{answer}}}.", answer, n < right, model=model)
        for n, p in enumerate(PROBLEMS)
        for sample in range(-1, 2)
        for answer in [str(n) if n < right else "no"]
    ]


def make_run(folder: Path, name: str, steps: int, **right: int) -> Path:
    run = folder / "runs" / name
    for stage in ("problems", "evaluation"):
        (run / "stages" / stage).mkdir(parents=True)
    write_json(run / "run.json", {"profile": {"name": "x", "store": name, "grpo": {"steps": steps}}})
    write_problems(run / "stages/problems/benchmark", PROBLEMS)
    rows = [one for model, count in right.items() for one in responses(model, count)]
    write_responses(run / "stages/evaluation/results", rows)
    return run


def make_evaluation(folder: Path, right: int) -> Path:
    label = folder.name
    saved = SavedEvaluation(
        folder,
        {"model": label, "samples": 2, "temperature": 0.7},
        {"apples": {"problems": 20, "digest": "x", "prompt": {}, "modes": ["cot"]}},
    )
    for one, wanted in ((Pass("cot", 1, 0.0), lambda s: s < 0), (Pass("cot", 2, 0.7), lambda s: s >= 0)):
        rows = [
            (replace(PROBLEMS[int(r.problem_id[1:])], source="apples"), r, "prompt")
            for r in responses(label, right)
            if wanted(r.sample)
        ]
        write_shard(saved.shard("apples", one, 0), rows)
    return folder


def check(text: str, name: str = "held-out") -> None:
    """Of 20 problems, B solves 12 and A 6."""
    (line,) = [one.split() for one in text.splitlines() if one.startswith(name) and "CoT greedy" in one]
    assert line[:7] == [name, "CoT", "greedy", "20", "30.0", "60.0", "+30.0"]
    assert line[-1] == "holds"
    assert "6 fixed (greedy, by problem and mode):" in text
    assert "0 broken" in text


def test_two_runs_as_text_json_and_page(in_process: Call, tmp_path: Path) -> None:
    make_run(tmp_path, "one", 3, base=2, challenger=6)
    make_run(tmp_path, "other", 5, base=2, challenger=12)
    text = in_process("compare", "one", "runs/other", "--out", "page.html")
    check(text)
    assert "A  run one, challenger" in text
    assert "grpo.steps: 3 → 5" in text
    assert "CoT  p6  gold 6: no → 6  How many are 6 apples?" in text
    page = (tmp_path / "page.html").read_text()
    for words in ("+30.0", ">holds</span>", "How many are 6 apples?", "grpo.steps", "So "):
        assert words in page
    found = json.loads(in_process("compare", "one", "other", "--json"))
    greedy = next(one for one in found["scores"] if one["metric"] == "greedy")
    assert (greedy["a"], greedy["b"], greedy["problems"], greedy["mark"]) == (0.3, 0.6, 20, "holds")
    assert [one["problem_id"] for one in found["changed"]] == [f"p{n}" for n in range(6, 12)]
    assert found["settings"] == [{"key": "grpo.steps", "a": 3, "b": 5}]
    assert "6 broken (greedy, by problem and mode):" in in_process("compare", "other", "one")
    assert "A  run one, base" in in_process("compare", "one:base", "one")


def test_two_evaluations_of_folders_and_of_s3(in_process: Call, tmp_path: Path, s3: Any) -> None:
    folders = [make_evaluation(tmp_path / name, right) for name, right in (("early", 6), ("late", 12))]
    text = in_process("compare", *map(str, folders))
    check(text, "apples")
    assert "model: early → late" in text
    assert "is not complete" not in text
    unfinished = make_evaluation(tmp_path / "killed", 12)
    next(unfinished.rglob("cot-sampled*.parquet")).unlink()
    text = in_process("compare", "early", "killed")
    check(text, "apples")
    assert "B is not complete: each score is over the problems that both sides drew for it" in text
    assert "maj@2" not in text
    store = open_store("s3://mathloop/compared")
    for folder in folders:
        for path in folder.rglob("*.*"):
            data = path.read_bytes()
            key = f"{folder.name}/{path.relative_to(folder)}"
            with path.open("rb") as file:
                import hashlib

                store._objects.put(key, file, len(data), hashlib.sha256(data).hexdigest())
    check(in_process("compare", "s3://mathloop/compared/early", "s3://mathloop/compared/late"), "apples")


def test_score_warns_of_small_benchmarks(in_process: Call, tmp_path: Path) -> None:
    make_evaluation(tmp_path / "early", 6)
    caution = "The benchmark is small: 20 problems can show no difference below"
    assert caution in in_process("score", "early")
    rows = in_process("score", "early", "--json").splitlines()
    assert all(json.loads(row)["by"] == "verifier" for row in rows)


def test_two_champions_and_two_rounds_of_a_store(in_process: Call, tmp_path: Path, store_url: str) -> None:
    store, last = open_store(store_url), None
    (tmp_path / "weights").write_text("x")
    for name in ("base/b/policy", "rounds/r1/policy"):
        store.publish(tmp_path / "weights", name)
    registry = Registry(store)
    last = registry.promote(
        "base/b/policy", None, round_id="b", expected=None, base="base/b/policy", metrics={}
    )
    assert "the store has no responses of champion 0" in in_process("compare", "0", "0", "--store", store_url)
    for name, right, number in (("r0", 3, None), ("r1", 12, 1)):
        run = make_run(tmp_path / "made", name, right, base=6, challenger=right)
        publish_record(
            store,
            round_id=name,
            champion=last.to_json().decode(),
            published={"number": number},
            gate={},
            settings={"grpo": {"steps": right}},
            reports=[StageReport("grpo", 2.0)],
            benchmark=run / "stages/problems/benchmark",
            results=run / "stages/evaluation/results",
        )
    registry.promote(
        "rounds/r1/policy", None, round_id="r1", expected=last, base="base/b/policy", metrics={"n": 20.0}
    )
    text = in_process("compare", "0", "1", "--store", store_url)
    check(text)
    assert f"A  champion 0 of {store.url}" in text
    assert "grpo.steps: 3 → 12" in in_process("compare", "r0", "r1", "--store", store_url)
    assert "has champions 0 to 1" in in_process("compare", "2", "1", "--store", store_url)
    listed = in_process("rounds", "--store", store_url)
    assert "champion 1" in listed
    assert "grpo.steps: 3 → 12" in listed
    assert len(json.loads(in_process("rounds", "--store", store_url, "--json"))["rounds"]) == 2
    assert "page: r.html" in in_process("rounds", "--store", store_url, "--out", "r.html")
    assert "Percent right by champion" not in (tmp_path / "r.html").read_text()  # the gate has no scores


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing", "here"], "nothing: nothing of this name; expected a run"),
        (["one", "one:sft"], "run one, sft: no responses of sft; it has challenger"),
        (["one", "unfinished"], "the run has no evaluation to compare; finish it with --resume"),
        (["one", "one", "--out", "runs"], "--out runs: expected a file such as page.html, found a folder"),
    ],
)
def test_mistakes_are_one_line(in_process: Call, tmp_path: Path, arguments: list[str], line: str) -> None:
    make_run(tmp_path, "one", 3, challenger=6)
    shutil.rmtree(make_run(tmp_path, "unfinished", 3, challenger=6) / "stages" / "evaluation")
    found = in_process("compare", *arguments)
    assert found.startswith("2 mathloop: error: ")
    assert line in found
    assert len(found.splitlines()) == 1
