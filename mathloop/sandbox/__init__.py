"""Runs untrusted Python in confined, short-lived processes."""

from mathloop.sandbox.execute import execute
from mathloop.sandbox.pool import Execution, Sandbox, SandboxConfig, Session

__all__ = ["Execution", "Sandbox", "SandboxConfig", "Session", "execute"]
