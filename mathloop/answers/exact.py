"""Exact values of expressions at rational points, and formal ones where no rational value exists.

Two expressions that agree at random points agree everywhere (Schwartz 1980, Zippel 1979). A subexpression
without a rational value, or with a huge one (a root, a sine, π, 9^9^9), gets a formal one: a pseudo-random
number derived from its operation and arguments. Agreement then still proves equality; disagreement proves
nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b

from mathloop.answers import deadline
from mathloop.answers.syntax import Apply, Collection, Node, Number, Relation, Symbol

CONSTANTS = frozenset(("pi", "e", "i", "oo"))
MOST_BITS = 30_000
LARGEST_FACTORIAL = 3_000
MOST_STEPS = 20_000
STEPS_PER_CHECK = 16
_BINDING = frozenset(("sum", "prod", "integral", "call"))
INTEGRAND_POINTS = (Fraction(1013, 17), Fraction(89, 1019))


class Undefined(Exception):
    """No value at this point (division by zero, a factorial of −1)."""


class TooBig(Exception):
    """The value, or the work to compute it, is too large."""


@lru_cache(maxsize=4096)
def random_value(name: str, point: int, integer: bool) -> Fraction:
    """A variable's pseudo-random value at a point: an integer from 2 to 41, or a rational of either sign."""
    number = int.from_bytes(blake2b(f"{name}@{point}".encode(), digest_size=6).digest(), "big")
    if integer:
        return Fraction(2 + number % 40)
    value = Fraction(1009 + number % 99991, 8179 + (number >> 20) % 9973)
    return -value if point >= 2 and number & (1 << 40) else value


def _formal_value(operation: str, values: tuple[Fraction, ...], point: int) -> Fraction:
    """The formal value of an operation on exact arguments; different arguments give different values."""
    digest = blake2b(operation.encode(), digest_size=8)
    for value in values:
        for part in (value.numerator, value.denominator):
            digest.update(b"/" + part.to_bytes(part.bit_length() // 8 + 1, "big", signed=True))
    return random_value(digest.hexdigest(), point, False)


class Exact:
    """Evaluates at one point; afterwards `formal` is whether a formal value was needed."""

    def __init__(self, point: int, integer: bool = False) -> None:
        self.point, self.integer = point, integer
        self.formal = False
        self.bound: dict[str, Fraction] = {}
        self._steps = 0

    def value(self, node: Node) -> Fraction:
        """The value of an expression; raises `Undefined` or `TooBig`."""
        self._steps += 1
        if self._steps % STEPS_PER_CHECK == 0:
            deadline.check()
            if self._steps > MOST_STEPS:
                raise TooBig
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Symbol):
            name = node.name
            if name in self.bound:
                return self.bound[name]
            if name in CONSTANTS:
                return self._formal(name)
            return random_value(name, self.point, self.integer)
        if not isinstance(node, Apply):
            raise TooBig
        if node.operation in _BINDING:
            match node:
                case Apply(("sum" | "prod") as operation, (Symbol(name), low, high, body)):
                    return self._series(operation, name, low, high, body)
                case Apply("integral", (Symbol(name), *ends, body)):
                    return self._integral(name, ends, body)
                case Apply("call", (Symbol(name), *arguments)):
                    return self._call(name, [self.value(argument) for argument in arguments])
        return self._applied(node.operation, [self.value(argument) for argument in node.arguments])

    def _applied(self, operation: str, values: list[Fraction]) -> Fraction:
        if operation == "add":
            return self._small(sum(values[1:], values[0] if values else Fraction(0)))
        if operation == "mul":
            product = self._small(values[0]) if values else Fraction(1)
            for value in values[1:]:
                product = self._small(product * value)
            return product
        if operation == "pow" and len(values) == 2:
            return self._power(*values)
        match operation, values:
            case "abs", [value]:
                return abs(value) if not self.formal else self._formal("abs", value)
            case "percent", [value]:
                return value / 100
            case "factorial", [value] if value.denominator == 1 and not self.formal:
                if value < 0:
                    raise Undefined
                if value > LARGEST_FACTORIAL:
                    return self._formal(operation, value)
                return Fraction(math.factorial(int(value)))
            case "double factorial", [value] if (
                value.denominator == 1 and 0 <= value <= 300 and not self.formal
            ):
                return Fraction(math.prod(range(int(value), 0, -2)))
            case (("binomial" | "arrangements"), [total, chosen]) if (
                total.denominator == chosen.denominator == 1 and not self.formal
            ):
                if total < 0 or chosen < 0:
                    raise Undefined
                if total > LARGEST_FACTORIAL:
                    return self._formal(operation, total, chosen)
                count = math.comb if operation == "binomial" else math.perm
                return Fraction(count(int(total), int(chosen)))
            case "floor", [value] if not self.formal:
                return Fraction(math.floor(value))
            case "ceil", [value] if not self.formal:
                return Fraction(math.ceil(value))
            case (("max" | "min"), [_, *_]) if not self.formal:
                return max(values) if operation == "max" else min(values)
            case (("sin" | "cos" | "tan" | "cot" | "sec" | "csc"), [angle]):
                return self._circular(operation, angle)
            case (("gcd" | "lcm"), [left, right]) if (
                left.denominator == right.denominator == 1 and not self.formal
            ):
                return Fraction((math.gcd if operation == "gcd" else math.lcm)(int(left), int(right)))
        return self._formal(operation, *values)

    def _power(self, base: Fraction, exponent: Fraction) -> Fraction:
        if exponent.denominator == 1:
            if base == 0 and exponent <= 0:
                raise Undefined
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if abs(exponent) * bits > MOST_BITS and abs(base) != 1:
                value = self._formal("pow", base, abs(exponent))
                return value if exponent > 0 else 1 / value
            return base ** int(exponent) if abs(base) != 1 else base ** (int(exponent) % 2)
        if base == 0:
            if exponent < 0:
                raise Undefined
            return base
        if exponent.numerator != 1:  # x^(2/3) is (∛x)², also for the real root of a negative number
            return self._power(
                self._power(base, Fraction(1, exponent.denominator)), Fraction(exponent.numerator)
            )
        if base > 0 and not self.formal:
            top, bottom = (_root(part, exponent.denominator) for part in (base.numerator, base.denominator))
            if top and bottom:
                return Fraction(top, bottom)
        return self._formal("pow", base, exponent)

    def _circular(self, operation: str, angle: Fraction) -> Fraction:
        """A function of an angle, from one rational point of the unit circle for each angle.

        So sin² + cos² = 1, tan = sin/cos, and sin is odd and cos even; formal, for angles know nothing of
        each other's sums.
        """
        self.formal = True
        half = _formal_value("half angle", (abs(angle),), self.point) if angle else Fraction(0)
        sine, cosine = 2 * half, 1 - half * half
        if angle < 0:
            sine = -sine
        above, below = {
            "sin": (sine, 1 + half * half),
            "cos": (cosine, 1 + half * half),
            "tan": (sine, cosine),
            "cot": (cosine, sine),
            "sec": (1 + half * half, cosine),
            "csc": (1 + half * half, sine),
        }[operation]
        if not below:
            raise Undefined
        return above / below

    def _series(self, operation: str, name: str, low: Node, high: Node, body: Node) -> Fraction:
        first, last = self.value(low), self.value(high)
        outer = self.bound.get(name)
        if first.denominator == last.denominator == 1 and last - first < 500 and not self.formal:
            total = Fraction(0 if operation == "sum" else 1)
            for number in range(int(first), int(last) + 1):
                self.bound[name] = Fraction(number)
                term = self.value(body)
                total = self._small(total + term if operation == "sum" else total * term)
        else:
            terms = []
            for index in INTEGRAND_POINTS:
                self.bound[name] = index
                terms.append(self.value(body))
            total = self._formal(operation, first, last, *terms)
        if outer is None:
            self.bound.pop(name, None)
        else:
            self.bound[name] = outer
        return total

    def _call(self, name: str, values: list[Fraction]) -> Fraction:
        match name, values:
            case "mod", [value, modulus] if value.denominator == modulus.denominator == 1 and not self.formal:
                if modulus:
                    return value % modulus
        return self._formal(f"call {name}", *values)

    def _integral(self, name: str, ends: list[Node], body: Node) -> Fraction:
        """A formal value, equal for equal integrands and limits."""
        values = [self.value(end) for end in ends]
        outer = self.bound.get(name)
        for place in INTEGRAND_POINTS:
            self.bound[name] = place
            values.append(self.value(body))
        if outer is None:
            self.bound.pop(name, None)
        else:
            self.bound[name] = outer
        if not ends:
            values.append(self.value(Symbol(name)))
        return self._formal("integral", *values)

    def _formal(self, operation: str, *values: Fraction) -> Fraction:
        self.formal = True
        return _formal_value(operation, values, self.point)

    def _small(self, value: Fraction) -> Fraction:
        if value.numerator.bit_length() + value.denominator.bit_length() > 4 * MOST_BITS:
            raise TooBig
        return value


def _root(number: int, degree: int) -> int | None:
    """The whole root of a positive number of at most 300 bits; None if it has none."""
    if degree == 2:
        root = math.isqrt(number)
    elif degree < 100 and number.bit_length() <= 300:
        root = round(number ** (1 / degree))
    else:
        return None
    return root if root**degree == number else None


def variables(node: Node) -> frozenset[str]:
    """Names of the free variables, without constants."""
    match node:
        case Symbol(name):
            return frozenset() if name in CONSTANTS else frozenset((name,))
        case Apply(("sum" | "prod"), (Symbol(name), low, high, body)):
            return (variables(body) - {name}) | variables(low) | variables(high)
        case Apply("integral", (Symbol(name), low, high, body)):
            return (variables(body) - {name}) | variables(low) | variables(high) | {"function"}
        case Apply("call" | "index", (Symbol(_), *rest)):
            return frozenset().union(*(variables(each) for each in rest), {"function"})
        case Apply(_, below) | Collection(_, below, _) | Relation(below, _):
            return frozenset().union(*(variables(child) for child in below))
    return frozenset()


def needs_integers(node: Node) -> bool:
    """Whether the variables should be integers: for factorials, sums and variable exponents."""
    match node:
        case Apply(
            "factorial" | "double factorial" | "binomial" | "arrangements" | "sum" | "prod" | "gcd" | "lcm", _
        ):
            return bool(variables(node)) or any(map(needs_integers, node.arguments))
        case Apply("pow", (base, exponent)) if variables(exponent) and base != Symbol("e"):
            return True
        case Apply(_, below):
            return any(map(needs_integers, below))
    return False
