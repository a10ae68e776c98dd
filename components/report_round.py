"""KFP component: the round's page."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def report_round(
    title: str,
    preflight: dsl.Input[dsl.Artifact],
    champion: dsl.Input[dsl.Artifact],
    problems: dsl.Input[dsl.Artifact],
    evolution: dsl.Input[dsl.Artifact],
    decontaminated_problems: dsl.Input[dsl.Artifact],
    cot: dsl.Input[dsl.Artifact],
    tir: dsl.Input[dsl.Artifact],
    decontaminated_cot: dsl.Input[dsl.Artifact],
    decontaminated_tir: dsl.Input[dsl.Artifact],
    sft: dsl.Input[dsl.Artifact],
    reward_data: dsl.Input[dsl.Artifact],
    reward_model: dsl.Input[dsl.Artifact],
    selection: dsl.Input[dsl.Artifact],
    grpo: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    judgment: dsl.Input[dsl.Artifact],
    publication: dsl.Input[dsl.Artifact],
    benchmark: dsl.Input[dsl.Dataset],
    results: dsl.Input[dsl.Dataset],
    verdict: dsl.Input[dsl.Artifact],
    published: dsl.Input[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    configuration: str = "{}",
) -> None:
    """Draws the round's report: one page of HTML that needs no network.

    Args:
        title: Heading of the page.
        preflight: What preflight said of itself, as JSON; the same for every stage below.
        champion: Stage report of fetching the champion.
        problems: Stage report of building the problems.
        evolution: Stage report of evolving them.
        decontaminated_problems: Stage report of decontaminating the problems.
        cot: Stage report of sampling CoT responses.
        tir: Stage report of sampling TIR responses.
        decontaminated_cot: Stage report of decontaminating CoT responses.
        decontaminated_tir: Stage report of decontaminating TIR responses.
        sft: Stage report of fine-tuning.
        reward_data: Stage report of sampling for the reward model.
        reward_model: Stage report of training the reward model.
        selection: Stage report of choosing the problems for GRPO.
        grpo: Stage report of GRPO.
        evaluation: Stage report of the evaluation.
        judgment: Stage report of the gate.
        publication: Stage report of publishing.
        benchmark: Problems that were answered.
        results: Answers of every model.
        verdict: The gate's verdict, as JSON.
        published: What was published, as JSON.
        page: The report.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        configuration: Settings to print in the report, as JSON.
    """
    import json
    from pathlib import Path

    from components.ports import record
    from mathloop.reports import round as page_of_round

    reports = [preflight, champion, problems, evolution, decontaminated_problems, cot, tir]
    reports += [decontaminated_cot, decontaminated_tir, sft, reward_data, reward_model, selection, grpo]
    reports += [evaluation, judgment, publication]
    report = page_of_round.run(
        stage_reports=[Path(artifact.path) for artifact in reports],
        benchmark=Path(benchmark.path),
        results=Path(results.path),
        gate=Path(verdict.path),
        published=Path(published.path),
        out=Path(page.path),
        title=title,
        configuration=json.loads(configuration),
    )
    record(report, metrics, stage_report)
