"""A sampling pod's process whose engine answers by a script, slowly enough to be killed in a shard.

python -m tests.unit.cluster.pod
"""

import time

from mathloop.cluster import sampling_node
from mathloop.records import Problem, Response
from mathloop.sampling.sharing import pod
from tests.unit.synthesis.scripted import ScriptedSampler


def answer(problem: Problem, sample: int) -> Response:
    time.sleep(0.2)
    return Response(problem.id, sample, "cot", f"an answer to {problem.id}", finish_reason="stop")


if __name__ == "__main__":
    pod.load_engines = lambda *_: ScriptedSampler(answer, 10_000)
    pod._PodSampler.fits = lambda *_: True  # type: ignore[method-assign]
    sampling_node.main()
