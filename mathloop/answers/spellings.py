r"""Other spellings of the same mathematics: older commands of TeX, output of sympy, HTML, Unicode signs."""

from __future__ import annotations

import re

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SMALL_FRACTION = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9})[⁄/]([₀₁₂₃₄₅₆₇₈₉]{1,9})")
_SMALL_ROOT = re.compile("([²³⁴⁵⁶⁷⁸⁹])√")
_SIZES = re.compile(
    r"\\(?:tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|bfseries|itshape"
    r"|rmfamily"
    r"|thinspace|negthinspace|medspace|thickspace|enspace|enskip|therefore|because|noindent|centering"
    r"|strut|mathstrut"
    r"|displaylimits|ensuremath|rm|bf|it)(?![a-zA-Z])"
)
_COMMANDS = re.compile(
    r"\\(?:tiny|script|foot|small|normal|large|Large|LARGE|huge|Huge|bf|it|rm|thin|neg|med|thick|en"
    r"|there|because|noindent|center"
    r"|strut|math[strbin]|display|ensure|tag|label|ref|[vh]?phantom|bold|bm|pmb|nice|sfrac|flat|xfrac"
    r"|permil|textper)"
)
"""Beginnings of the commands below."""
_SYMPY = re.compile(
    r"mpf|(?:int|float)(?:32|64)\(|\*\s?I\b|\bI\s?\*|Rational|Fraction|Integer|Float|Decimal|FiniteSet"
    r"|set\(|Interval"
)
_TAGS = re.compile(r"\\(?:tag\*?|label|ref|phantom|vphantom|hphantom|footnote)\s*\{[^{}]*\}")
_BOLD_GROUP = re.compile(
    r"\\(?:boldsymbol|bm|pmb|mathbf|mathit|mathrm|mathsf|mathnormal)\s*(?=\{\s*(?:[-+]?[\d\\(]|[^{}]{1,80}=))"
)
_BOLD_TIMES = re.compile(
    r"(\\(?:mathbf|boldsymbol|bm|pmb)\s?\{?\s?[a-zA-Z]\s?\}?\s?)\\times(?=\s?\\(?:mathbf|bold|bm|pmb))"
)
_ARROWED = r"\\(?:hat|widehat|vec|overrightarrow|mathbf|boldsymbol|bm)\s*"
_LETTER_OF_BASIS = r"(?:[ijk](?![a-zA-Z])|\\[ij]math(?![a-zA-Z]))"
_BASIS = re.compile(
    rf"{_ARROWED}(?:{_LETTER_OF_BASIS}|\{{\s*{_LETTER_OF_BASIS}\s*\}}"
    rf"|\{{\s*{_ARROWED}(?:{_LETTER_OF_BASIS}|\{{\s*{_LETTER_OF_BASIS}\s*\}})\s*\}})"
)
"""Unit vectors with a hat, an arrow, or in bold with a hat."""
_NICE = re.compile(r"\\(?:nicefrac|sfrac|flatfrac|xfrac)(?=\s*\{)")
_DEGREES = re.compile(
    r"\^\s*\{?\s*\\(?:text|mathrm)\s*\{\s*[o0º°]\s*\}\s*\}?|\^\s*\{?\s*º\s*\}?|º"
    r"|(?<!\^)(?<!\^\{)\\degree(?![a-zA-Z])"
)
_PERMILLE = re.compile(r"‰|\\(?:permil|textperthousand)(?![a-zA-Z])")
_BRACED_LETTER = re.compile(r"(?<![a-zA-Z\d}\]_^])\{([a-zA-Z])\}(?=[_^])")
_TILDE_THOUSANDS = re.compile(r"(?<=\d)~(?=0\d\d(?!\d))")
_HTML = re.compile(r"<(sup|sub)>([^<>]{1,60})</\1>", re.IGNORECASE)
_TIMES_TEN = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?(?:\^|\*\*))")
_IMAGINARY = re.compile(r"(?<=\*)\s?I\b|\bI\s?(?=\*)")
_RATIONAL = re.compile(r"\b(?:Rational|Fraction)\(\s?([-+]?\d{1,60}),\s?(\d{1,60})\s?\)")
_INTEGER = re.compile(
    r"\b(?:Integer|Float|Decimal|mpf|(?:np\.|numpy\.)?(?:int|float)(?:32|64))"
    r"\(\s?'?([-+]?[\d.]{1,60})'?\s?\)"
)
_FINITE = re.compile(r"\b(?:FiniteSet|set)\(\s?[\[{(]?([^()\[\]{}]{1,300})[\])}]?\s?\)")
_INTERVAL = re.compile(r"\bInterval(?:\.(open|Lopen|Ropen))?\(([^(),]{1,100}),([^(),]{1,100})\)")
_ROWS = re.compile(r"(?:Matrix\()?\[(\s?\[[^\[\]]{1,500}\](?:\s?,\s?\[[^\[\]]{1,500}\]){1,30})\s?\]\)?")
_ROW = re.compile(r"\[([^\[\]]*)\]")
_OUTWARD = re.compile(r"([\[\]])([^\[\]]{1,200})([\[\]])")
_CHOSEN = re.compile(
    r"(?:\{\s?\}\s?|(?<![\w}\])'])\s?)[_^]\s?\{?\s?(\d{1,9}|[a-z])\s?\}?\s?\\?(?:mathrm\{"
    r"|text\{)?([CP])\}?\s?_\s?\{?\s?(\d{1,9}|[a-z])\s?\}?"
)
_MULTIPLIED = re.compile(r"\\(?:times|cdot)(?![a-zA-Z])")
_HATTED = re.compile(r"\\(?:hat|widehat|vec|overrightarrow)\s*\{?\s*\\?(?:[a-z]+\s*\{?\s*)?\\?[ijk]")
_DICTIONARY = re.compile(
    r"\{\s*[a-z]\w?\s*:\s*[^{}:|<>=,]{1,100}(?:,\s*[a-z]\w?\s*:\s*[^{}:|<>=,]{1,100}){0,9}\}"
)
"""Solutions as sympy prints them: {x: 2, y: 3}."""
_COMPLEX = re.compile(r"\(([-+]?\d{1,40}(?:\.\d{1,40})?[-+]\d{1,40}(?:\.\d{1,40})?)j\)")
"""A complex number as Python prints it: (3+2j)."""
_ENTITY = re.compile(r"&(lt|gt|le|ge|ne|times|minus|nbsp|pi|deg|frac12|frac14|frac34);")
_ENTITIES = {
    "lt": "<", "gt": ">", "le": r"\le ", "ge": r"\ge ", "ne": r"\ne ", "times": r"\times ", "minus": "-",
    "nbsp": " ", "pi": r"\pi ", "deg": r"^\circ ",
    "frac12": r"\frac{1}{2}", "frac14": r"\frac{1}{4}", "frac34": r"\frac{3}{4}",
}  # fmt: skip
_SAME = {
    r"\Vert": r"\|", r"\lVert": r"\|", r"\rVert": r"\|", r"\backslash": r"\setminus", r"\lnot": r"\neg",
    r"\wedge": r"\land", r"\vee": r"\lor",
}  # fmt: skip
_SYNONYMS = re.compile(rf"(?:{'|'.join(map(re.escape, _SAME))})(?![a-zA-Z])")
_RARE = re.compile(r"\\(?:[lr]?Vert|backslash|lnot|wedge|vee|ast|num|ang|SI|qty)(?![a-zA-Z])")
"""The commands of these tables."""
_ASTERISK = re.compile(r"\^\s?\{?\s?\\ast(?![a-zA-Z])\s?\}?")
_SI = re.compile(
    r"\\(?:num|ang|SI|qty)\s?\{([-+]?[\d.,]{1,40}(?:e[-+]?\d{1,4})?)\}"
    r"(?:\s?\{([a-zA-Z\\/^\d{} ]{1,80})\})?"
)
"""Numbers, angles and quantities as the package siunitx writes them."""
_GENERATED = re.compile(r"\\langle(?![a-zA-Z])([^,;|<>\\]{1,60})\\rangle(?![a-zA-Z])")
"""What one element generates, or the mean of one quantity; with commas it is a vector."""
_BIG_O = re.compile(r"\\mathcal\s*(?:\{\s*O\s*\}|O)\s*(?=\\?(?:left)?\s*\()")
_UNION = re.compile(r"(,[^(),\[\]]{1,100}[)\]]|\})\s?\\?U\s?(?=[(\[]|\\?\{)")
"""The letter U between two sets: (1, 2) U [3, 4)."""
_QUOTED = re.compile(r"""(["'`*]{1,3})([^"'`]+)\1""")


def respelled(text: str) -> str:
    """The answer in the spellings that the rest of the reading knows."""
    if text[0] in "\"'`" and (match := _QUOTED.fullmatch(text)):
        text = match[2].strip()
    if not text.isascii():
        text = _small_signs(text)
    if "\\" in text and _COMMANDS.search(text):
        text = _TAGS.sub("", _SIZES.sub(" ", text))
        text = _BOLD_TIMES.sub(r"\1\\crossproduct ", text)
        text = _NICE.sub(r"\\frac", _BOLD_GROUP.sub("", text))
        text = _PERMILLE.sub(r"\\text{ permille}", text)
    if "º" in text or "degree" in text or "{o}" in text or "{0}" in text:
        text = _DEGREES.sub(r"^\\circ ", text)
    if "&" in text and ";" in text:
        text = _ENTITY.sub(lambda match: _ENTITIES[match[1]], text)
    if "\\" in text and _RARE.search(text):
        text = _SYNONYMS.sub(lambda match: _SAME[match[0]], text)
        text = _ASTERISK.sub("^{*}", _SI.sub(_measured, text))
    if "langle" in text:
        text = _GENERATED.sub(r"\\operatorname{span}(\1)", text)
    if "mathcal" in text:
        text = _BIG_O.sub("O", text)
    if (
        ("hat" in text or "vec" in text or "arrow" in text)
        and _HATTED.search(text)
        and not _MULTIPLIED.search(text)
    ):
        text = _BASIS.sub(_unit_vector, text)
    if ":" in text and text[0] == "{" and (found := _DICTIONARY.fullmatch(text)):
        text = _as_equations(found)
    if text.endswith("j)") and (found := _COMPLEX.fullmatch(text)):
        text = f"{found[1]} i"
    if "~" in text:
        text = _TILDE_THOUSANDS.sub("", text)
    if "<" in text and _HTML.search(text):
        text = _HTML.sub(lambda match: f"{'^' if match[1].lower() == 'sup' else '_'}{{{match[2]}}}", text)
    if "}_" in text or "}^" in text:
        text = _BRACED_LETTER.sub(r"\1", text)
    if ("x" in text or "X" in text) and "10" in text:
        text = _TIMES_TEN.sub(r"\\times ", text)
    if "_" in text and ("C" in text or "P" in text):
        text = _CHOSEN.sub(_counted, text)
    if "U" in text:
        text = _UNION.sub("\\1∪", text)
    if _SYMPY.search(text):
        text = _from_sympy(text)
    if "[" in text:
        text = _with_brackets(text)
    return text


def _small_signs(text: str) -> str:
    text = _SMALL_FRACTION.sub(
        lambda match: rf"\frac{{{match[1].translate(_SUPERSCRIPTS)}}}{{{match[2].translate(_SUBSCRIPTS)}}}",
        text,
    )
    text = text.replace("Ø", r"\emptyset ")
    text = _SMALL_ROOT.sub(lambda match: rf"\sqrt[{match[1].translate(_SUPERSCRIPTS)}] ", text)
    return _PERMILLE.sub(r"\\text{ permille}", text.replace("⁄", "/"))


def _from_sympy(text: str) -> str:
    text = _IMAGINARY.sub("i", text)
    if "(" not in text:
        return text
    text = _INTEGER.sub(r"\1", _RATIONAL.sub(r"((\1)/(\2))", text))
    text = _FINITE.sub(r"\\{\1\\}", text)
    return _INTERVAL.sub(_interval, text)


def _unit_vector(match: re.Match[str]) -> str:
    letter = match[0].replace("math}", "}").removesuffix("math").rstrip("} ")[-1]
    return rf"\mathbf{{{letter}}}"


def _as_equations(match: re.Match[str]) -> str:
    """{x: 2, y: 3} as x = 2, y = 3; {x: x > 1} stays a set."""
    fields = [field.split(":") for field in match[0].strip("{ }").split(",")]
    if any(name.strip() in value for name, value in fields):
        return match[0]
    return ", ".join(f"{name.strip()} = {value.strip()}" for name, value in fields)


def _measured(match: re.Match[str]) -> str:
    number, unit = match.groups()
    if unit is None:
        return f" {number}^\\circ " if match[0].startswith(r"\ang") else f" {number} "
    unit = re.sub(r"\\per\s?\\?", "/", unit).replace("\\", "").strip()
    return rf" {number} \text{{ {unit} }}"


def _interval(match: re.Match[str]) -> str:
    left = "(" if match[1] in ("open", "Lopen") else "["
    right = ")" if match[1] in ("open", "Ropen") else "]"
    return f"{left}{match[2]},{match[3]}{right}"


def _counted(match: re.Match[str]) -> str:
    total, kind, chosen = match.groups()
    if kind == "C":
        return rf"\binom{{{total}}}{{{chosen}}}"
    return rf"\frac{{{total}!}}{{({total}-{chosen})!}}"


def _with_brackets(text: str) -> str:
    """Python's nested lists as matrices, and ]1, 2[ as the open interval."""
    if rows := _ROWS.fullmatch(text):
        cells = [row.split(",") for row in _ROW.findall(rows[1])]
        if len({len(row) for row in cells}) == 1:
            body = r"\\".join("&".join(row) for row in cells)
            return rf"\begin{{pmatrix}}{body}\end{{pmatrix}}"
    if text.startswith("]") or text.endswith("["):
        return _OUTWARD.sub(
            lambda match: f"{'[' if match[1] == '[' else '('}{match[2]}{']' if match[3] == ']' else ')'}",
            text,
        )
    return text
