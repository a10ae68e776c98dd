#!/usr/bin/env bash
# In tool-integrated reasoning a model's final answer is often what its program printed, put into \boxed{}. One would
# expect a grader of math answers to read what Python and sympy print, or to find no answer in it.
#
#   math-verify 0.9.0, latex2sympy2_extended 1.11.0, antlr4-python3-runtime 4.13.2
#   \boxed{1.5e-05}       1.5·e − 5, e being Euler's number; 1e22 is 22·e
#   \boxed{2*pi/3}        2·i·p/3: a product of three letters
#   \boxed{[1, 2]}        the interval from 1 to 2, also where the gold answer is the list 1, 2
#   \boxed{3 + 2*I}       3 + 2·I, I the imaginary unit; the gold answer 3+2i is 3 + 2·i, i a real variable: not equal
#   \boxed{True}          a product of the letters t, r, u, e, where e is Euler's number (the text is compared then, so
#                         that \text{True} is equal)
#
# So a right answer is judged wrong (3/200000 against 1.5e-05), without an error: something was parsed. Reward and
# evaluation of TIR both lose these answers; they have to be rewritten as LaTeX before they are graded.
# 3*sqrt(2) is read as it is meant.
#
# Installs the packages into a temporary folder, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet math-verify==0.9.0 latex2sympy2_extended==1.11.0 antlr4-python3-runtime==4.13.2 sympy==1.14.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sympy
from math_verify import parse, verify

expected = {  # what Python printed: what is read, the gold answer in LaTeX, the verdict
    "1.5e-05": ("-5 + 1.5*E", r"\frac{3}{200000}", False),
    "1e22": ("1*E*22", "10^{22}", False),
    "2*pi/3": ("(2*i*p)/3", r"\frac{2\pi}{3}", False),
    "[1, 2]": ("Interval(1, 2)", "1, 2", False),
    "True": ("E*r*t*u", r"\text{True}", True),
    "3*sqrt(2)": ("3*sqrt(2)", r"3\sqrt{2}", True),
    "3 + 2*I": ("3 + 2*I", "3+2i", False),
}
seen = {}
for printed, (_, gold, _) in expected.items():
    read = parse("\\boxed{" + printed + "}")
    seen[printed] = (str(read[0]), gold, verify(parse(f"${gold}$"), read))
    print(printed, *seen[printed], sep="   ")
assert seen == expected, "changed"
PYTHON
