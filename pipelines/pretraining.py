"""Creates a store's first champion by pretraining from random weights."""

from components.base_publication import base_publication
from components.corpus import corpus
from components.pretrain import pretrain
from pipelines.placement import place, traced_settings
from pipelines.preflight import add_preflight
from pipelines.tracing import pipeline
from pipelines.training import ROUND_ID, add_training, model_of


@pipeline("pretraining")
def pretraining(store: str, overrides: str = "{}", seed: int = 0) -> None:
    """Builds or generates a corpus, pretrains a language model on it, and publishes the model as champion 0.

    Args:
        store: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        overrides: Settings that override the profile's, as one JSON object: {"pretrain": {"steps": 900}}.
        seed: Seed of corpus and training; -1 derives one from the run's id.
    """
    preflight_task, start = add_preflight(store=store, overrides=overrides, seed=seed, first=True)
    # A local run may run this and a round in sequence, and each stage needs its own folder.
    preflight_task.set_display_name("preflight-pretraining")
    run_seed = start["seed"]
    corpus_task = corpus(
        settings=start["corpus"],
        decontamination=start["decontamination"],
        benchmarks=start["benchmarks"],
        seed=run_seed,
        cache_key=start["cache_key"],
    )
    own = traced_settings().corpus
    if own.sources or own.given:
        corpus_task.set_caching_options(False)  # their content may have changed
    pretrain_task = add_training(
        pretrain, store=store, corpus=corpus_task.outputs["corpus"], settings=start["pretrain"], seed=run_seed
    )
    published = base_publication(
        store=store,
        round_id=ROUND_ID,
        model=model_of(pretrain_task),
        corpus_summary=corpus_task.outputs["summary"],
        pretrain_summary=pretrain_task.outputs["summary"],
        configuration=start["settings"],
        tracking=start["tracking"],
    ).set_caching_options(False)
    place("control", corpus_task, published)
