"""`mathloop benchmark browse`: size, time and memory of the page of a large run, in a real Chromium."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

from mathloop.errors import MathloopError
from mathloop.records import Problem, Response, write_problems, write_responses
from pipelines.benchmarks.chromium import launched, why_none
from pipelines.benchmarks.memory import memory
from pipelines.benchmarks.printing import Progress, aligned, machine
from pipelines.local.folder import write_json

MODELS = {"champion": 0.4, "challenger": 0.6}
"""Model → share of its responses that are right."""
SAMPLES = 8
"""Beside one greedy response."""
VISITS = 3
SEED = 1
_PAGE = "problems.html"
_TIMES = """() => {
    const load = performance.getEntriesByType("navigation")[0];
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    return [paint.startTime, load.loadEventEnd];
}"""


def run(count: int) -> None:
    """Makes a run of `count` problems, writes its page by `mathloop browse`, and opens it.

    Raises MathloopError if the page cannot be written or opened.
    """
    responses = len(MODELS) * (SAMPLES + 1)
    print(f"{machine()}; a made-up run: {count:,} problems, {responses} responses to each")
    with tempfile.TemporaryDirectory(prefix="mathloop-browse-") as temporary, Progress() as progress:
        folder = Path(temporary) / "run"
        progress.step("making the run")
        characters = make_run(folder, count)
        progress.step("writing the page")
        rows = _written(folder, characters / (count * responses))
        reason = why_none()
        if reason is None:
            progress.step(f"opening the page {VISITS} times")
            rows += _opened(folder / _PAGE)
    print(aligned(("page of problems", "", ""), rows, left=(0, 2)))
    if reason is not None:
        print(f"Not opened: {reason}")


def make_run(folder: Path, count: int) -> int:
    """Writes the files of an evaluated run; returns the characters of its responses."""
    problems = [_problem(number) for number in range(count)]
    for stage in ("problems", "evaluation"):
        (folder / "stages" / stage).mkdir(parents=True)
    write_json(folder / "run.json", {"profile": {"name": "made"}})
    write_problems(folder / "stages/problems/benchmark", problems)
    characters = 0

    def rows() -> Iterator[Response]:
        nonlocal characters
        for response in _responses(problems):
            characters += len(response.text)
            yield response

    write_responses(folder / "stages/evaluation/results", rows())
    return characters


def _problem(number: int) -> Problem:
    draw = random.Random(f"{SEED} {number}")
    first, second = (draw.randrange(2, 10_000) for _ in range(2))
    statement = (
        f"A warehouse has ${first}$ crates with ${second}$ bottles in each of them. On Monday a quarter of "
        "them is sold, and on Tuesday as many are delivered as were there before. How many bottles does the "
        f"warehouse number {number} have in the end? Write it as $\\frac{{p}}{{q}}$ if it is not whole."
    )
    name = ("crates", "bottles")[number % 2]
    answer = str(2 * first * second)
    family = ("sums", "rates", "geometry")[number % 3]
    return Problem(f"{name}/{number}", statement, answer, name, family=family, difficulty=1 + number % 5)


def _responses(problems: Sequence[Problem]) -> Iterator[Response]:
    draw = random.Random(SEED)
    for model, share in MODELS.items():
        for problem in problems:
            for sample in range(-1, SAMPLES):
                right = draw.random() < share
                answer = problem.answer if right else str(draw.randrange(10_000))
                text = (
                    "Let $x$ be the number of bottles before Monday, so that after the sale there are "
                    "$\\frac{3}{4} x$, and \\[\\frac{3}{4} x + x \\cdot \\frac{1}{4} = x.\\] The delivery on "
                    f"Tuesday adds $x$ once more (draft {sample + 1}), so I take the sum and check it by a "
                    "program, which multiplies first and adds what was delivered afterwards:\n"
                    f"```python\nstart = {answer} // 2\nsold = start // 4\nleft = start - sold\n"
                    f"print(left + sold + start)\n```\n```output\n{answer}\n```\n"
                    f"Both ways agree, so that the warehouse has $x + x = 2x = {answer}$ bottles, which is "
                    f"what was asked for: $\\boxed{{{answer}}}$."
                )
                yield Response(
                    problem.id, sample, "tir", text, answer, right, reward=draw.gauss(0, 1), tokens=150,
                    tool_calls=1, temperature=0.0 if sample < 0 else 0.8, model=model,
                )  # fmt: skip


def _written(folder: Path, characters: float) -> list[Sequence[str]]:
    """The page, written by a process of its own, and what that took."""
    command = [sys.executable, "-m", "pipelines.benchmarks.browsing", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["no message"]
        raise MathloopError(f"browse failed: {lines[-1]}")
    measured = json.loads(process.stdout.splitlines()[-1])
    beside = folder / f"{Path(_PAGE).stem}-data"
    pieces = [path.stat().st_size for path in beside.iterdir()] if beside.is_dir() else []
    return [
        ("characters per response", f"{characters:,.0f}", "on average"),
        ("page", f"{(folder / _PAGE).stat().st_size / 1e6:.1f}", "MB"),
        ("data beside it", f"{sum(pieces) / 1e6:.1f}", f"MB in {len(pieces)} pieces"),
        ("writing it: CPU", f"{measured['seconds']:.1f}", "s"),
        ("peak memory", f"{measured['mib']:,.0f}", f"MiB, {measured['added']:,.0f} of it data"),
    ]


def _opened(page: Path) -> list[Sequence[str]]:
    """The page in a browser that runs already, the median of some visits, each without a cache."""
    with launched() as browser:
        visits = [_visit(browser, page.as_uri()) for _ in range(VISITS)]
    return [(name, f"{median(one[name][0] for one in visits):.2f}", visits[0][name][1]) for name in visits[0]]


def _visit(browser: Any, url: str) -> dict[str, tuple[float, str]]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        devtools = context.new_cdp_session(page)
        devtools.send("Performance.enable")
        rows = page.locator("#problems .listed button")
        listed = _seconds(lambda: page.goto(url), lambda: rows.first.wait_for())
        paint, load = page.evaluate(_TIMES)
        heap = _heap(devtools)
        opened = _seconds(rows.last.click, page.locator("#problems .sides article").first.wait_for)
        page.get_by_role("button", name="Back to the list").first.click()
        search = page.get_by_label("search").first
        found = page.locator("#problems .found").get_by_text("nothing found")
        searched = _seconds(lambda: search.fill("no such word"), found.wait_for)
        if said:
            raise MathloopError(f"the page fails in Chromium: {said[0]}")
    finally:
        context.close()
    return {
        "first paint": (paint / 1000, "s"),
        "load event": (load / 1000, "s"),
        "list drawn": (listed, "s, of the first rows, as a script sees it"),
        "JavaScript heap": (heap, "MB"),
        "a row opened": (opened, "s"),
        "all problems searched": (searched, "s"),
    }


def _seconds(*steps: Any) -> float:
    started = time.perf_counter()
    for step in steps:
        step()
    return time.perf_counter() - started


def _heap(devtools: Any) -> float:
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 1e6


def main() -> None:
    """In a process of its own: writes the page of the run on the command line."""
    from mathloop.reports import browser  # noqa: F401  (what it imports is not the data's memory)
    from pipelines.commands.browsing import browse

    folder = Path(sys.argv[1])
    before, started = memory("VmRSS"), time.process_time()
    with redirect_stdout(sys.stderr):
        browse(str(folder), out=folder / _PAGE)
    peak = memory("VmHWM")
    print(json.dumps({"seconds": time.process_time() - started, "mib": peak, "added": peak - before}))


if __name__ == "__main__":
    main()
