"""Makes a server warm: modules loaded, sympy's caches filled, memory laid out so that a fork is cheap."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mathloop.sandbox.blocks import Program, fresh_names, seed_generators

_STANDARD = (
    "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq",
    "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "time", "typing",
)  # fmt: skip
_SYMPY = """
from sympy import *
x, y, n = symbols("x y n")
k = symbols("k", integer=True, positive=True)
for _ in range(2):
    str(factor(x**2 - 1)), str(expand((x + y) ** 3)), str(simplify(sin(x) ** 2 + cos(x) ** 2))
    solve(x**2 - 3 * x + 2, x), solve([x + y - 3, x - y - 1], [x, y]), solve(Eq(x**3, 8), x)
    str(Rational(1, 3) + sqrt(8)), N(pi, 20), (sqrt(2) * pi).evalf(), nsimplify(0.5)
    factorint(360), divisors(12), isprime(97), binomial(5, 2), gcd(12, 18), lcm(4, 6), primerange(2, 20)
    diff(x**3 * sin(x), x), integrate(x**2, (x, 0, 1)), limit(sin(x) / x, x, 0), series(exp(x), x, 0, 3)
    summation(k, (k, 1, n)), Matrix([[1, 2], [3, 4]]).det(), Poly(x**2 - 1).all_roots(), roots(x**2 - 4)
    (x + 1).subs(x, 2), cancel((x**2 - 1) / (x - 1)), together(1 / x + 1 / y), radsimp(1 / (1 + sqrt(2)))
    latex(x**2 / 3), solveset(x**2 - 1, x), solve_univariate_inequality(x**2 - 4 < 0, x)
    nsolve(x**2 - 2, x, 1)
"""
"""The most frequent operations: the first use of each fills imports and caches that forks then share."""
_PAGE, _HUGE_PAGE = 4096, 2 << 20
_COLLAPSE = 25
"""MADV_COLLAPSE."""


_REHEARSALS = 16
"""Python adapts code to its operands after eight runs; else each child would, in its own copy of the code."""


def preload(modules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Imports the modules and the usual ones of the standard library, and prepares memory for forks.

    Returns, by module, the variables of a program that has only run `from MODULE import *`: a child that
    begins so has them without touching, and so copying, the pages of a thousand objects.
    """
    for module in (*_STANDARD, *modules):
        importlib.import_module(module)
    if "numpy" in modules:
        importlib.import_module("numpy.random")  # numpy itself loads it only when it is used
    if "sympy" in modules:
        exec(_SYMPY, {})
    starred = {module: fresh_names() for module in modules if module == "sympy"}
    for module, names in starred.items():
        exec(f"from {module} import *", names)
    for _ in range(_REHEARSALS):  # of what every child does
        Program({}).run("x = 1\nprint(x)\nx")
        sys.stdout.flush()  # into nothing; a child would print what is left here
        seed_generators(0)
    gc.collect()
    gc.freeze()  # the collector of a child then leaves these objects, and so their pages, alone
    _collapse_pages()
    return starred


def _collapse_pages() -> None:
    """Puts the heap into huge pages where the kernel can: a fork copies page tables, not pages."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in _writable_memory():
        for page in range(-(-start // _HUGE_PAGE) * _HUGE_PAGE, end - _HUGE_PAGE + 1, _HUGE_PAGE):
            libc.madvise(page, _HUGE_PAGE, _COLLAPSE)


def _writable_memory() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps:
            span, rights, _, _, inode, *name = line.split()
            if rights.startswith("rw") and inode == "0" and name in ([], ["[heap]"]):
                start, _, end = span.partition("-")
                yield int(start, 16), int(end, 16)
