"""Symbols of formulas: one spelling for those that mean the same, and the words that stand for them."""

from __future__ import annotations

OPERATORS = {
    **dict.fromkeys(("\\le", "\\leq", "\\leqslant", "≤", "⩽", "<", "\\lt"), "≤"),
    **dict.fromkeys(("\\ge", "\\geq", "\\geqslant", "≥", "⩾", ">", "\\gt"), "≤"),  # a < b is also b > a
    **dict.fromkeys(("-", "−", "–"), "-"),
    **dict.fromkeys(("/", "\\frac", "\\dfrac", "\\tfrac", "\\cfrac", "÷", "\\div"), "/"),
    **dict.fromkeys(("|", "\\lvert", "\\rvert"), "|"),
    **dict.fromkeys(("*", "\\cdot", "\\times", "×", "·"), "*"),
    **dict.fromkeys(("\\sqrt", "√"), "√"),
    **dict.fromkeys(("\\neq", "\\ne", "≠"), "≠"),
    **dict.fromkeys(("\\pi", "π"), "π"),
    **dict.fromkeys(("\\binom", "\\dbinom"), "C"),
    **dict.fromkeys(("\\circ", "°"), "°"),
    **dict.fromkeys(("%", "\\%"), "%"),
    "=": "=",
    "+": "+",
    "^": "^",
    "!": "!",
    "\\infty": "∞",
    "\\overline": "bar",
}
SYMBOL_NAMES = {
    "\\$": "dollar",
    "%": "percent",
    "\\%": "percent",
    "\\angle": "angle",
    "∠": "angle",
    "\\triangle": "triangle",
    "△": "triangle",
    "\\circ": "degree",
    "°": "degree",
    "\\sqrt": "root",
    "√": "root",
    "\\sum": "sum",
    "\\cup": "union",
    "\\cap": "intersect",
    "\\perp": "perpendicular",
    "\\parallel": "parallel",
    "\\infty": "infinite",
    "\\lfloor": "floor",
    "\\lceil": "ceiling",
    "\\binom": "binomial",
}
"""Symbol → its name, as a word."""
CHINESE_NAMES = {
    "正弦": "sin",
    "余弦": "cos",
    "正切": "tan",
    "余切": "cot",
    "对数": "log",
    "三角形": "triangle",
    "并集": "union",
    "交集": "intersect",
    "垂直": "perpendicular",
    "平行": "parallel",
    "根号": "root",
}
"""Chinese term → the word for what may also be written as a symbol or function."""
PLAIN_OPERATORS = frozenset("+-=^*/|")
"""So common that a run of only these is not a formula."""
