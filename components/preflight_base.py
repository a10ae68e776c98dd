"""KFP component: checks before a first model is trained."""

from typing import NamedTuple

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def preflight_base(
    store_url: str,
    round_id: str,
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    seed: int = 0,
    corpus: str = "{}",
    train: str = "{}",
) -> NamedTuple("Start", [("cache_key", str), ("seed", int)]):
    """Checks settings, and that the store waits for its first champion; says what KFP may reuse.

    Args:
        store_url: Store: a folder, file:///… or s3://bucket/prefix.
        round_id: Name of the model in the store, which a seed is drawn from.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        seed: Seed of the run; -1 draws one.
        corpus: Settings of the corpus, as JSON.
        train: Settings of the training and of the model's size, as JSON.
    """
    from components.ports import record
    from mathloop.cluster import preflight as stage

    report, start = stage.run_base(
        store_url=store_url,
        round_id=round_id,
        seed=seed,
        settings={"corpus": corpus, "train": train},
        uri=stage_report.uri,
    )
    record(report, metrics, stage_report)
    return start
