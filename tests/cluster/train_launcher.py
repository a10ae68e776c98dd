"""A launcher of two nodes as a step of a run is one, in a process that can be killed.

python -m tests.cluster.train_launcher STORE_URL RUN_ID FOLDER STEPS [QUEUE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from mathloop.cluster import train_job_launching
from mathloop.errors import MathloopError
from mathloop.records import write_rows
from mathloop.settings.pools import Pool
from mathloop.training.config import OptimizerConfig, PretrainConfig

RECIPE = "pretrain"


def launch(store_url: str, run_id: str, folder: Path, steps: int, queue: str) -> None:
    """Trains a model of a few thousand parameters for `steps` on two nodes, into `folder`/model."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    rows = ((a, b) for a in range(8) for b in range(8))
    write_rows(
        folder / "corpus.jsonl",
        ({"problem": f"{a} + {b}?", "solution": f"So \\boxed{{{a + b}}}.", "mode": "cot"} for a, b in rows),
    )
    config = PretrainConfig(
        vocabulary=320,
        hidden=32,
        layers=2,
        heads=2,
        steps=steps,
        batch_size=8,
        optimizer=OptimizerConfig(checkpoint_steps=20),
    )
    # Without requests of its own, a job has its runtime's; Kueue counts either the one or the other.
    pool = Pool(nodes=2, cpu="", memory="", queue=queue)
    train_job_launching.run(
        recipe=RECIPE,
        inputs={"corpus": folder / "corpus.jsonl"},
        store_url=store_url,
        round_id=run_id,
        model=folder / "model",
        work=folder / "work",
        pool=pool.model_dump_json(),
        access="{}",
        config=config.model_dump_json(),
        seed=1,
        say=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    try:
        launch(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), (*sys.argv, "")[5])
    except MathloopError as error:
        print(f"FAILED {error}", flush=True)
        sys.exit(error.exit_code)
    print("TRAINED", flush=True)
