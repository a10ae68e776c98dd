"""The interface of `updates.py` over DeepSpeed ZeRO 1 to 3: sharded states, gradients and weights."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import HashStore

from mathloop.errors import BadConfig
from mathloop.models.dtypes import working_dtype
from mathloop.training.config import EngineConfig, OptimizerConfig
from mathloop.training.ranks import Ranks
from mathloop.training.updates import WEIGHT, optimizers

_STATES = ("exp_avg", "exp_avg_sq")


class ZeroUpdates:
    """A DeepSpeed engine around the module. Gradients are summed, not averaged, over the ranks."""

    def __init__(
        self, module: nn.Module, config: OptimizerConfig, engine: EngineConfig, ranks: Ranks
    ) -> None:
        if config.optimizer != "adamw":
            raise BadConfig(
                f"engine.zero={engine.zero} shards matrices, which {config.optimizer} does not support: "
                "set optimizer.optimizer=adamw, or engine.zero=0"
            )
        deepspeed = begin_deepspeed(ranks)
        self._world = ranks.world
        # DeepSpeed's own optimizer would be compiled on this machine; torch's fused one needs no compiler.
        (optimizer,) = optimizers(module, config)
        settings = settings_of(engine, config.clip)
        self.named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._engine, *_ = deepspeed.initialize(
            model=module, optimizer=optimizer, config=settings, dist_init_required=False
        )
        self.module = module
        self._inner: torch.optim.Optimizer = self._engine.optimizer.optimizer
        self._fill_states()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The module's forward; ZeRO-3 gathers each layer's weights during the pass."""
        return self._engine(*inputs, **named)

    def backward(self, loss: Tensor) -> None:
        """Adds this rank's share of the gradient; every rank must call it equally often."""
        self._engine.backward(loss * self._world)  # DeepSpeed takes the mean over the ranks

    def step(self, rate: float) -> float | None:
        """Reduces, clips and steps; returns the norm before clipping."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        return None if norm is None else float(norm)

    def keys(self, name: str) -> list[str]:
        """Keys of a parameter's tensors for a checkpoint."""
        return [WEIGHT, *_STATES]

    def read(self, name: str, key: str) -> Tensor:
        """One full float32 tensor, gathered from all ranks; every rank calls this, in the same order."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        parameter = self.named[name]
        if key == WEIGHT:
            whole = safe_get_full_fp32_param(parameter)
        else:
            whole = safe_get_full_optimizer_state(parameter, key)
        tensor: Tensor = whole.detach().view(self._shape(parameter))
        return tensor

    def write(self, name: str, key: str, value: Tensor) -> None:
        """Restores a tensor that `read` returned: each rank takes its shard."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        parameter = self.named[name]
        if key != WEIGHT:
            safe_set_full_optimizer_state(parameter, value, key)
            return
        safe_set_full_fp32_param(parameter, value)
        with self.gathered([parameter], change=True):
            parameter.data.copy_(value)  # the copy for computing; its dtype may differ

    def resume_at(self, step: int) -> None:
        """Sets the optimizer's step count."""
        for state in self._inner.state.values():
            state["step"].fill_(float(step))

    @contextmanager
    def gathered(self, parameters: list[nn.Parameter] | None = None, change: bool = False) -> Iterator[None]:
        """Full weights on every rank while inside: for decoding, and to set them.

        With the weights of the whole module, its forward takes no part in any collective, so that ranks may
        call it differently often.
        """
        import deepspeed

        chosen = list(self.module.parameters()) if parameters is None else parameters
        gathering = deepspeed.zero.GatheredParameters(chosen, modifier_rank=0 if change else None)
        with gathering, _without_hooks(self.module) if parameters is None else nullcontext():
            yield

    def _fill_states(self) -> None:
        """Creates zero states, as the first step would.

        DeepSpeed 0.19 links states to parameters once its first group has stepped, and would never find those
        of later groups.
        """
        flats = getattr(self._engine.optimizer, "fp32_partitioned_groups_flat", None)  # only ZeRO-3 has these
        for flat in flats or [flat for group in self._inner.param_groups for flat in group["params"]]:
            self._inner.state[flat] = {
                "step": torch.zeros((), dtype=torch.float32, device=flat.device),
                **{key: torch.zeros_like(flat) for key in _STATES},
            }
        link = getattr(self._engine.optimizer, "_lazy_init_hp_params_optimizer_state", None)
        if link is not None:  # ZeRO-3 looks states up on demand
            link()

    @staticmethod
    def _shape(parameter: nn.Parameter) -> torch.Size:
        shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
        return shape


def begin_deepspeed(ranks: Ranks) -> Any:
    """DeepSpeed, in the process group of `ranks`. Raises BadConfig where it is not installed."""
    deepspeed = _deepspeed()
    _join_alone(ranks)
    return deepspeed


def settings_of(engine: EngineConfig, clip: float = 1.0) -> dict[str, Any]:
    """DeepSpeed's configuration. `clip`: largest norm of the gradient."""
    host = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    offload = {} if engine.offload == "none" else {"offload_optimizer": host}
    if engine.offload == "parameters":
        offload["offload_param"] = host
    return {
        "train_micro_batch_size_per_gpu": 1,  # unused: `step` is called when a step is due
        "managed_gradient_accumulation": False,
        "gradient_clipping": clip,
        "zero_optimization": {"stage": engine.zero, "overlap_comm": False, **offload},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # torch's steps on a processor too, without a compiler
        "bf16": {"enabled": working_dtype(engine.dtype) == torch.bfloat16},
        # Otherwise in bfloat16, where a sum over many micro-batches loses its small terms.
        "data_types": {"grad_accum_dtype": "fp32"},
    }


@contextmanager
def _without_hooks(module: nn.Module) -> Iterator[None]:
    """Inside, no hook runs around a forward: ZeRO-3's would release each layer's weights after it."""
    parts = list(module.modules())
    hooks = [(part._forward_pre_hooks, part._forward_hooks) for part in parts]
    for part in parts:
        part._forward_pre_hooks, part._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for part, (before, after) in zip(parts, hooks, strict=True):
            part._forward_pre_hooks, part._forward_hooks = before, after


def _deepspeed() -> Any:
    try:
        import deepspeed
    except ImportError:
        raise BadConfig(
            "engine.zero above 0 needs DeepSpeed, which is not installed; pip install 'mathloop[train]', "
            "or set engine.zero=0"
        ) from None
    import logging

    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    # A faster gloo that would be compiled at the first start; there may be no compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _join_alone(ranks: Ranks) -> None:
    """DeepSpeed needs a process group even for one process."""
    if not distributed.is_initialized():
        defaults = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        for name, value in defaults.items():
            os.environ.setdefault(name, value)
        backend = "nccl" if ranks.device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    from deepspeed import comm

    comm.init_distributed(distributed.get_backend(), verbose=False)
