"""KFP's cron expressions."""

from __future__ import annotations

import re

from mathloop.errors import BadConfig

FIELD = re.compile(r"[0-9A-Za-z*/,?#-]+")
RANGES = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)


def six_fields(cron: str) -> str:
    """KFP's cron expression: seconds before the usual five fields; raises BadConfig."""
    fields = cron.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6 or not all(FIELD.fullmatch(field) for field in fields):
        raise BadConfig(f'--cron {cron!r}: expected five or six fields, such as "0 2 * * *" for 2 a.m. UTC')
    for field, (what, low, high) in zip(fields, RANGES, strict=True):
        ends = [
            [int(end) for end in part.partition("/")[0].split("-") if end.isdigit()]
            for part in field.split(",")
        ]
        steps = [part.partition("/")[2] for part in field.split(",")]
        inside = all(low <= end <= high for span in ends for end in span)
        if not inside or any(span != sorted(span) for span in ends) or "0" in steps:
            raise BadConfig(
                f"--cron {cron!r}: {field} is no {what}: expected {low} to {high}, ranges in rising order"
            )
    return " ".join(fields)
