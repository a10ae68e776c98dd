"""How GRPO's groups are divided among processes; without torch, so that a plan knows it too."""

from __future__ import annotations

import math

from mathloop.errors import BadConfig
from mathloop.training.config import GRPOConfig


def parts_per_group(config: GRPOConfig, world: int) -> int:
    """Equal parts that each group is cut into, so that all ranks get as many of each mini-batch.

    Raises BadConfig if there is no such number.
    """
    groups = config.problems_per_step // config.mini_batches
    parts = world // math.gcd(world, groups)
    if config.group_size % parts:
        raise BadConfig(
            f"grpo: mini-batches of {groups} groups (problems_per_step / mini_batches) cannot be divided "
            f"evenly among {world} processes, which would cut groups of group_size={config.group_size} into "
            f"{parts} parts: make group_size a multiple of {parts}, or problems_per_step one of "
            f"{world * config.mini_batches}"
        )
    return parts
