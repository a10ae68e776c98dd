"""One spelling for answers that differ only in how they were typeset."""

from __future__ import annotations

import re
from functools import lru_cache

from mathloop.answers.spellings import respelled

MONEY = "＄"
"""A dollar that means money; a plain `$` only delimits math."""

_FULL_WIDTH = {chr(0xFF01 + offset): chr(0x21 + offset) for offset in range(94)} | {MONEY: MONEY}
_MARKS = {
    "。": ".", "、": " 、 ", "【": "[", "】": "]", "−": "-", "‐": "-", "‑": "-", "⟨": "(", "⟩": ")",
    "〈": "(",
    "〉": ")", "–": "-", "—": "-", "﹣": "-", "￥": "¥", "\u3000": " ", "\u00a0": " ", "\u2009": " ",
    "\u202f": " ", "\u200b": "", "\u200c": "", "\u2060": "", "\ufeff": "", "´": "'", "’": "'", "′": "'",
    "“": '"', "”": '"', "×": r"\times ", "÷": r"\div ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "√": r"\sqrt ", "∛": r"\sqrt[3] ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ",
    "≦": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≧": r"\ge ", "≠": r"\ne ", "≡": r"\equiv ",
    "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∉": r"\notin ", "⊆": r"\subseteq ", "⊂": r"\subset ", "⊇": r"\supseteq ", "⊃": r"\supset ",
    "∘": r"\circ ", "∂": r"\partial ", "∫": r"\int ", "↦": r"\mapsto ", "≪": r"\ll ", "≫": r"\gg ",
    "⊥": r"\perp ", "∥": r"\parallel ", "∑": r"\sum ", "∏": r"\prod ", "Δ": r"\Delta ", "ζ": r"\zeta ",
    "λ": r"\lambda ", "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "σ": r"\sigma ", "γ": r"\gamma ",
    "δ": r"\delta ", "ε": r"\epsilon ", "ρ": r"\rho ", "τ": r"\tau ", "ψ": r"\psi ", "Ω": r"\Omega ",
    "Σ": r"\Sigma ", "Φ": r"\Phi ", "∖": r"\setminus ", "∧": r"\land ", "∨": r"\lor ", "ℤ": "Z",
    "ℕ": "N", "ℚ": "Q", "ℂ": "C", "∅": r"\emptyset ", "°": r"^\circ ", "℃": r"^\circ C", "ℝ": "R",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "∠": r"\angle ", "⅛": r"\frac{1}{8}",
    "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}", "⅕": r"\frac{1}{5}",
    "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}",
    "⅚": r"\frac{5}{6}", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "∶": ":", "∣": "|", "㎝": "cm", "㎡": "m^2", "㎏": "kg",
    "㎞": "km", "…": r"\ldots ", "⋯": r"\ldots ",
}  # fmt: skip
_TRANSLATED = str.maketrans(_FULL_WIDTH | _MARKS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉ₙ₋₊", "0123456789n-+")
_SUBSCRIPT = re.compile("[₀₁₂₃₄₅₆₇₈₉ₙ₋₊]+")
_CHECK_MARKS = dict.fromkeys("√✓✔☑", "true") | dict.fromkeys("×✗✘✕❌", "false")
"""Marks that call a statement true or false, as the whole answer."""
_COLORED = re.compile(r"\\(?:textcolor|color)\s*\{[a-zA-Z]+\}|\\underline(?=\s*\{\s*[-\d\\])")
_NOT_EQUAL = re.compile(r"\\not\s*=")
_ROW_GAP = re.compile(r"\\\\\s*\[-?[\d.]+\s*(?:pt|ex|em|mm|cm)\]")
_BARE_COMMAND = re.compile(r"(?<![a-zA-Z\\])(?=(?:d?frac|sqrt)\{)")
_DOTS = re.compile(r"\\(?:dots[cbm]?|cdots|hdots)(?![a-zA-Z])")
_LISTED_DOTS = re.compile(r"(?<=,)\s*\.{3,6}\s*(?=,)")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_SPACING = re.compile(
    r"(?<!\\)\\[;:> ]|\\(?:displaystyle|textstyle|limits|nolimits|left\.?|right\.?|[bB]igg?[lrm]?|middle"
    r"|nonumber)(?![a-zA-Z])|\\hspace\*?\{[^{}]*\}|\\hline|~"
)
_BRACED_COMMA = re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?:\\!)?\s*(?=\d)")
_TIGHT_COMMA = re.compile(r"(?<=\d),\s*\\!\s*(?=\d)")
_QUAD = re.compile(r"\\q?quad")
_ESCAPED_COMMAND = re.compile(r"\\\\(?=[a-zA-Z]{2}|[%$])")
_RANGE = re.compile(r"(?<=\d)\s*~\s*(?=\d)")
_OPEN_ARRAY = re.compile(r"\\\{\s*\\begin\s*\{array\}\s*\{[lcr\s]{1,3}\}(.*?)\\end\s*\{array\}", re.DOTALL)
"""A system of equations typeset as an array with a single brace."""
_SPACES = re.compile(r"\s+")
_GLUED_CONNECTIVE = re.compile(r"(?<![a-zA-Z\\])(or|and)(?=[A-Z](?![a-z]))")
LONGEST_CACHED = 1000
_PLAIN = re.compile(r"[\w.+\-/ ]*", re.ASCII)


def normalize(text: str) -> str:
    """The answer without delimiters, spacing commands, full-width forms and a final period."""
    return _cached(text) if len(text) <= LONGEST_CACHED else _normalized(text)


def _normalized(text: str) -> str:
    if _PLAIN.fullmatch(text):
        text = " ".join(text.split())
        return text if not text.endswith(".") or text.endswith("...") else text[:-1].rstrip()
    text = text.strip()
    if len(text) < 5 and (mark := text.strip("()（）[]【】 ")) in _CHECK_MARKS:
        return _CHECK_MARKS[mark]
    if not text:
        return ""
    text = respelled(text)
    if (text.startswith("**") and text.endswith("**")) or text.startswith("####"):
        text = text.strip("*# ")
    plain = "{" in text and "\\" not in text and "$" not in text
    if not text.isascii():
        text = _SUPERSCRIPT.sub(lambda match: "^{" + match.group().translate(_SUPERSCRIPTS) + "}", text)
        text = _SUBSCRIPT.sub(lambda match: "_{" + match.group().translate(_SUBSCRIPTS) + "}", text)
        text = text.translate(_TRANSLATED)
    if "~" in text:
        text = _RANGE.sub(r"\\sim ", text)
    if "\\" in text:
        if r"\begin" not in text and r"\\" in text:  # escaped twice, as in JSON dumps
            text = _ESCAPED_COMMAND.sub(r"\\", text)
        text = text.replace(r"\$", MONEY).replace(r"\%", "%").replace(r"\#", "#").replace(r"\&", "&")
        text = _ROW_GAP.sub(r"\\\\", text).replace(r"\colon", ":")
        text = _COLORED.sub("", text)
        text = _NOT_EQUAL.sub(r"\\ne ", text)
        text = _BRACED_COMMA.sub(",", text)
        text = _TIGHT_COMMA.sub(",", text)
        text = _QUAD.sub(r" \\quad ", text).replace(r"\,", " ").replace(r"\!", "")
        text = _SPACING.sub(" ", text)
        if "dots" in text:
            text = _DOTS.sub(r"\\ldots", text)
        if "array" in text:
            text = _OPEN_ARRAY.sub(r"\\begin{cases}\1\\end{cases}", text)
        for delimiter in (r"\(", r"\)", r"\[", r"\]"):
            text = text.replace(delimiter, " ")
    if "{" in text:
        text = _BARE_COMMAND.sub(r"\\", text)
        text = text.replace("{:}", ":")
    if "\\" not in text and "{" in text:
        text = _BRACED_COMMA.sub(",", text)
    if "..." in text:
        text = _LISTED_DOTS.sub(r" \\ldots ", text)
    if "or" in text or "and" in text:
        text = _GLUED_CONNECTIVE.sub(r" \1 ", text)
    if plain:
        text = _with_sets(text)
    if text.count("$") == 1:
        text = text.replace("$", MONEY)
    text = _SPACES.sub(" ", text.replace("$", "")).strip()
    while text.endswith((".", "\\", ",", ";")) and not text.endswith((r"\,", r"\.", r"\;", "...")):
        text = text[:-1].rstrip()
    return text


_cached = lru_cache(maxsize=1024)(_normalized)


def _with_sets(text: str) -> str:
    """Braces as set brackets, for text without LaTeX, except those of an index, power or root."""
    parts: list[str] = []
    groups: list[bool] = []
    for position, mark in enumerate(text):
        if mark == "{":
            before = text[position - 1 : position]
            groups.append(before in ("^", "_", "}") or (before.isalnum() and before.isascii()))
        if mark == "{" or (mark == "}" and groups):
            parts.append(mark if groups[-1] else "\\" + mark)
            if mark == "}":
                groups.pop()
        else:
            parts.append(mark)
    return "".join(parts)
