"""One program in a sandbox of its own, as a plain dictionary."""

from __future__ import annotations

from typing import Any

from mathloop.sandbox.config import SandboxConfig
from mathloop.sandbox.pool import Sandbox


def execute(code: str, config: SandboxConfig) -> dict[str, Any]:
    """Starts a sandbox, runs `code` and returns status, stdout, error and seconds. Raises SandboxError."""
    bare = config.model_copy(update={"preload": ()})  # warming a server up does not pay for one program
    with Sandbox(bare) as sandbox:
        done = sandbox.run(code)
    return {"status": done.status, "stdout": done.stdout, "error": done.error, "seconds": done.seconds}
