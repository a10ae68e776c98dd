"""A launcher as a pod runs it, to be killed.

python -m tests.unit.cluster.launcher QUEUE_SECONDS RUN_SECONDS
"""

import sys

from mathloop.cluster import train_job, train_job_spec
from mathloop.cluster.kubernetes import Cluster
from mathloop.errors import MathloopError
from mathloop.settings.pools import Pool

JOB = train_job_spec.build(
    name=train_job_spec.job_name("run-1", "sft"),
    namespace="mathloop",
    stage="sft",
    task='{"recipe": "sft"}',
    pool=Pool(accelerator="nvidia.com/gpu", gpus=2, nodes=2, queue="mathloop", shared_memory="8Gi"),
    secret="mathloop-s3",
    config_map="mathloop-store",
)

if __name__ == "__main__":
    try:
        train_job.run(
            Cluster.connect(),
            JOB,
            queue_seconds=float(sys.argv[1]),
            run_seconds=float(sys.argv[2]),
            say=lambda text: print(text, flush=True),
            poll_seconds=0.1,
        )
    except MathloopError as error:
        print(f"FAILED {error}", flush=True)
        sys.exit(error.exit_code)
    print("COMPLETE", flush=True)
