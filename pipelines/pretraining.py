"""The first champion of a store, trained from random weights."""

from components.base_publication import base_publication
from components.corpus import corpus
from components.pretrain import pretrain
from pipelines.beginning import add_preflight
from pipelines.placement import place, retried
from pipelines.tracing import pipeline
from pipelines.training import ROUND_ID, add_training


@pipeline("pretraining")
def pretraining(store: str, overrides: str = "{}", seed: int = 0) -> None:
    """Writes a corpus, trains a language model on it from random weights, and publishes it as champion 0.

    Args:
        store: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        overrides: Settings that differ from the profile's, as one JSON object: {"pretrain": {"steps": 900}}.
        seed: Seed of the corpus and of the training; -1 draws one from the run's id.
    """
    preflight_task, start = add_preflight(store=store, overrides=overrides, seed=seed, first=True)
    # A local run may do this and a round one after the other, each with a folder of its own per stage.
    preflight_task.set_display_name("preflight-pretraining")
    drawn = start["seed"]
    corpus_task = corpus(settings=start["corpus"], seed=drawn, cache_key=start["cache_key"])
    pretrain_task = add_training(
        pretrain, store=store, corpus=corpus_task.outputs["corpus"], settings=start["pretrain"], seed=drawn
    )
    published = base_publication(
        store=store, round_id=ROUND_ID, model=pretrain_task.outputs["model"]
    ).set_caching_options(False)
    place("control", corpus_task, published)
    retried(published)
