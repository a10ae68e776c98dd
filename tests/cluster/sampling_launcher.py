"""The step `cot` as KFP's executor runs it in a pod, in a process that can be killed; without pods, too.

python -m tests.cluster.sampling_launcher STORE_URL RUN_ID FOLDER SETTINGS POOL

FOLDER has the inputs `problems` and `policy`, and gets the outputs. SETTINGS and POOL are JSON; an empty POOL
samples in this process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kfp.dsl.executor import Executor
from kfp.dsl.types import artifact_types

from components.cot import cot
from components.images import SAMPLER_IMAGE
from components.running import POD_ARGUMENT
from mathloop.cluster.sampling_launching import Pods
from mathloop.cluster.train_job_launching import Access
from mathloop.settings.pools import SamplerPool

INPUTS = {
    "problems": "Dataset",
    "policy": "Model",
    "reward_model": "Model",
    "champion_summary": "Markdown",
}
OUTPUTS = {"responses": "Dataset", "dropped": "Dataset", "summary": "Markdown"}


def step(store_url: str, run_id: str, folder: Path, settings: str, pool: str) -> None:
    """Runs the step; a user's mistake is one line and SystemExit, as in a pod."""
    pods = ""
    if pool:
        chosen = SamplerPool.model_validate_json(pool)
        pods = Pods(stage="cot", pool=chosen, access=Access(), image=SAMPLER_IMAGE).model_dump_json()
    values = {"settings": settings, "pods": pods, "store": store_url, "round_id": run_id, "seed": 7}
    given: dict[str, Any] = {
        "inputs": {"parameterValues": values, "artifacts": _artifacts(INPUTS)},
        "outputs": {
            "artifacts": _artifacts(OUTPUTS),
            "parameters": {},
            "outputFile": str(folder / "output_metadata.json"),
        },
    }
    artifact_types._MINIO_LOCAL_MOUNT_PREFIX = f"{folder}/"  # type: ignore[attr-defined]
    sys.argv = ["executor_main", POD_ARGUMENT, json.dumps(given)]
    Executor(given, cot.python_func).execute()


def _artifacts(kinds: dict[str, str]) -> dict[str, Any]:
    return {
        name: {
            "artifacts": [
                {
                    "name": name,
                    "uri": f"minio://{name}",
                    "type": {"schemaTitle": f"system.{kind}", "schemaVersion": "0.0.1"},
                }
            ]
        }
        for name, kind in kinds.items()
    }


if __name__ == "__main__":
    step(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], sys.argv[5])
    print("SAMPLED", flush=True)
