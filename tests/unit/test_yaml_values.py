"""Values of profiles and --set: what looks like a number is that number or text, never another number."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mathloop.yaml_values import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("1_000", 1000),
        ("0x10", 16),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.e3", 1000.0),
        ("-.inf", -math.inf),
        ("010", "010"),
        ("08", "08"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("1.5.2", "1.5.2"),
        ("2026-01-01", "2026-01-01"),
        ("on", True),
    ],
)
def test_a_value_is_read_as_it_is_written(text: str, value: Any) -> None:
    found = parse(text)
    assert (type(found), found) == (type(value), value)
