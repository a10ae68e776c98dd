"""Runs untrusted Python in confined, short-lived processes."""

from mathloop.sandbox.config import SandboxConfig
from mathloop.sandbox.execute import execute
from mathloop.sandbox.pool import Execution, Sandbox, Session
from mathloop.sandbox.worker import Cancelled

__all__ = ["Cancelled", "Execution", "Sandbox", "SandboxConfig", "Session", "execute"]
