"""Quantized weights in full size: FP8 in blocks as DeepSeek V3 has them, and MXFP4 as GPT-OSS does.

transformers 5.19 takes the size of a block from the number of scales, which is wrong where a row of blocks is
not whole, and writes dequantized weights back as quantized ones without saying so in config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mathloop.models.folders import Weights

_SCALES = ("_scale", "_scale_inv", "_scales")
"""Ends of the names of tensors that quantized weights, or what they are multiplied with, are scaled by."""
_BLOCKS = "_blocks"
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""Values of a number of four bits, E2M1 (OCP Microscaling Formats 1.0, section 5.3.3)."""
_BIAS = 127
"""Of the exponents that MXFP4 has for scales (section 5.4.1)."""


def full_shapes(shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Name → shape of the weights in full size, without scales."""
    full: dict[str, list[int]] = {}
    for name, shape in shapes.items():
        if name.endswith(_BLOCKS):
            experts, out, blocks, size = shape
            full[name.removesuffix(_BLOCKS)] = [experts, 2 * blocks * size, out]
        elif not name.endswith(_SCALES):
            full[name] = shape
    return full


def full_weights(weights: Weights, quantization: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Tensor]:
    """Name → weight in full size, in `dtype` if it was quantized; `quantization` is what config.json says."""
    places: dict[str, Path] = {}
    for path in weights.files:
        with safe_open(path, framework="pt") as file:
            places |= dict.fromkeys(file.keys(), path)

    def read(name: str) -> Tensor:
        with safe_open(places[name], framework="pt") as file:
            return file.get_tensor(name)  # type: ignore[no-any-return]

    full = {}
    for name in places:
        scale = next((name + end for end in ("_scale_inv", "_scale") if name + end in places), None)
        if name.endswith(_BLOCKS):
            whole = name.removesuffix(_BLOCKS)
            full[whole] = from_mxfp4(read(name), read(f"{whole}_scales")).to(dtype)
        elif scale is not None:
            size = quantization.get("weight_block_size") or ()
            full[name] = from_blocks(read(name), read(scale), size).to(dtype)
        elif not name.endswith(_SCALES):
            full[name] = read(name)
    return full


def from_blocks(numbers: Tensor, scales: Tensor, size: tuple[int, int] | list[int] | tuple[()]) -> Tensor:
    """Weights [..., out, in] float32 of `numbers` in blocks of `size`, each with one of `scales`.

    The last blocks of a row or column may be cut. Without `size` there is one scale per tensor or per row.
    """
    scales = scales.float()
    if size:
        rows, columns = numbers.shape[-2:]
        scales = scales.repeat_interleave(size[0], -2)[..., :rows, :]
        scales = scales.repeat_interleave(size[1], -1)[..., :columns]
    elif scales.dim() == 1 and len(scales) > 1:
        scales = scales[:, None]
    return numbers.float() * scales


def from_mxfp4(blocks: Tensor, scales: Tensor) -> Tensor:
    """Weights [experts, in, out] float32 of blocks [experts, out, in / 32, 16] uint8.

    Each byte is two numbers, the first one in its lower half; `scales` [experts, out, in / 32] are exponents.
    """
    values = torch.tensor(_FP4)
    numbers = torch.stack([values[(blocks & 15).long()], values[(blocks >> 4).long()]], -1).flatten(-2)
    numbers = torch.ldexp(numbers, scales.int()[..., None] - _BIAS)
    return numbers.flatten(-2).transpose(1, 2).contiguous()
