"""Where the data of a section is, for whoever wants to read all of it."""

from __future__ import annotations

from mathloop.reports.markup import Markup, element


def data_note(*outputs: str) -> Markup:
    """A line with the outputs `step/name` behind a section: tables in Parquet, `dropped` in JSON lines.

    On a machine they are files in the run's folder, on a cluster the artifacts of these names.
    """
    names = [[element("code", f"stages/{name}"), ", "] for name in outputs]
    names[-1].pop()
    return element(
        "p", "Data in the run's folder (Parquet; dropped: JSON lines): ", names, class_="caption data"
    )
