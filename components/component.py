"""The decorator of every component: its image, its flags, and the descriptions of ports that recur."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from kfp import dsl

PORTS = {
    "store": "Store: a folder, file:///… or s3://bucket/prefix.",
    "round_id": "Id of the run, which names what it publishes.",
    "settings": "Settings of the stage as JSON; what is left out has its default.",
    "seed": "Seed; the same seed and inputs give the same outputs.",
    "cache_key": "Changes where something did that KFP's cache cannot see.",
    "problems": "Problems, as Parquet.",
    "benchmark": "Problems to be measured on; training data must not touch them.",
    "policy": "Model that answers.",
    "reward_model": "Model that scores responses; may be empty.",
    "model": "The trained model.",
    "responses": "Responses, as Parquet.",
    "dropped": "What the stage left out, each record with the reason, as JSON lines.",
    "scores": "Scores in percent, for the run's page and for comparing runs.",
    "summary": "What the stage did: counts, reasons, examples.",
}
"""Descriptions of ports that several components have; a component's own docstring comes first."""


def component(image: str) -> Callable[[Callable[..., Any]], Any]:
    """Makes a KFP component of a function that calls one stage of the library.

    The function's signature is its ports and stays explicit, since KFP executes the function's source. Its
    docstring says what it does, and under `Args:` what its own ports are; `PORTS` describes the others.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        function.__doc__ = _documented(function)
        return dsl.component(function, base_image=image, packages_to_install=[], install_kfp_package=False)

    return decorate


def _documented(function: Callable[..., Any]) -> str:
    text = inspect.cleandoc(function.__doc__ or "")
    described = set(re.findall(r"^ {4}(\w+): ", text, re.MULTILINE))
    missing = [name for name in inspect.signature(function).parameters if name not in described]
    lines = [f"    {name}: {PORTS[name]}" for name in missing]
    if not lines:
        return text
    head = [] if "\nArgs:" in text else ["", "Args:"]
    return "\n".join([text, *head, *lines])
