"""Scores of saved responses, with nothing sampled: an evaluation's folder, or other people's files.

Which column holds what is a mapping of parts to columns (`Fields`). A column of lists holds the samples of
one problem. Each response is judged again by the verifier, next to the label that is stored with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.response_fields import SAVED, Fields
from mathloop.evaluation.response_rows import AT, Asked, in_row, saved_rows
from mathloop.evaluation.saved import is_complete
from mathloop.problems.sources.places import value_at
from mathloop.records import Problem, Response
from mathloop.sampling.judging import judge
from mathloop.validation import closest

__all__ = ["SAVED", "Fields", "Rescored", "fold", "parse_fields"]


class Rescored:
    """Outcomes by the verifier and by the stored labels, and how often the two differ."""

    def __init__(self) -> None:
        self.by_verifier, self.by_labels = Outcomes(), Outcomes()
        self.by_verifier.own_counts = self.by_labels.own_counts = True
        self.layouts: dict[str, dict[Path, None]] = {}
        """Name of another program's layout → the files that were read as it."""
        self.differing = 0
        """Responses whose label is not the verifier's verdict."""


def parse_fields(text: str) -> Fields:
    """`response=code,answer=gt,…` as Fields. Raises BadConfig, one line."""
    found: dict[str, str] = {}
    for pair in text.split(","):
        part, _, column = (piece.strip() for piece in pair.partition("="))
        known = list(Fields.model_fields)
        if part not in known:
            message = f"--fields: no part {part!r}{closest(part, known)}; the parts are {', '.join(known)}"
            raise BadConfig(message)
        if not column or part in found:
            raise BadConfig(f"--fields: {pair.strip()!r}: expected each part once, as part=column")
        found[part] = column
    if not ("response" in found or "prediction" in found) or not ("answer" in found or "label" in found):
        raise BadConfig("--fields: it needs response or prediction, and answer or label")
    return Fields(**found)


def fold(places: Sequence[Path], fields: Fields = SAVED, *, verify: bool = False) -> Rescored:
    """Reads the responses at `places`, files or folders, as a stream; holds no text.

    A model's name that occurs at several places stands for several models: "policy (first/results)". Of an
    evaluation that is not complete, each pass is scored over the problems that it drew.

    Args:
        verify: judge each response again, for `by_verifier`.

    Raises:
        BadConfig: a place is given twice.
        BadData: a row cannot be read (file, row and field), a response occurs twice, or there is nothing to
            score by.
    """
    resolved = [place.resolve() for place in places]
    if twice := next((p for n, p in enumerate(places) if resolved[n] in resolved[:n]), None):
        raise BadConfig(f"{twice} is given twice; give each folder or file once")
    found = Rescored()
    lacking = set() if fields is SAVED else {name for name in dict(fields).values() if name}
    for place in places:
        for one in saved_rows(place, fields):
            if one.layout:
                found.layouts.setdefault(one.layout, {})[one.path] = None
            lacking = {name for name in lacking if name not in one.row and value_at(one.row, name) is None}
            try:
                for response in one.responses:
                    _add(found, one.asked.problem, response, verify)
                if not one.responses:
                    _add_unanswered(found, one.asked, verify, labels=bool(fields.label))
            except BadData as error:
                raise in_row(error, one.path, one.number) from None
    if lacking:
        message = "no row has this column, which --fields names; correct it, or leave it out"
        raise BadData(message, path=", ".join(map(str, places)), field=min(lacking))
    _name_models(found, {str(place) for place in places if place.is_dir() and not is_complete(place)})
    if not found.by_labels.entries and not found.by_verifier.entries:
        raise BadData("nothing to score: no response has a gold answer or a stored verdict", path=places[0])
    return found


def _name_models(found: Rescored, partial: set[str]) -> None:
    """Names models by their label, and those of one label by their place too."""
    both = found.by_verifier, found.by_labels
    marked = {model for outcomes in both for model in (*outcomes.models, *outcomes.not_finite)}
    labels = Counter(model.rpartition(AT)[0] for model in marked)
    names = {}
    for model in marked:
        label, _, place = model.rpartition(AT)
        names[model] = f"{label} ({place})" if labels[label] > 1 else label
        if place in partial:
            for outcomes in both:
                outcomes.partial.add(model)
    for outcomes in both:
        outcomes.rename(names)
        outcomes.check_numbers()


def _add_unanswered(found: Rescored, asked: Asked, verify: bool, *, labels: bool) -> None:
    """A problem with an empty list of responses: no sample of it is right."""
    problem, model, mode = asked
    if labels:
        found.by_labels.add_problem(problem if problem.answer is not None else replace(problem, answer=""))
        found.by_labels.add_unanswered(problem.id, model, mode)
    if verify and problem.answer is not None:
        found.by_verifier.add_problem(problem)
        found.by_verifier.add_unanswered(problem.id, model, mode)


def _add(found: Rescored, problem: Problem, response: Response, verify: bool) -> None:
    label = response.correct
    if label is not None:
        found.by_labels.add_problem(problem if problem.answer is not None else replace(problem, answer=""))
        found.by_labels.add(response)
    if verify and problem.answer is not None:
        found.by_verifier.add_problem(problem)
        judged = judge(problem.answer, response)
        found.by_verifier.add(judged)
        found.differing += label is not None and judged.correct != label
