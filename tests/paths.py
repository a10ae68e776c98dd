"""Where tests find the repository, and the public data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Public data sets and CRDs; a test that needs them is skipped where this folder does not exist."""
