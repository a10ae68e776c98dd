"""One program in a sandbox of its own, as a plain dictionary."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mathloop.sandbox.pool import Sandbox, SandboxConfig


def execute(code: str, config: SandboxConfig) -> dict[str, Any]:
    """Starts a sandbox, runs `code` and returns status, stdout, error and seconds."""
    with Sandbox(config) as sandbox:
        return asdict(sandbox.run(code))
