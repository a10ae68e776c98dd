"""KFP component: tool-integrated (TIR) training responses."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def tir(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    responses: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    sft_settings: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Samples tool-integrated (TIR) responses, which call Python, and selects those to train on; with several
    iterations, fine-tunes the policy in between.

    Args:
        sft_settings: Settings of the fine-tuning between iterations as JSON.
    """
    from functools import partial

    from components.running import run, work_folder
    from mathloop.synthesis import tir as stage
    from mathloop.synthesis.config import TIRConfig
    from mathloop.training.config import SFTConfig
    from mathloop.training.processes import train

    run(
        stage.run,
        summary,
        pods=[pods, store, round_id],
        resumes=True,
        problems=problems,
        policy=policy,
        out=responses,
        dropped=dropped,
        config=TIRConfig.model_validate_json(settings),
        seed=seed,
        train=partial(train, "sft", config=SFTConfig.model_validate_json(sft_settings)),
        work=work_folder(),
    )
