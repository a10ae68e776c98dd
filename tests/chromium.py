"""A real browser for the tests of pages; skips them where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipelines.benchmarks import chromium


@contextmanager
def launched() -> Iterator[Any]:
    """The browser; skips the test where there is none."""
    if reason := chromium.why_none():
        pytest.skip(reason)
    with chromium.launched() as browser:
        yield browser
