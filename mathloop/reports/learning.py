"""Which training stages of a round had nothing to learn from, and why, by their reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mathloop.reports.figures import count, title, words
from mathloop.stages import StageReport

TRAINING = ("sft", "reward_model", "grpo")
_NOT_RIGHT = ("wrong answer", "differs from the majority answer", "no majority", "no Python was run")
"""Reasons for which CoT and TIR drop a response whose answer does not count as right."""
_TEACHES_NOTHING = ("teaches nothing", "nothing can be learned")
"""In the notes of a GRPO all of whose advantages were zero."""

_NORM = "gradient norm"


def untrained(stages: Sequence[StageReport]) -> dict[str, str]:
    """Training stage → why its model learned nothing; stages that learned, or did not run, are left out."""
    found = {}
    for report in stages:
        if report.stage not in TRAINING:
            continue
        norms = [y for name, curve in report.curves.items() if name.startswith(_NORM) for _, y in curve]
        idle = [note for note in report.notes if any(words in note for words in _TEACHES_NOTHING)]
        if any(norms):  # without a right response, a reward model still teaches
            idle = []
        if not any(report.curves.values()):
            idle = report.notes or ["It was not trained."]
        if idle:
            found[report.stage] = idle[0]
    return found


def nothing_learned(stages: Sequence[StageReport]) -> list[str]:
    """Sentences for the head of a report, one per training stage that learned nothing."""
    sentences = []
    for stage, reason in untrained(stages).items():
        if stage == "sft":
            reason = _unused(stages) or reason
        sentences.append(f"{title(stage)} had nothing to learn from: {reason.rstrip('.')}.")
    return sentences


def _unused(stages: Sequence[StageReport]) -> str:
    """Why SFT got no response, by what CoT and TIR sampled; empty without samples."""
    sampled = [report for report in stages if report.stage in ("cot", "tir")]
    drawn = sum(report.generated for report in sampled)
    if not drawn:
        return ""
    reasons = sum((Counter(report.dropped) for report in sampled), Counter[str]())
    if sum(reasons[name] for name in _NOT_RIGHT) >= drawn:
        return f"0 right of {count(drawn)} samples, so the SFT model is the champion"
    kept = sum(report.kept for report in sampled)
    shown = ", ".join(f"{count(number)} {words(name)}" for name, number in reasons.most_common(3))
    usable = f"none of the {count(kept)} kept" if kept else "none"
    return f"{usable} of {count(drawn)} samples could be used ({shown})"
