"""The section about settings: as `--set` keys, those that are not the default marked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mathloop.reports.figures import title
from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.reports.process import pairs
from mathloop.settings import SECTIONS, Settings
from mathloop.settings.flat import flatten
from mathloop.stages import StageReport

_NO_STAGES = ("benchmarks", "tracking", "pools")
"""Sections that belong to no stage of their own."""


def configuration_section(
    configuration: Mapping[str, Any], stages: Sequence[StageReport] = ()
) -> Markup | None:
    """One list per section: of the stages that ran, and of other sections that are not the default."""
    if not configuration:
        return None
    defaults = Settings().model_dump(mode="json")
    top = {key: value for key, value in configuration.items() if not isinstance(value, Mapping)}
    lists = [element("div", element("h3", "Round"), _settings(top, defaults))] if top else []
    for name, values in configuration.items():
        if name not in top and _is_used(name, values, defaults.get(name), stages):
            body = _settings({name: values}, defaults)
            lists.append(element("div", element("h3", title(name)), body))
    intro = (
        "As --set takes them. Bold: not the default, which is beside it. Sections of stages that did not run "
        "are left out where they have the defaults."
    )
    return element(
        "section",
        element("h2", "Configuration"),
        element("p", intro, class_="caption"),
        element("div", lists, class_="configuration"),
        id="configuration",
    )


def _is_used(name: str, values: Mapping[str, Any], default: object, stages: Sequence[StageReport]) -> bool:
    """Whether a stage of this section ran. A stage's name may go on: `decontamination_cot`."""
    ran = any(stage.stage == name or stage.stage.startswith(f"{name}_") for stage in stages)
    of_a_stage = name in SECTIONS and name not in _NO_STAGES
    return bool(values) and (ran or not stages or (values != default and not of_a_stage))


def _settings(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Markup:
    known = flatten(defaults)
    shown: dict[str, Child] = {}
    for key, value in flatten(values).items():
        if key not in known or value == known[key] or key in ("name", "description"):
            shown[key] = _text(value)
        else:
            shown[key] = [element("b", _text(value)), element("i", f" ({_text(known[key])})")]
    return pairs(shown)


def _text(value: Any) -> str:
    """As YAML on one line, without quotes around a plain text."""
    return clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
