"""The evaluation of one champion, and its report: scores by mode and strategy, and responses to read."""

from __future__ import annotations

from pathlib import Path

from mathloop.evaluation import evaluate, score_table
from mathloop.evaluation.config import NO_BENCHMARKS, BenchmarksConfig, EvaluationConfig
from mathloop.files import write_file
from mathloop.records import read_problems, read_responses
from mathloop.reports.configuration import configuration_section
from mathloop.reports.figures import count
from mathloop.reports.markup import element
from mathloop.reports.page import page as html_page
from mathloop.reports.process import stages_section
from mathloop.reports.samples import choose, samples_section
from mathloop.reports.scores import scores_section
from mathloop.stages import StageReport


def run(
    *,
    benchmark: Path,
    models: dict[str, Path],
    reward_model: Path,
    out: Path,
    page: Path,
    config: EvaluationConfig,
    seed: int,
    named: BenchmarksConfig = NO_BENCHMARKS,
) -> StageReport:
    """Answers the benchmark with the champion and writes the report of it.

    Args:
        models: the champion alone, as `champion`.
        out: becomes every Response with its verdict and reward.
        page: becomes the report, one HTML file.

    Raises:
        BadData, BadModel, MathloopError: as `mathloop.evaluation.evaluate.run`.
    """
    report = evaluate.run(
        benchmark=benchmark,
        models=models,
        reward_model=reward_model,
        out=out,
        config=config,
        seed=seed,
        named=named,
    )
    write_page(benchmark=benchmark, results=out, report=report, config=config, out=page)
    return report


def write_page(
    *, benchmark: Path, results: Path, report: StageReport, config: EvaluationConfig, out: Path
) -> None:
    """Writes the report of an evaluation as one self-contained HTML file, atomically."""
    problems = list(read_problems(benchmark))
    table = score_table(problems, read_responses(results), k=None)
    chosen = choose(problems, [read_responses(results), read_responses(results)], challenger="champion")
    asked = count(len(problems))
    header = element(
        "header",
        element("p", "mathloop · evaluation", class_="eyebrow"),
        element("h1", "Evaluation of the champion"),
        element("p", f"{asked} problems, {count(report.generated)} responses.", class_="reason"),
    )
    sections = {
        "scores": scores_section(table),
        "stages": stages_section([report]),
        "samples": samples_section(chosen, "champion"),
        "configuration": configuration_section({"evaluation": config.model_dump(mode="json")}, [report]),
    }
    write_file(out, html_page("Evaluation of the champion", header, sections).encode("utf-8"))
