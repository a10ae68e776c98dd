"""Synthesis only: SFT data from the current champion, without training anything."""

from kfp import dsl

from pipelines.placement import place, retried
from pipelines.synthesis import add_synthesis


@dsl.pipeline(name="data")
def data(
    store_url: str,
    problems_file: str = "",
    seed: int = 0,
    problems: str = "{}",
    evolution: str = "{}",
    decontamination: str = "{}",
    cot: str = "{}",
    tir: str = "{}",
    sampler_nodes: dict = {},  # noqa: B006  (KFP reads the default, nobody changes it)
    sampler_tolerations: list = [],  # noqa: B006
) -> None:
    """Lets the champion write and select solutions, decontaminated against the benchmark.

    Args:
        store_url: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems_file: A .jsonl or .parquet file of training problems; empty for the built-in generator.
        seed: Seed of every stage; the same seed and champion give the same data. -1 draws one
            from the run's id.
        problems: Settings of the training problems and the benchmark, as JSON.
        evolution: Settings of problem evolution, as JSON.
        decontamination: Settings of decontamination, as JSON.
        cot: Settings of CoT sampling and selection, as JSON.
        tir: Settings of TIR sampling and selection, as JSON.
        sampler_nodes: Labels of the nodes that sample, as {label: value}; {} leaves it to Kubernetes.
        sampler_tolerations: Taints that they may have beside their pool's, as [{key, operator, effect}].
    """
    tasks = add_synthesis(
        store_url=store_url,
        problems_file=problems_file,
        seed=seed,
        problems=problems,
        evolution=evolution,
        decontamination=decontamination,
        cot=cot,
        tir=tir,
        others={},
    )
    place("sampler", *tasks.sampling, nodes=sampler_nodes, tolerations=sampler_tolerations)
    place("control", *tasks.light)
    retried(*tasks.moving)
