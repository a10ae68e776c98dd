"""The answer of a response that ends with a JSON object."""

from __future__ import annotations

import json
import re

_OBJECT = re.compile(r"\{[^{}]{0,2000}\}\s*(?:```)?\s*\Z")
_KEYS = ("answer", "final_answer", "Answer")


def json_answer(text: str) -> str | None:
    """The answer that the last object of a text states, "" if it states none; None without such an object."""
    found = _OBJECT.search(text, max(0, text.rstrip(" \n`").rfind("{")))
    if found is None:
        return None
    try:
        fields = json.loads(found.group().rstrip(" \n`"))
    except ValueError:
        return None
    key = next((key for key in _KEYS if key in fields), None)
    if key is None:
        return None
    value = fields[key]
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
