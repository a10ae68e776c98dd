"""Whether the sandbox answers: runs a short program in a small sandbox that no question keeps busy."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mathloop.errors import SandboxError
from mathloop.sandbox import Sandbox, SandboxConfig
from mathloop.serving.refusals import UNAVAILABLE, Refused

SECONDS = 10.0
"""Longest run of the program, in seconds: a machine under load is slow, and not broken."""


class SandboxProbe:
    """A sandbox and the thread that runs its program."""

    def __init__(self) -> None:
        """Raises SandboxError if this machine cannot have a sandbox."""
        self._sandbox = Sandbox(SandboxConfig(seconds=SECONDS))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-probe")

    async def check(self) -> None:
        """Raises Refused if the sandbox does not answer."""
        try:
            execution = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._sandbox.run, "print(1)"
            )
            reason = "" if execution.stdout.strip() == "1" else f"{execution.status}: {execution.error}"
        except (SandboxError, OSError) as error:
            reason = str(error)
        if reason:
            message = "the sandbox is unavailable; try again later"
            raise Refused(503, message, code=UNAVAILABLE, retry_after=5, detail=f"the sandbox: {reason}")

    async def close(self) -> None:
        """Ends its processes."""
        await asyncio.to_thread(self._sandbox.close)
        self._thread.shutdown(wait=False)
