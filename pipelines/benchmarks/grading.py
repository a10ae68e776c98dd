"""`mathloop benchmark grade`: accuracy and speed of mathloop's verdicts, compared with Math-Verify."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipelines.benchmarks.cores import one_core
from pipelines.benchmarks.generated import SEED, draw_sets
from pipelines.benchmarks.graders import INSTALL, Grader, Mathloop, find_peer
from pipelines.benchmarks.labeled import Case, LabeledSet, read_folder
from pipelines.benchmarks.printing import Progress, aligned, machine, shortened

TURNS = 3
"""The graders alternate, so that other load affects both."""
TURN_SECONDS = 0.4
"""Minimum seconds per turn; a turn ends with a complete pass over the set."""
MOST_LISTED = 20
WIDTH = 100


@dataclass(frozen=True)
class Measured:
    """One grader on one set."""

    verdicts: list[bool]
    per_second: float
    """Verdicts per second: the median over the turns."""
    latencies: list[float]
    """Milliseconds per case: the median over the passes."""

    def right(self, cases: Sequence[Case]) -> float:
        """Percent of verdicts that agree with the labels."""
        same = (verdict == case.right for verdict, case in zip(self.verdicts, cases, strict=True))
        return 100 * sum(same) / len(cases)

    def false(self, cases: Sequence[Case], *, positive: bool) -> int:
        """Wrong answers that pass (false positives), or right ones that do not (false negatives)."""
        pairs = zip(self.verdicts, cases, strict=True)
        return sum(verdict == positive and case.right != positive for verdict, case in pairs)

    def percentile(self, percent: int) -> float:
        """Latency percentile in milliseconds."""
        return sorted(self.latencies)[math.ceil(percent / 100 * len(self.latencies)) - 1]


def run(data: Path | None) -> None:
    """Measures and prints; raises BadData if `data` has nothing to grade or an invalid row."""
    with one_core():
        sets, missing = read_folder(data) if data is not None else (draw_sets(), [])
        peer = find_peer()
        graders: list[Grader] = [Mathloop(), *([peer] if peer else [])]
        print(f"one core of {machine()}; peer: {peer.name if peer else 'Math-Verify, not installed'}")
        print(f"data: {data}" if data else f"data: generated with seed {SEED}; --data DIR grades your own")
        if missing:
            print(f"missing: {', '.join(missing)}")
        if peer is None:
            print(f"install the peer with: {INSTALL}")
        with Progress() as progress:
            results = [(each, measure(each, graders, progress)) for each in sets]
    for golds, title, agreement in (
        (False, "verdicts compared with labels", "agree, %"),
        (True, "benchmarks' gold answers, inserted into a sentence and extracted again", "same, %"),
    ):
        chosen = [result for result in results if result[0].golds == golds]
        if chosen:
            print(f"\n{title}")
            print(aligned(_head(agreement), (_row(*result) for result in chosen)))
    print(f"\n{_disagreements(results)}")


def measure(labeled: LabeledSet, graders: Sequence[Grader], progress: Progress) -> list[Measured]:
    """Every grader's verdicts and times; a first, untimed pass collects verdicts and warms up."""
    cases = labeled.cases
    calls = [[grader.prepare(case) for case in cases] for grader in graders]
    verdicts: list[list[bool]] = []
    for grader, own in zip(graders, calls, strict=True):
        progress.step(f"{labeled.name}: {grader.name}, {len(cases):,} verdicts")
        verdicts.append([call() for _, call in _counted(own, progress)])
    rates: list[list[float]] = [[] for _ in graders]
    times: list[list[list[float]]] = [[[] for _ in cases] for _ in graders]
    for turn in range(1, TURNS + 1):
        progress.step(f"{labeled.name}: turn {turn} of {TURNS}")
        for place, grader in enumerate(graders):
            spent, passes = 0.0, 0
            while not passes or spent < TURN_SECONDS:
                grader.forget()
                for index, call in _counted(calls[place], progress):
                    started = time.perf_counter()
                    call()
                    took = time.perf_counter() - started
                    spent += took
                    times[place][index].append(took)
                passes += 1
            rates[place].append(passes * len(cases) / spent)
    return [
        Measured(verdict, median(rate), [1000 * median(each) for each in own])
        for verdict, rate, own in zip(verdicts, rates, times, strict=True)
    ]


def _counted(calls: list[Callable[[], bool]], progress: Progress) -> Iterator[tuple[int, Callable[[], bool]]]:
    for index, call in enumerate(calls):
        yield index, call
        progress.detail(f"{index + 1:,} of {len(calls):,}")


def _head(agreement: str) -> tuple[str, ...]:
    figures = (agreement, "false +", "false −", "verdicts/s")
    latencies = (name for figure in ("p50 ms", "p99 ms") for name in (figure, "peer"))
    return ("set", "rows", *(name for figure in figures for name in (figure, "peer")), "ratio", *latencies)


def _row(labeled: LabeledSet, measured: Sequence[Measured]) -> tuple[str, ...]:
    ours, *others = measured
    peer = others[0] if others else None
    cells = [labeled.name, f"{len(labeled.cases):,}"]
    cells += [f"{ours.right(labeled.cases):.2f}"]
    cells += [f"{peer.right(labeled.cases):.2f}" if peer else "not installed"]
    for positive in (True, False):
        cells += [f"{ours.false(labeled.cases, positive=positive):,}"]
        cells += [f"{peer.false(labeled.cases, positive=positive):,}" if peer else "–"]
    cells += [f"{ours.per_second:,.0f}", f"{peer.per_second:,.0f}" if peer else "–"]
    cells += [f"{ours.per_second / peer.per_second:.1f}×" if peer else "–"]
    for percent in (50, 99):
        cells += [f"{ours.percentile(percent):.3f}", f"{peer.percentile(percent):.3f}" if peer else "–"]
    return tuple(cells)


def _disagreements(results: Sequence[tuple[LabeledSet, list[Measured]]]) -> str:
    """The cases in which mathloop's verdict differs from the label, at most `MOST_LISTED`."""
    different = [
        (labeled, case, [each.verdicts[index] for each in measured])
        for labeled, measured in results
        for index, case in enumerate(labeled.cases)
        if measured[0].verdicts[index] != case.right
    ]
    total = sum(len(labeled.cases) for labeled, _ in results)
    passed = sum(measured[0].false(labeled.cases, positive=True) for labeled, measured in results)
    lines = [
        f"mathloop's verdict differs from the label in {len(different):,} of {total:,} rows: {passed:,} false"
        f" positives (wrong answers that pass), {len(different) - passed:,} false negatives"
    ]
    for labeled, case, (_, *others) in different[:MOST_LISTED]:
        peer = "".join(f", Math-Verify says {_word(verdict)}" for verdict in others)
        lines.append(f"{labeled.name}, {case.place}: labeled {_word(case.right)}{peer}")
        lines.append(f"    gold    {shortened(case.gold, WIDTH)}")
        lines.append(f"    answer  {shortened(case.text, WIDTH, end=case.response)}")
    if len(different) > MOST_LISTED:
        lines.append(f"and {len(different) - MOST_LISTED:,} more")
    return "\n".join(lines)


def _word(verdict: bool) -> str:
    return "right" if verdict else "wrong"
