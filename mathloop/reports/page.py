"""The page around the sections: one file, no network, and a policy that allows only our own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from mathloop import __version__
from mathloop.reports.markup import Markup, element

_NAMES = {
    "benchmarks": "Benchmarks",
    "scores": "Scores",
    "claims": "Claims",
    "stages": "Stages",
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


def page(title: str, header: Markup, sections: dict[str, Markup | None]) -> str:
    """The whole HTML document. `sections`: id → section, or None if there is nothing to show."""
    folder = files("mathloop.reports")
    style = folder.joinpath("round.css").read_text(encoding="utf-8")
    script = folder.joinpath("round.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Even if escaping has a bug, the browser runs no script with another hash.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
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
    body = [element("main", header, _contents(list(shown)), list(shown.values()), footer)]
    document = element("html", element("head", head), element("body", body, _script(script)), lang="en")
    return f"<!doctype html>\n{document}\n"


def _script(script: str) -> Markup:
    return element("script", Markup(script))


def _contents(names: Sequence[str]) -> Markup:
    links = [element("a", _NAMES[name], href=f"#{name}") for name in names]
    return element("nav", links, aria_label="Contents")
