"""KFP component: pretraining."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def pretrain(
    corpus: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Trains a language model from random weights on the corpus.

    Args:
        corpus: Documents to train on.
    """
    from functools import partial

    from components.running import run, work_folder
    from mathloop.training.config import PretrainConfig
    from mathloop.training.processes import train

    run(
        partial(train, "pretrain"),
        summary,
        corpus=corpus,
        model=model,
        work=work_folder(),
        config=PretrainConfig.model_validate_json(settings),
        seed=seed,
    )
