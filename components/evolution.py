"""KFP component: problem evolution."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def evolution(
    problems: dsl.Input[dsl.Dataset],
    evolved: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Evolves problems by changing their numbers; keeps the originals too.

    Args:
        evolved: The original problems and the new ones.
    """
    from components.running import run
    from mathloop.problems import evolve
    from mathloop.problems.config import EvolutionConfig

    run(
        evolve.run,
        summary,
        problems=problems,
        out=evolved,
        dropped=dropped,
        config=EvolutionConfig.model_validate_json(settings),
        seed=seed,
    )
