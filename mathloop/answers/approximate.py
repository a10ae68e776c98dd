"""Numerical values of expressions: in floats to refute equality, in mpmath (in the worker) to prove it.

Functions take their principal value, but an odd root of a negative number is the real one, as in school.
"""

from __future__ import annotations

import cmath
import math
from fractions import Fraction
from typing import Any, Protocol

from mathloop.answers import deadline
from mathloop.answers.exact import (
    INTEGRAND_POINTS,
    MOST_STEPS,
    STEPS_PER_CHECK,
    TooBig,
    Undefined,
    random_value,
)
from mathloop.answers.syntax import Apply, Node, Number, Symbol

_ZERO, _ONE = Fraction(0), Fraction(1)


class Arithmetic(Protocol):
    """The operations that the evaluator needs from a number system."""

    def number(self, value: Fraction) -> Any:
        """The value as one of its numbers."""

    def constant(self, name: str) -> Any:
        """pi, e or i."""

    def power(self, base: Any, exponent: Any) -> Any:
        """base ** exponent, principal value."""

    def function(self, name: str, values: list[Any]) -> Any:
        """Applies a named function; raises KeyError if it is unknown."""

    def key(self, value: Any) -> str:
        """The value, rounded well below its precision, as a key for the values of uninterpreted functions."""


class Floats:
    """Complex floats."""

    def number(self, value: Fraction) -> complex:
        return complex(value.numerator / value.denominator)

    def constant(self, name: str) -> complex:
        return {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}[name]

    def power(self, base: complex, exponent: complex) -> complex:
        return base**exponent

    def function(self, name: str, values: list[complex]) -> complex:
        first = values[0]
        if name in ("factorial", "binomial", "arrangements"):
            return self._counting(name, values)
        if name in ("gcd", "lcm"):
            whole = [round(value.real) for value in values]
            if any(abs(value - number) > 1e-9 for value, number in zip(values, whole, strict=True)):
                raise Undefined
            return complex((math.gcd if name == "gcd" else math.lcm)(*whole))
        if name in ("floor", "ceil", "max", "min"):
            reals = [value.real for value in values]
            if any(abs(value.imag) > 1e-12 or abs(value.real) > 1e15 for value in values):
                raise Undefined
            if name in ("floor", "ceil") and abs(reals[0] - round(reals[0])) < 1e-9:
                return complex(round(reals[0]))
            return complex({"floor": math.floor, "ceil": math.ceil}[name](reals[0]) if len(reals) == 1 else
                           {"max": max, "min": min}[name](reals))  # fmt: skip
        if name == "log" and len(values) == 2:
            return cmath.log(first) / cmath.log(values[1])
        return complex(_FLOAT_FUNCTIONS[name](first))

    def _counting(self, name: str, values: list[complex]) -> complex:
        if any(value.imag or value.real < -0.5 or value.real > 150 for value in values):
            raise TooBig
        reals = [value.real for value in values]
        if name == "factorial":
            return complex(math.gamma(reals[0] + 1))
        top = math.gamma(reals[0] + 1) / math.gamma(reals[0] - reals[1] + 1)
        return complex(top if name == "arrangements" else top / math.gamma(reals[1] + 1))

    def key(self, value: complex) -> str:
        return f"{value.real:.8e}|{value.imag:.8e}".replace("-0.00000000e+00", "0.00000000e+00")


_FLOAT_FUNCTIONS: dict[str, Any] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x), "arcsin": cmath.asin,
    "arccos": cmath.acos, "arctan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "ln": cmath.log, "log": cmath.log, "abs": abs, "percent": lambda x: x / 100,
    "degree": lambda x: x * math.pi / 180,
}  # fmt: skip


class Approximate:
    """Evaluates at one point in one arithmetic; `log` is natural unless `decimal_log`."""

    def __init__(
        self, arithmetic: Arithmetic, point: int, *, integer: bool, decimal_log: bool = False
    ) -> None:
        self.arithmetic, self.point, self.integer, self.decimal_log = arithmetic, point, integer, decimal_log
        self.bound: dict[str, Fraction] = {}
        self._steps = 0

    def value(self, node: Node) -> Any:
        """The value; raises `Undefined`, `TooBig` or an ArithmeticError."""
        self._steps += 1
        if self._steps % STEPS_PER_CHECK == 0:
            deadline.check()
            if self._steps > MOST_STEPS:
                raise TooBig
        if isinstance(node, Number):
            return self.arithmetic.number(node.value)
        if isinstance(node, Symbol):
            return self._symbol(node.name)
        if not isinstance(node, Apply):
            raise TooBig
        operation, arguments = node.operation, node.arguments
        if operation == "add":
            return sum(map(self.value, arguments), self.arithmetic.number(_ZERO))
        if operation == "mul":
            product = self.arithmetic.number(_ONE)
            for factor in arguments:
                product = product * self.value(factor)
            return product
        if operation == "pow" and len(arguments) == 2:
            return self._power(*arguments)
        return self._function(node)

    def _function(self, node: Apply) -> Any:
        match node:
            case Apply(("sum" | "prod") as operation, (Symbol(name), low, high, body)):
                return self._series(operation, name, low, high, body)
            case Apply("integral", (Symbol(name), *ends, body)):
                return self._integral(name, ends, body)
            case Apply("call", (Symbol(name), *arguments)):
                key = "|".join(self.arithmetic.key(self.value(argument)) for argument in arguments)
                return self.arithmetic.number(random_value(f"call {name} {key}", self.point, False))
            case Apply(("call" | "index" | "prime") as operation, arguments):
                key = "|".join(self.arithmetic.key(self.value(argument)) for argument in arguments)
                return self.arithmetic.number(random_value(f"{operation} {key}", self.point, False))
            case Apply("log", (argument,)) if self.decimal_log:
                return self.arithmetic.function(
                    "log", [self.value(argument), self.arithmetic.number(Fraction(10))]
                )
            case Apply(operation, arguments):
                try:
                    return self.arithmetic.function(
                        operation, [self.value(argument) for argument in arguments]
                    )
                except KeyError:
                    raise TooBig from None

    def _symbol(self, name: str) -> Any:
        if name in self.bound:
            return self.arithmetic.number(self.bound[name])
        if name in ("pi", "e", "i"):
            return self.arithmetic.constant(name)
        if name == "oo":
            raise Undefined
        return self.arithmetic.number(random_value(name, self.point, self.integer))

    def _power(self, base: Node, exponent: Node) -> Any:
        below, above = self.value(base), self.value(exponent)
        root = exponent.value.denominator if isinstance(exponent, Number) else 0
        if root > 1 and root % 2 and below.real < 0 and abs(below.imag) <= 1e-14 * abs(below.real):
            sign = -1 if isinstance(exponent, Number) and exponent.value.numerator % 2 else 1
            return sign * self.arithmetic.power(-below, above)
        return self.arithmetic.power(below, above)

    def _integral(self, name: str, ends: list[Node], body: Node) -> Any:
        outer = self.bound.get(name)
        keys = [self.arithmetic.key(self.value(end)) for end in ends]
        for place in INTEGRAND_POINTS:
            self.bound[name] = place
            keys.append(self.arithmetic.key(self.value(body)))
        if outer is None:
            self.bound.pop(name, None)
        else:
            self.bound[name] = outer
        if not ends:
            keys.append(self.arithmetic.key(self.value(Symbol(name))))
        return self.arithmetic.number(random_value("integral " + "|".join(keys), self.point, False))

    def _series(self, operation: str, name: str, low: Node, high: Node, body: Node) -> Any:
        ends = [self.value(low), self.value(high)]
        if any(end.imag or abs(end.real) > 1e6 or end.real != int(end.real) for end in ends):
            raise TooBig
        outer = self.bound.get(name)
        total = self.arithmetic.number(Fraction(0 if operation == "sum" else 1))
        for index in range(int(ends[0].real), int(ends[1].real) + 1):
            self.bound[name] = Fraction(index)
            term = self.value(body)
            total = total + term if operation == "sum" else total * term
        if outer is None:
            self.bound.pop(name, None)
        else:
            self.bound[name] = outer
        return total
