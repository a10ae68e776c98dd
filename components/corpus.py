"""KFP component: pretraining text."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def corpus(
    corpus: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Writes the pretraining corpus.

    Args:
        corpus: Documents, as Parquet.
    """
    from components.running import run
    from mathloop.corpus import write
    from mathloop.corpus.config import CorpusConfig

    run(write.run, summary, out=corpus, config=CorpusConfig.model_validate_json(settings), seed=seed)
