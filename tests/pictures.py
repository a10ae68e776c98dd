"""Takes the pictures of docs/: a run's report, claims, problems, SFT beside RL, and its store's rounds.

$ python -m tests.pictures runs/20261201-2340-4c7a
$ python -m tests.pictures --reproduction runs/reproduce     # the claims of docs/reproduce.md
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from mathloop.reports import rounds
from mathloop.storage import open_store
from pipelines.benchmarks.chromium import launched
from pipelines.commands import browsing, comparing, keeping
from pipelines.local.folder import RunFolder
from tests.paths import ROOT

COLORS = 128


def take(run: str) -> None:
    """Writes the pages into a temporary folder, and their pictures into docs/."""
    with tempfile.TemporaryDirectory() as temporary, launched() as browser:
        folder = Path(temporary)
        keeping.report(run, out=folder / "report.html")
        browsing.browse(run, out=folder / "problems.html")
        comparing.compare(f"{run}:sft", run, out=folder / "comparison.html", seed=0)
        store = RunFolder.find(run).settings["profile"]["store"]
        found = replace(rounds.read_rounds(open_store(store)), url="runs/store")
        (folder / "rounds.html").write_text(rounds.html(found), encoding="utf-8")
        for name, height, prepare in (
            ("report", 1270, None),
            ("problems", 840, _open_a_fixed_problem),
            ("comparison", 1500, _without_chinese),
            ("rounds", 1180, None),
        ):
            page = browser.new_page(viewport={"width": 1120, "height": height})
            page.goto((folder / f"{name}.html").as_uri())
            if prepare:
                prepare(page)
                page.wait_for_timeout(400)
            _save(page, name)
            if name == "report":
                _save(page.locator("#claims"), "claims")


def take_reproduction(out: str) -> None:
    """The claims on the usual benchmark, of the report in a reproduction's folder."""
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1120, "height": 900})
        page.goto((Path(out).resolve() / "report.html").as_uri())
        page.evaluate(
            "[...document.querySelectorAll('#claims h3, #claims ul')].slice(2).forEach((one) => one.remove())"
        )
        _save(page.locator("#claims"), "reproduction")


def _save(shown: Any, name: str) -> None:
    """What is shown, with a palette: a quarter of the size."""
    out = ROOT / "docs" / f"{name}.png"
    shown.screenshot(path=out)
    with Image.open(out) as picture:
        picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(out, optimize=True)
    print(out, out.stat().st_size)


def _without_chinese(page: Any) -> None:
    """A machine may have no font for it."""
    page.evaluate(
        "[...document.querySelectorAll('article')].filter((one) => /[\\u3000-\\uffef]/.test(one.textContent))"
        ".forEach((one) => one.remove())"
    )


def _open_a_fixed_problem(page: Any) -> None:
    page.get_by_label("B against A", exact=True).select_option("01")
    page.get_by_label("mode", exact=True).select_option("tir")
    page.get_by_label("search").first.fill("how many")
    page.locator("#problems .listed button").nth(2).click()
    page.locator("#problems .sides article").first.wait_for()
    page.locator("#problems h2").evaluate(
        "(one) => scrollTo(0, one.getBoundingClientRect().top + scrollY - 16)"
    )


if __name__ == "__main__":
    if sys.argv[1] == "--reproduction":
        take_reproduction(sys.argv[2])
    else:
        take(sys.argv[1])
