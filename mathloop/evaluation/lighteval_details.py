"""The rows that lighteval saves as details: one per problem, with all samples and with the metrics."""

from __future__ import annotations

import ast
from typing import Any

from mathloop.errors import BadData
from mathloop.lines import describe
from mathloop.problems.sources.places import Row

_VERDICTS = ("match", "pass@", "accuracy", "acc")
"""Parts of the names of metrics that are a verdict, the first ones first."""


def with_verdict(row: Row) -> Row:
    """A row of `doc`, `model_response` and `metric` with the columns `response`, `gold` and `verdict`.

    The gold answer is the choice that `gold_index` names, the first of several.

    Raises:
        BadData: a column is no object, or the model was not asked for text.
    """
    doc, response, metric = (_decoded(row, name) for name in ("doc", "model_response", "metric"))
    for name, value in (("doc", doc), ("model_response", response)):
        if not isinstance(value, dict):
            raise BadData(f"expected an object, found {describe(value)}", field=name)
    texts = response.get("text")
    if not texts and response.get("logprobs"):
        message = "the log-probabilities of choices, and no text; only generated answers can be scored"
        raise BadData(message, field="model_response")
    gold = _chosen(doc.get("choices"), doc.get("gold_index"))
    return {
        "doc": doc,
        "model_response": response,
        "response": texts,
        "gold": gold,
        "verdict": _verdict(metric),
    }


def with_verdict_of_old(row: Row) -> Row:
    """The same for the rows of older releases, of `predictions`, `gold` and `metrics`."""
    found = {name: _decoded(row, name) for name in row}
    return {
        **found,
        "response": found["predictions"],
        "gold": _chosen(found["gold"], 0),
        "verdict": _verdict(found["metrics"]),
    }


def _decoded(row: Row, name: str) -> Any:
    """A column's value; lighteval writes Python's text of it where Arrow has no type for it."""
    value = row.get(name)
    if not isinstance(value, str) or value.strip()[:1] not in ("{", "["):
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if name in ("full_prompt", "gold"):
            return value
        raise BadData("written as text that cannot be read back", field=name) from None


def _chosen(choices: Any, index: Any) -> Any:
    index = index[0] if isinstance(index, list) and index else index
    if not isinstance(choices, list):
        return choices
    found = choices[index] if isinstance(index, int) and 0 <= index < len(choices) else None
    return found[0] if isinstance(found, list) and found else found


def _verdict(metric: Any) -> bool | None:
    """The verdict among the metrics of a row; None where none is 0 or 1."""
    values = metric if isinstance(metric, dict) else {}
    for part in _VERDICTS:
        for name, value in values.items():
            if part in name and isinstance(value, int | float) and value in (0, 1):
                return bool(value)
    return None
