"""KFP component: problems that a model writes for a corpus."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def written_problems(
    policy: dsl.Input[dsl.Model],
    statements: dsl.Input[dsl.Dataset],
    problems: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    decontamination: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Has the champion, or another writer, write problems from nothing and rewrite them.

    Args:
        policy: The champion's policy.
        statements: What must not be written; without answers.
        problems: The written problems; none has an answer.
        decontamination: Settings of decontamination as JSON.
    """
    from components.running import run, work_folder
    from mathloop.decontamination.config import DecontaminationConfig
    from mathloop.writing import from_nothing
    from mathloop.writing.config import WritingConfig

    run(
        from_nothing.run,
        summary,
        pods=[pods, store, round_id],
        resumes=True,
        policy=policy,
        statements=statements,
        out=problems,
        dropped=dropped,
        work=work_folder(),
        config=WritingConfig.model_validate_json(settings),
        decontamination=DecontaminationConfig.model_validate_json(decontamination),
        seed=seed,
    )
