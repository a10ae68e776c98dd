"""Runs untrusted Python in confined, short-lived processes."""

from mathloop.sandbox.config import SandboxConfig
from mathloop.sandbox.execute import execute
from mathloop.sandbox.pool import Execution, Sandbox, Session

__all__ = ["Execution", "Sandbox", "SandboxConfig", "Session", "execute"]
