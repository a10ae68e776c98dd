"""KFP component: pretraining text."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def write_corpus(
    corpus: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Writes the pretraining corpus.

    Args:
        corpus: Documents: worked problems.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
        cache_key: What KFP's cache has to tell apart and cannot see; preflight makes it.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.corpus import write
    from mathloop.corpus.config import CorpusConfig

    report = write.run(
        out=Path(corpus.path),
        config=CorpusConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
