"""The decorator of every component: image, flags, and the descriptions of ports that several have."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from kfp import dsl

PORTS = {
    "store": "Store: a folder, file:///… or s3://bucket/prefix.",
    "round_id": "Id of the run; published models are named after it.",
    "champion": "The champion that the run started from, as JSON.",
    "pods": "Pods of a Job that share the sampling, as JSON; empty: the step samples itself.",
    "settings": "Settings of the stage as JSON; missing fields have their defaults.",
    "seed": "Seed; equal seeds and inputs give equal outputs.",
    "cache_key": "Changes with everything that KFP's cache cannot see.",
    "problems": "Problems, as Parquet.",
    "benchmark": "Problems to evaluate on; training data must not contain them.",
    "policy": "Model that generates responses.",
    "reward_model": "Model that scores responses; may be empty.",
    "model": "The trained model.",
    "responses": "Responses, as Parquet.",
    "dropped": "Records that the stage dropped, each with the reason, as JSON lines.",
    "scores": "Scores in percent, for the run's page and for comparing runs.",
    "summary": "Summary of the stage: counts, reasons, examples.",
}
"""Descriptions of ports that several components have; a component's own docstring comes first."""


def component(image: str) -> Callable[[Callable[..., Any]], Any]:
    """Turns a function that calls one stage of the library into a KFP component.

    The function's parameters are the component's ports. They stay explicit because KFP executes the
    function's source. Its docstring describes its own ports under `Args:`; `PORTS` describes the others.
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
