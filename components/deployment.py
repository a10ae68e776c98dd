"""KFP component: deployment of a promoted champion."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def deployment(
    store: str,
    serve: str,
    published: dsl.Input[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
) -> None:
    """Deploys the champion to its KServe endpoints if the round promoted it; otherwise changes nothing.

    Args:
        serve: no leaves the endpoints as they are.
        published: Whether the round promoted its challenger, as JSON.
    """
    from components.running import run
    from mathloop.cluster import deployment as stage
    from mathloop.settings.pools import DeploymentConfig

    run(
        stage.run,
        summary,
        store_url=store,
        serve=serve == "yes",
        published=published,
        config=DeploymentConfig.model_validate_json(settings),
    )
