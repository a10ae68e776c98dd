"""One program in a sandbox of its own, as a plain dictionary."""

from __future__ import annotations

from typing import Any

from mathloop.sandbox.pool import Sandbox, SandboxConfig


def execute(code: str, config: SandboxConfig) -> dict[str, Any]:
    """Starts a sandbox, runs `code` and returns status, stdout, error and seconds."""
    bare = config.model_copy(update={"preload": ()})  # to warm a server up for one program would not pay
    with Sandbox(bare) as sandbox:
        done = sandbox.run(code)
    return {"status": done.status, "stdout": done.stdout, "error": done.error, "seconds": done.seconds}
