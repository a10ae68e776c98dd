"""A sampling pod's process whose stage answers without a model, slowly enough to be killed in a shard.

python -m tests.unit.cluster.pod
"""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from mathloop.cluster import sampling_node
from mathloop.records import Response, read_problems, write_responses
from mathloop.stages import StageReport


def draw(*, problems: Path, out: Path, dropped: Path, seed: int, **_: Any) -> StageReport:
    time.sleep(0.2)
    asked = [problem.id for problem in read_problems(problems)]
    write_responses(out, (Response(one, 0, "cot", f"{one} with seed {seed}") for one in asked))
    dropped.write_text("")
    return StageReport("reward_data", inputs=len(asked), generated=len(asked), kept=len(asked))


def stand_in(name: str, **attributes: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module


if __name__ == "__main__":
    stand_in("mathloop.synthesis.reward_data", run=draw)
    stand_in("mathloop.sampling.engines", kept_samplers=nullcontext)
    sampling_node.main()
