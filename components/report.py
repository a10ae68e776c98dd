"""KFP component: the round's report."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def report(
    round_id: str,
    preflight: dsl.Input[dsl.Markdown],
    champion: dsl.Input[dsl.Markdown],
    problems: dsl.Input[dsl.Markdown],
    evolution: dsl.Input[dsl.Markdown],
    decontamination_problems: dsl.Input[dsl.Markdown],
    cot: dsl.Input[dsl.Markdown],
    tir: dsl.Input[dsl.Markdown],
    decontamination_cot: dsl.Input[dsl.Markdown],
    decontamination_tir: dsl.Input[dsl.Markdown],
    sft: dsl.Input[dsl.Markdown],
    reward_data: dsl.Input[dsl.Markdown],
    reward_model: dsl.Input[dsl.Markdown],
    selection: dsl.Input[dsl.Markdown],
    grpo: dsl.Input[dsl.Markdown],
    evaluation: dsl.Input[dsl.Markdown],
    gate: dsl.Input[dsl.Markdown],
    publication: dsl.Input[dsl.Markdown],
    benchmark: dsl.Input[dsl.Dataset],
    results: dsl.Input[dsl.Dataset],
    verdict: dsl.Input[dsl.Artifact],
    published: dsl.Input[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
) -> None:
    """Writes the round's report: one self-contained HTML page.

    Args:
        preflight: Summary of the checks.
        champion: Summary of fetching the champion.
        problems: Summary of building problems and benchmark.
        evolution: Summary of evolving the problems.
        decontamination_problems: Summary of decontaminating the problems.
        cot: Summary of sampling CoT responses.
        tir: Summary of sampling TIR responses.
        decontamination_cot: Summary of decontaminating CoT responses.
        decontamination_tir: Summary of decontaminating TIR responses.
        sft: Summary of supervised fine-tuning.
        reward_data: Summary of sampling training data for the reward model.
        reward_model: Summary of training the reward model.
        selection: Summary of selecting the problems for GRPO.
        grpo: Summary of GRPO.
        evaluation: Summary of the evaluation.
        gate: Summary of the gate.
        publication: Summary of publishing.
        benchmark: Problems that the models answered.
        results: Responses of every model.
        verdict: The gate's decision, as JSON.
        published: What was published, as JSON.
        page: The report.
        settings: All settings of the run as JSON; the report lists them.
    """
    from components.running import run
    from mathloop.reports import round as stage

    summaries = [preflight, champion, problems, evolution, decontamination_problems, cot, tir]
    summaries += [decontamination_cot, decontamination_tir, sft, reward_data, reward_model, selection, grpo]
    run(
        stage.run,
        summary,
        summaries=[*summaries, evaluation, gate, publication],
        benchmark=benchmark,
        results=results,
        gate=verdict,
        published=published,
        out=page,
        title=f"Round {round_id}",
        configuration=settings,
    )
