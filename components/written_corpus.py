"""KFP component: written problems with their solutions, to pretrain on."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def written_corpus(
    problems: dsl.Input[dsl.Dataset],
    cot_responses: dsl.Input[dsl.Dataset],
    cot_dropped: dsl.Input[dsl.Dataset],
    tir_responses: dsl.Input[dsl.Dataset],
    tir_dropped: dsl.Input[dsl.Dataset],
    filtered: dsl.Output[dsl.Dataset],
    unfiltered: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Makes dialogues of written problems and the responses that votes and rewards kept.

    Args:
        problems: The written problems; none has an answer.
        cot_responses: CoT responses that were kept.
        cot_dropped: CoT responses that were dropped.
        tir_responses: TIR responses that were kept.
        tir_dropped: TIR responses that were dropped.
        filtered: A dialogue per response that was kept.
        unfiltered: For comparison, every problem with its first response of each mode.
    """
    from components.running import run
    from mathloop.synthesis import written_corpus as stage

    run(
        stage.run,
        summary,
        problems=problems,
        responses={"cot": cot_responses, "tir": tir_responses},
        dropped={"cot": cot_dropped, "tir": tir_dropped},
        filtered=filtered,
        unfiltered=unfiltered,
    )
