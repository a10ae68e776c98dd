#!/usr/bin/env bash
# Answers in geometry name two circles R and r, in linear algebra matrices A and B, in complex numbers i. One would
# expect a grader of LaTeX answers to keep capital letters apart from small ones, and i² to be −1.
#
#   math-verify 0.9.0, latex2sympy2_extended 1.11.0 (gold and answer both as $…$)
#   R-r against r-R           equal: letters are read as small ones, so both are r − r
#   R+r against 2r            equal, \frac{R}{r} against 1 too
#   A^TA against AA^T         equal: products of matrices are products of numbers, a·a
#   -1 against i^2            not equal, 2i against (1+i)^2 neither: i is a real variable
#
# So a reward counts wrong answers as right wherever the two letters differ in case only, and right ones as wrong
# where a complex number is not in the gold answer's own form.
#
# Installs the packages into a temporary folder, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet math-verify==0.9.0 latex2sympy2_extended==1.11.0 antlr4-python3-runtime==4.13.2 sympy==1.14.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from math_verify import parse, verify

expected = [
    ("R-r", "r-R", True),
    ("R+r", "2r", True),
    (r"\frac{R}{r}", "1", True),
    ("A^TA", "AA^T", True),
    ("AB", "BA", True),
    ("-1", "i^2", False),
    ("2i", "(1+i)^2", False),
]
seen = [(gold, answer, verify(parse(f"${gold}$"), parse(f"${answer}$"))) for gold, answer, _ in expected]
for row in seen:
    print(*row, sep="   ")
assert seen == expected, "changed"
PYTHON
