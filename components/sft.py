"""KFP component: supervised fine-tuning (SFT)."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def sft(
    problems: dsl.Input[dsl.Dataset],
    cot: dsl.Input[dsl.Dataset],
    tir: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    sft_policy: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Fine-tunes the policy jointly on the selected CoT and TIR responses.

    Args:
        cot: CoT responses to train on.
        tir: TIR responses to train on.
        policy: Model to start from.
        sft_policy: The trained policy.
    """
    from functools import partial

    from components.running import run, work_folder
    from mathloop.training.config import SFTConfig
    from mathloop.training.processes import train

    run(
        partial(train, "sft"),
        summary,
        describes=[sft_policy],
        problems=problems,
        responses=[cot, tir],
        policy=policy,
        model=sft_policy,
        work=work_folder(),
        config=SFTConfig.model_validate_json(settings),
        seed=seed,
    )
