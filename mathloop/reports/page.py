"""The page around the sections: one file, no network, and a policy that allows only our own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files

from mathloop import __version__
from mathloop.reports.markup import Markup, element

_NAMES = {
    "benchmarks": "Benchmarks",
    "scores": "Scores",
    "claims": "Claims",
    "stages": "Stages",
    "problems": "Problems",
    "records": "Kept and dropped",
    "curves": "Curves",
    "decontamination": "Decontamination",
    "samples": "Samples",
    "configuration": "Configuration",
    "differences": "Differences",
    "fixed": "Fixed",
    "broken": "Broken",
    "settings": "Settings",
    "champions": "Champions",
    "rounds": "Rounds",
}


def page(
    title: str,
    header: Markup,
    sections: dict[str, Markup | None],
    *,
    parts: Sequence[str] = ("round",),
    data: Mapping[str, str] | None = None,
    loads: bool = False,
) -> str:
    """The whole HTML document.

    Args:
        sections: id → section, or None if there is nothing to show.
        parts: names of our style sheets and scripts, in this folder.
        data: id → JSON in which `<` is escaped, for these scripts to read.
        loads: these scripts load others, from beside the page.
    """
    folder = files("mathloop.reports")
    style = "".join(folder.joinpath(f"{part}.css").read_text(encoding="utf-8") for part in parts)
    scripts = [folder.joinpath(f"{part}.js").read_text(encoding="utf-8") for part in parts]
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    # Even if escaping has a bug, the browser runs no script with another hash. With strict-dynamic, ours may
    # add others: by name of a file, since the page has no server of its own, 'self' would allow none.
    allowed = [*(f"'sha256-{digest}'" for digest in digests), *(["'strict-dynamic'"] if loads else [])]
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {' '.join(allowed)}"
    shown = {name: section for name, section in sections.items() if section is not None}
    head = [
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<link rel="icon" href="data:,">'),
        element("title", title),
        element("style", Markup(style)),
    ]
    footer = element("footer", f"Created by mathloop {__version__} from the records of the round.")
    blocks = [
        element("script", Markup(content), type="application/json", id=name)
        for name, content in (data or {}).items()
    ]
    body = [element("main", header, _contents(list(shown)), list(shown.values()), footer), *blocks]
    document = element(
        "html", element("head", head), element("body", body, list(map(_script, scripts))), lang="en"
    )
    return f"<!doctype html>\n{document}\n"


def _script(script: str) -> Markup:
    return element("script", Markup(script))


def _contents(names: Sequence[str]) -> Markup:
    links = [element("a", _NAMES[name], href=f"#{name}") for name in names]
    return element("nav", links, aria_label="Contents")
