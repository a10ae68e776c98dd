"""Takes the pictures of docs/: a run's report, claims, problems, SFT beside RL; the page of made-up rounds.

$ python -m tests.pictures runs/20261201-2340-4c7a
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from mathloop.evaluation.config import GateConfig
from mathloop.registry.stages import preflight, publish_base
from mathloop.reports import judgment, rounds
from mathloop.reports.summary import write_summary
from mathloop.settings import Settings
from mathloop.storage import Store, open_store
from pipelines.benchmarks.chromium import launched
from pipelines.commands import browsing, comparing, keeping
from tests.paths import ROOT
from tests.unit.reports import conftest as made_up

COLORS = 128
ROUNDS: dict[str, tuple[tuple[float, float, float], dict[str, Any]]] = {
    "20261130-0910-6b1e": ((0.30, 0.34, 0.42), {}),
    "20261130-2152-90c4": ((0.42, 0.44, 0.455), {"grpo": {"steps": 20}}),
    "20261201-0804-a7d2": ((0.42, 0.47, 0.56), {"grpo": {"steps": 60}, "cot": {"samples": 8}}),
    "20261202-0019-3f58": (
        (0.56, 0.58, 0.66),
        {"grpo": {"steps": 60}, "cot": {"samples": 8}, "sft": {"epochs": 2}},
    ),
}
"""Made-up round → skill of its champion, SFT model and challenger, and what it changed."""


def take(run: str) -> None:
    """Writes the pages into a temporary folder, and their pictures into docs/."""
    with tempfile.TemporaryDirectory() as temporary, launched() as browser:
        folder = Path(temporary)
        keeping.report(run, out=folder / "report.html")
        browsing.browse(run, out=folder / "problems.html")
        comparing.compare(f"{run}:sft", run, out=folder / "comparison.html", seed=0)
        made = replace(rounds.read_rounds(_make_rounds(folder)), url="s3://mathloop/store")
        (folder / "rounds.html").write_text(rounds.html(made), encoding="utf-8")
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


def _make_rounds(folder: Path) -> Store:
    """A store in which `ROUNDS` were judged."""
    url = str(folder / "store")
    for number, (name, (skills, changes)) in enumerate(ROUNDS.items()):
        place = folder / name
        base, policy, reward_model = folders = [place / one for one in ("base", "policy", "reward_model")]
        for model in folders:
            model.mkdir(parents=True)
            (model / "weights").write_text(str(model))
        made_up.SKILL |= dict(zip(("champion", "sft", "challenger"), skills, strict=True))
        models = ("base", *(["champion"] if number else []), "sft", "challenger")
        made = made_up.Round(place, models=models)
        if number == 0:
            publish_base(store_url=url, model=base, round_id=f"{name}-pretraining", out=place / "first")
        stages = [
            replace(one, values={**one.values, "tokens": 9_000.0 * one.seconds})
            for one in made.paths["stages"][:-1]
        ]
        write_summary(stages, place / "learning")
        settings = Settings().model_dump(mode="json") | {"seed": number}
        for section, values in changes.items():
            settings[section] |= values
        judgment.run(
            store_url=url,
            round_id=name,
            champion=preflight(store_url=url)[1].to_json().decode(),
            policy=policy,
            reward_model=reward_model,
            benchmark=made.paths["benchmark"],
            results=made.paths["results"],
            summaries=[place / "learning"],
            verdict=place / "verdict",
            published=place / "published",
            page=place / "page",
            config=GateConfig(),
            configuration=json.dumps(settings),
            seed=0,
        )
    return open_store(url)


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
    take(*sys.argv[1:])
