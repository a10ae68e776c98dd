"""How a command that follows a run on a cluster ends."""

from __future__ import annotations

import sys
from typing import Any

from mathloop.errors import UserError
from pipelines.commands.exiting import INTERRUPTED, fail


def follow_run(pipelines: Any, run_id: str) -> None:
    """Shows the run until it ends; exits with 1 unless it succeeds, and says so if it continues."""
    from pipelines.cluster.following import Follower

    on = f"run {run_id} continues: mathloop logs {run_id[:8]}, mathloop cancel {run_id[:8]}"
    try:
        succeeded = Follower(pipelines, run_id).follow()
    except KeyboardInterrupt:
        print(f"\nmathloop: stopped following; {on}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except UserError as error:
        fail(f"{error}; {on}", error.exit_code)
    if not succeeded:
        sys.exit(1)
