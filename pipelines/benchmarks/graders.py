"""The two graders to compare, as functions that are ready to be timed."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol

from mathloop.answers import verify, verify_response
from mathloop.answers.verification import DECIMAL_PLACES
from pipelines.benchmarks.labeled import Case

INSTALL = "pip install -e '.[benchmark]'"
_ENVIRONMENT = re.compile(r"\$|\\\(|\\\[|\\boxed")
_WORDS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_CACHE = type(lru_cache(lambda: None))


class Grader(Protocol):
    """Grades cases."""

    name: str

    def prepare(self, case: Case) -> Callable[[], bool]:
        """A function that grades this case, starting from its texts, on every call."""

    def forget(self) -> None:
        """Clears the caches of texts."""


class Mathloop:
    """`mathloop.answers`."""

    name = "mathloop"

    def prepare(self, case: Case) -> Callable[[], bool]:
        gold, text, options = case.gold, case.text, case.options
        if case.response:
            return lambda: verify_response(gold, text).correct
        places, strict = options.get("precision", DECIMAL_PLACES), options.get("strict", True)
        relations = options.get("allow_set_relation_comp", True)
        return lambda: verify(gold, text, places=places, strict=strict, relations_as_sets=relations).correct

    def forget(self) -> None:
        _empty_caches("mathloop.answers")


class MathVerify:
    """Hugging Face's Math-Verify, as its README advises.

    Gold answers are put in dollar signs, boxes have priority, and it looks for LaTeX and plain expressions.
    """

    def __init__(self) -> None:
        """Raises ImportError if Math-Verify is not installed."""
        import math_verify
        from math_verify.errors import TimeoutException

        self.name = f"Math-Verify {version('math-verify')}"
        self._parse, self._verify = math_verify.parse, math_verify.verify
        self._errors = (Exception, TimeoutException)
        self._extractors = {
            "latex": math_verify.LatexExtractionConfig(boxed_match_priority=0),
            "expr": math_verify.ExprExtractionConfig(),
            "string": math_verify.StringExtractionConfig(),
        }
        for package in ("math_verify", "latex2sympy2_extended"):
            logging.getLogger(package).setLevel(logging.CRITICAL)

    def prepare(self, case: Case) -> Callable[[], bool]:
        options = case.options
        targets = [self._extractors[name] for name in options.get("match_types", ("latex", "expr"))]
        gold, text = case.gold, case.text
        if "match_types" not in options:  # rows with it are in Math-Verify's own format
            gold = as_latex(gold)
            text = text if case.response else as_latex(text)
        extras: dict[str, Any] = {"float_rounding": options.get("precision", 6)}
        extras |= {name: options[name] for name in ("strict", "allow_set_relation_comp") if name in options}
        parse, verify, errors = self._parse, self._verify, self._errors

        def grade() -> bool:
            try:
                return bool(verify(parse(gold, targets), parse(text, targets), **extras))
            except errors:
                return False

        return grade

    def forget(self) -> None:
        _empty_caches("math_verify", keep=("lazy_",))  # these cache its compiled patterns


def find_peer() -> MathVerify | None:
    """Math-Verify, or None if it is not installed."""
    try:
        return MathVerify()
    except ImportError:
        return None


def as_latex(answer: str) -> str:
    """The answer in dollar signs, unless it is already marked as LaTeX or is a sentence."""
    if _ENVIRONMENT.search(answer) or len(_WORDS.findall(answer)) > 2:
        return answer
    return f"${answer}$"


def _empty_caches(package: str, keep: tuple[str, ...] = ()) -> None:
    """Clears the `lru_cache` of every function in a package, except those whose names start with `keep`."""
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            for value in list(vars(module).values()):
                if isinstance(value, _CACHE) and not value.__name__.startswith(keep):
                    value.cache_clear()
