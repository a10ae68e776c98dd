"""Kinds of GPUs by their data sheets. A new kind is one line; docs/plan.md names the sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One GPU: memory in gigabytes (10⁹), dense bfloat16 peak in TFLOP/s, memory bandwidth in GB/s."""

    memory: float
    tflops: float
    bandwidth: float

    @property
    def memory_bytes(self) -> float:
        """Memory in bytes; a driver shows this much or a few percent more."""
        return self.memory * 1e9


GPUS: dict[str, Gpu] = {
    "B200": Gpu(180, 2250, 7700),
    "H200": Gpu(141, 989, 4800),
    "H100": Gpu(80, 989, 3350),
    "H20": Gpu(96, 148, 4000),
    "A100-40": Gpu(40, 312, 1555),
    "A100-80": Gpu(80, 312, 2039),
    "A800": Gpu(80, 312, 2039),
    "L40S": Gpu(48, 362, 864),
    "L4": Gpu(24, 121, 300),
    "A10G": Gpu(24, 70, 600),
    "V100": Gpu(32, 125, 900),
}
"""Name → GPU, SXM where there is a choice. The V100 has no bfloat16: its peak is float16's."""


def peak_tflops(device_name: str) -> float | None:
    """Peak of the GPU that a driver calls so, such as `NVIDIA A100-SXM4-40GB`; None if it is not known."""
    kinds = sorted(GPUS, key=len, reverse=True)  # L40S before L4, H200 before H20
    return next((GPUS[kind].tflops for kind in kinds if kind.partition("-")[0] in device_name), None)
