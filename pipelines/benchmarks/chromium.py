"""A real Chromium, as found on this machine, to measure and to test pages in."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
QUIET += ["disable-component-update", "disable-sync"]


def find_chromium() -> str | None:
    """Its program: CHROMIUM of the environment, else the first one on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def why_none() -> str | None:
    """What is missing for `launched`; None if nothing is."""
    if find_chromium() is None:
        return "no Chromium on PATH (install chromium, or set CHROMIUM to one)"
    if importlib.util.find_spec("playwright") is None:
        return "the package playwright is not installed (pip install playwright)"
    return None


@contextmanager
def launched() -> Iterator[Any]:
    """The browser; only where `why_none` is None."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), headless=True, args=[f"--{flag}" for flag in QUIET]
        )
        yield browser
        browser.close()
