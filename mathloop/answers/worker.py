"""The process that proves: with mpmath to 80 and 160 digits, and with sympy for equations.

It reads length-prefixed pickles from its parent (`prover.py`) on stdin and answers each with a line of JSON.
It limits its own memory, kills itself at each question's deadline even if the parent is gone, and ends at the
end of stdin.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
from fractions import Fraction
from typing import Any

from mathloop.answers.approximate import Approximate
from mathloop.answers.exact import TooBig, Undefined, variables
from mathloop.answers.syntax import Apply, Node, Number, Symbol, walk

DIGITS = (80, 160)
"""Two precisions, to distinguish a tiny difference from one that shrinks with the precision."""
MOST_DIGITS = 4000
"""Sums of numbers that need more digits prove nothing: 10^10^10 and 10^10^10 + 1 look the same."""
POINTS = (0, 1, 2, 3, 4, 5, 6, 7)
INTEGER_POINTS = tuple(range(4, 20))


class Precise:
    """mpmath's complex numbers."""

    def __init__(self, digits: int) -> None:
        import mpmath  # type: ignore[import-untyped]

        self.context = mpmath.mp
        self.context.dps = digits
        self.digits = digits

    def number(self, value: Fraction) -> Any:
        return self.context.mpc(self.context.mpf(value.numerator) / value.denominator)

    def constant(self, name: str) -> Any:
        return self.context.mpc({"pi": self.context.pi, "e": self.context.e, "i": 1j}[name])

    def power(self, base: Any, exponent: Any) -> Any:
        if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) < 1 << 40:
            return base ** int(exponent.real)
        return base**exponent

    def function(self, name: str, values: list[Any]) -> Any:
        context = self.context
        if name == "degree":
            return values[0] * context.pi / 180
        if name == "percent":
            return values[0] / 100
        if name == "arrangements":
            return context.rf(values[0] - values[1] + 1, values[1])
        if name in ("floor", "ceil"):
            nearest = context.nint(values[0].real)
            if abs(values[0] - nearest) < context.mpf(10) ** (-self.digits // 2):
                return context.mpc(nearest)
            return context.mpc(getattr(context, name)(values[0].real))
        if name in ("max", "min"):
            return context.mpc((max if name == "max" else min)(value.real for value in values))
        names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "fabs"}
        if name not in _FUNCTIONS:
            raise KeyError(name)
        return context.mpc(getattr(context, names.get(name, name))(*values))

    def key(self, value: Any) -> str:
        return str(self.context.nstr(self.context.chop(value), self.digits // 2))


_FAR = frozenset(("pow", "factorial", "binomial", "arrangements"))
_FUNCTIONS = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln",
     "log",      "abs", "factorial", "binomial")
)  # fmt: skip


def main() -> None:
    """Answers questions until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    import mpmath
    import sympy  # noqa: F401  # imported before the first deadline starts

    mpmath.mp.dps = DIGITS[0]
    answers.write(b"{}\n")
    answers.flush()
    while header := questions.read(4):
        task, left, right, integer, seconds = pickle.loads(questions.read(int.from_bytes(header, "big")))
        signal.setitimer(signal.ITIMER_REAL, seconds + 0.5)  # by default SIGALRM ends the process
        reply = _reply(task, left, right, integer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps(reply).encode() + b"\n")
        answers.flush()


def _reply(task: str, left: Node, right: Node, integer: bool) -> dict[str, object]:
    try:
        return {"equal": _TASKS[task](left, right, integer)}
    except MemoryError:
        return {"undecided": "the proof would take too much memory"}
    except (TooBig, Undefined):
        return {"undecided": "the value cannot be computed"}
    except Exception as error:  # mpmath or sympy failed, so nothing is proved
        return {"undecided": f"{type(error).__name__} while proving"}


def _expressions(left: Node, right: Node, integer: bool) -> bool:
    has_log = any(
        isinstance(node, Apply) and node.operation == "log" for side in (left, right) for node in walk(side)
    )
    return any(
        _agree(left, right, integer, decimal_log) for decimal_log in ((False, True) if has_log else (False,))
    )


def _agree(left: Node, right: Node, integer: bool, decimal_log: bool) -> bool:
    """Whether both agree to full precision at every point where either is real, and at three or more."""
    constant = not (variables(left) | variables(right))
    real = complex_ = 0
    complex_agree = True
    for point in POINTS[:1] if constant else INTEGER_POINTS if integer else POINTS:
        try:
            gaps = [_values(left, right, point, integer, decimal_log, digits) for digits in DIGITS]
        except (Undefined, ZeroDivisionError, ValueError):
            continue
        same = _vanishes(gaps)
        if constant or any(_is_real(value) for value in gaps[0][:2]):
            if not same:
                return False
            real += 1
        else:
            complex_ += 1
            complex_agree = complex_agree and same
    needed = 1 if constant else 3
    return real >= needed or (real == 0 and complex_ >= needed and complex_agree)


class _Measured(Approximate):
    """Records the largest absolute binary exponent of all numbers, powers and factorials."""

    largest = 0

    def value(self, node: Node) -> Any:
        import mpmath

        value = super().value(node)
        if not mpmath.isfinite(value):
            raise Undefined
        if isinstance(node, Apply) and node.operation == "tanh":  # 1 − tanh x is e^(−2x)
            self.largest = max(self.largest, int(3 * min(abs(super().value(node.arguments[0])), 10**5)))
        if isinstance(node, Number) or (isinstance(node, Apply) and node.operation in _FAR):
            self.largest = max(self.largest, abs(int(mpmath.mag(value)))) if value != 0 else self.largest
        return value


def _values(
    left: Node, right: Node, point: int, integer: bool, decimal_log: bool, digits: int
) -> tuple[Any, Any, int]:
    """Both values, and the number of digits used: enough to add the largest and the smallest number."""
    while True:
        evaluators = [
            _Measured(Precise(digits), point, integer=integer, decimal_log=decimal_log) for _ in (left, right)
        ]
        values = [evaluator.value(node) for evaluator, node in zip(evaluators, (left, right), strict=True)]
        needed = 40 + int(4 * 0.302 * max(evaluator.largest for evaluator in evaluators))
        if needed <= digits:
            return values[0], values[1], digits
        if needed > MOST_DIGITS:
            raise TooBig
        digits += needed


def _vanishes(results: list[tuple[Any, Any, int]]) -> bool:
    """Whether the difference is zero at each precision, relative to the values, or shrinks with it."""
    import mpmath

    gaps = []
    for one, other, digits in results:
        mpmath.mp.dps = digits
        gap, size = abs(one - other), max(abs(one), abs(other))
        gaps.append(gap)
        small = mpmath.mpf(10) ** (-0.75 * digits)
        if gap > small * size and gap > small:
            return False
    return bool(gap <= small * size or gap <= gaps[0] * mpmath.mpf(10) ** -40)


def _is_real(value: Any) -> bool:
    return bool(abs(value.imag) <= abs(value.real) * 1e-30)


def _proportional(left: Node, right: Node, integer: bool) -> bool:
    """Whether left/right is the same constant at every point."""
    precise = Precise(DIGITS[0])
    ratios = []
    for point in INTEGER_POINTS[:8] if integer else POINTS:
        try:
            above = Approximate(precise, point, integer=integer).value(left)
            ratio = above / Approximate(precise, point, integer=integer).value(right)
        except (Undefined, ZeroDivisionError, ValueError):
            continue
        if not precise.context.isfinite(ratio):
            continue
        ratios.append(ratio)
    return len(ratios) >= 3 and all(abs(ratio - ratios[0]) < abs(ratios[0]) * 1e-40 for ratio in ratios)


def _equations(left: Node, right: Node, integer: bool) -> bool:
    """Whether left = 0 and right = 0 have the same solutions: equal square-free parts of the numerators."""
    import sympy

    parts = []
    for side in (left, right):
        numerator = sympy.fraction(sympy.together(to_sympy(side)))[0]
        polynomial = sympy.Poly(numerator, *sorted(numerator.free_symbols, key=str))
        parts.append(polynomial.sqf_part().primitive()[1].as_expr())
    difference = [sympy.expand(parts[0] - parts[1]), sympy.expand(parts[0] + parts[1])]
    return 0 in difference


def to_sympy(node: Node) -> Any:
    """A rational expression as a sympy expression; raises TooBig for anything else."""
    import sympy

    match node:
        case Number(value, _):
            return sympy.Rational(value.numerator, value.denominator)
        case Symbol(name):
            return sympy.Symbol(name)
        case Apply("add", terms):
            return sympy.Add(*map(to_sympy, terms))
        case Apply("mul", factors):
            return sympy.Mul(*map(to_sympy, factors))
        case Apply("pow", (base, Number(exponent, _))) if exponent.denominator == 1 and abs(exponent) <= 12:
            return to_sympy(base) ** int(exponent)
    raise TooBig


_TASKS = {"expressions": _expressions, "proportional": _proportional, "equations": _equations}

if __name__ == "__main__":
    main()
