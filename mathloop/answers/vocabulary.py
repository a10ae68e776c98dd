r"""LaTeX commands and names that the parser knows; an answer with any other command equals only itself.

Only letters multiply. Functions keep their arguments, and relations and operators keep the order of their
sides, so that nothing commutes, distributes or cancels that is not known to.
"""

from __future__ import annotations

_LETTERS_NAMES = """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron rho sigma tau upsilon
    phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varepsilon vartheta varpi
    varrho varsigma varphi ell hbar aleph imath jmath ldots mho wp
"""
LETTERS = frozenset(_LETTERS_NAMES.split())
"""Commands that are variables."""

GREEK_FUNCTIONS = frozenset(("zeta", "Gamma", "Phi", "phi", "varphi", "Psi", "psi", "Lambda", "eta", "chi"))
"""Letters whose value at an argument is written like a product: ζ(3), Γ(5), φ(12)."""

_FUNCTIONS_NAMES = """
    coth sech csch arccot arcsec arccsc arcsinh arccosh arctanh arccoth arsinh arcosh artanh arcoth dim rank
    rk tr Tr trace deg ker im arg Arg sgn sign span Re Im Res res Var Cov Pr erf erfc Li Si Ci hom Hom sup
    inf ord card supp diag adj proj vol dist Aut Gal curl div grad rot Beta sinc versin
"""
FUNCTIONS = frozenset(_FUNCTIONS_NAMES.split())
"""Functions whose values are not computed: equal where their arguments are."""
UNBRACKETED = FUNCTIONS - {"sup", "inf", "im", "div"}
"""Those that may be followed by an argument without brackets."""

MIRRORED = {
    "\\supset": "\\subset", "\\supseteq": "\\subseteq", "\\gg": "\\ll", "\\ni": "in", "\\succ": "\\prec",
    "\\succeq": "\\preceq", "\\supsetneq": "\\subsetneq",
}  # fmt: skip
SYMMETRIC = frozenset(("\\perp", "\\parallel", "\\cong", "\\sim", "\\equiv", "\\propto", "\\nparallel"))
RELATIONS = (
    frozenset(
        ("\\subset", "\\subseteq", "\\subsetneq", "\\nsubseteq", "\\notin", "\\ll", "\\mapsto", "\\prec",
         "\\preceq", "\\nmid", "\\vdash", "\\models", "\\asymp", "\\longmapsto")
    )
    | SYMMETRIC
    | MIRRORED.keys()
)  # fmt: skip
"""Relations that are true or false of their sides in this order; no side is ever moved across."""

OPERATORS = {
    "\\circ": "compose", "\\crossproduct": "cross", "\\bmod": "mod", "\\oplus": "oplus",
    "\\otimes": "otimes", "\\star": "star",
    "\\ast": "ast", "\\bullet": "bullet", "\\ominus": "ominus", "\\wr": "wr",
}  # fmt: skip
"""Operators between two factors, of which only the order is known."""
