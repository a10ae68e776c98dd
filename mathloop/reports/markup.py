"""HTML that is escaped by construction: plain strings are text, and only `element` makes markup.

Models write much of a report's content, so every string goes through here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """HTML made by `element`, or a trusted literal: inserted into the page unchanged."""


Child: TypeAlias = "str | Markup | int | float | Iterable[Child] | None"


def element(name: str, *children: Child, **attributes: str | float | None) -> Markup:
    """`<name attributes>children</name>`.

    Children: None is skipped, Markup is kept, anything else is escaped; iterables are flattened. Attributes:
    None omits the attribute, `class_` is class, and other underscores become hyphens (`data_points`).
    """
    rendered = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{rendered}>{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """Children concatenated, without an enclosing element."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, (str, int, float)):
        return text(str(children))
    return Markup("".join(join(child) for child in children))


def text(value: str) -> Markup:
    """Text escaped for element content and quoted attributes; unprintable characters become U+FFFD."""
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", value)))


def clip(value: str, limit: int = 400) -> str:
    """At most `limit` characters, with a note of how many were cut."""
    return value if len(value) <= limit else f"{value[:limit]} … ({len(value) - limit:,} more characters)"
