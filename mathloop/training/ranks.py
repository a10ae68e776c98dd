"""The processes that train together: rank, collectives. One process is the usual case.

`torchrun` (on one pod or under a TrainJob) sets the variables that are read here. The backend is NCCL
between GPUs and gloo between CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from mathloop.errors import BadConfig


@dataclass(frozen=True)
class Ranks:
    """This process, one of `world`."""

    rank: int
    world: int
    device: torch.device
    local: int = 0
    """Which of the processes of its machine this is."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the outputs."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """Each value summed over all ranks, in double precision."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter], bucket: int = 1 << 25) -> None:
        """Replaces each gradient by its sum over all ranks, in buckets of at least `bucket` numbers.

        A parameter without a gradient gets zeros, for any number of ranks.
        """
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world == 1:
            return
        pending: list[Tensor] = []
        size = 0
        for parameter in parameters:
            assert parameter.grad is not None
            pending.append(parameter.grad)
            size += parameter.grad.numel()
            if size >= bucket:
                _sum_in_place(pending)
                pending, size = [], 0
        _sum_in_place(pending)

    def gather(self, value: int) -> list[int]:
        """Every rank's `value`, in the order of the ranks."""
        if self.world == 1:
            return [value]
        values = torch.zeros(self.world, dtype=torch.long, device=self.device)
        values[self.rank] = value
        distributed.all_reduce(values)
        return [int(one) for one in values.tolist()]

    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's `value`, of any type, in the order of the ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first rank's `value`, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def broadcast_tensor(self, tensor: Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The first rank's `tensor` (None on the others), on every rank's device."""
        if tensor is None:
            tensor = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        tensor = tensor.to(self.device).contiguous()
        if self.world > 1:
            distributed.broadcast(tensor, src=0)
        return tensor

    def barrier(self) -> None:
        """Returns when every rank has called it."""
        if self.world > 1:
            distributed.barrier()


def join_ranks() -> Ranks:
    """Joins torchrun's process group, once; a single rank without torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda:
        if local >= torch.cuda.device_count():
            raise BadConfig(
                f"rank {local} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                "start as many processes as GPUs"
            )
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if world > 1 and not distributed.is_initialized():
        # Ranks wait while rank 0 fetches, loads or saves a model, which may take long.
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=2))
    return Ranks(int(os.environ.get("RANK", "0")), world, device, local)


def most_of_ranks(value: int, device: torch.device) -> int:
    """The largest `value` of all ranks; every rank calls this."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return value
    most = torch.tensor(value, device=device)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return int(most)


def _sum_in_place(tensors: list[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
