"""What a sandboxed program may use."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Layer = Literal["limits", "seccomp", "landlock", "namespaces"]


class SandboxConfig(BaseModel):
    """Limits of a program, and of the pool that runs programs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=5.0, gt=0, le=3600, description="Wall time per run, in seconds")
    memory_mib: int = Field(
        default=512, ge=16, description="Address space beyond the warm server's, in MiB (2^20 bytes)"
    )
    output_chars: int = Field(default=400, ge=0, description="Characters of stdout that are kept")
    workers: int = Field(
        default=1, ge=1, le=256, description="Programs that run at the same time, each on its own warm server"
    )
    preload: tuple[str, ...] = Field(
        default=("numpy", "sympy"),
        description="Modules, besides the usual ones of the standard library, that are already loaded for"
        " programs that name them",
    )
    require: Layer = Field(
        default="seccomp",
        description="Do not start unless this layer of isolation and those before it are active:"
        " limits, seccomp, landlock, namespaces",
    )
    without: tuple[Layer, ...] = Field(
        default=(), description="Layers left out on purpose, to see what the others hold"
    )
