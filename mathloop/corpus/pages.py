"""Text of a web page, with its formulas in LaTeX.

resiliparse extracts the main text, and is fast, but reads MathML as its letters side by side (1/2 is 12),
reads KaTeX twice, and drops `<script type="math/tex">`. trafilatura, ten times as slow, drops MathML without
a TeX annotation, scripts, and formulas that are images. So formulas become LaTeX before extraction.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from mathloop.corpus.mathml import latex_of

LONGEST = 4 << 20
"""Characters of a page at most."""
_DEEPEST = 400
"""Nested elements at most: the time of an extraction is quadratic in them."""
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)[^>]*?(/?)>")
_OPTIONAL = (
    "p li dt dd tr td th thead tbody tfoot option optgroup colgroup rp rt html head body br hr img input meta"
    " link area base col embed source track wbr"
)
_CLOSED_BY_OTHERS = frozenset(_OPTIONAL.split())
_INDEX = 12
"""Characters of a superscript or subscript at most; longer ones are text."""
_RENDERED = ".katex-html, .MathJax, .MathJax_Preview, .MathJax_SVG, .MathJax_Display, mjx-container"
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


class Unreadable(ValueError):
    """A page whose text is not extracted; the message is the reason for dropping it."""


def text_of(html: str, *, main: bool = True) -> str:
    """The text of a page, without scripts, styles and (if `main`) menus, side bars and footers.

    Formulas stand between dollar signs, displayed ones between two.

    Raises:
        Unreadable: the page is too long, or its elements are nested too deep.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    if len(html) > LONGEST:
        raise Unreadable("page too long")
    if _depth(html) > _DEEPEST:
        raise Unreadable("elements nested too deep")
    tree = HTMLTree.parse(html)
    if tree.body is None:
        return ""
    _write_formulas(tree)
    return str(extract_plain_text(tree, main_content=main, list_bullets=False)).strip()


def language_of(text: str) -> str:
    """ISO 639 code of the language; `en` where too few words tell (formulas are no words)."""
    from resiliparse.parse.lang import detect_fast

    letters = sum(map(str.isalpha, text[:4000]))
    if len(_IDEOGRAPH.findall(text[:4000])) > 0.15 * letters:
        return "zh"
    words = re.sub(r"\$[^$]*\$", " ", text[:20_000])
    if sum(map(str.isalpha, words)) < 200:
        return "en"
    code = str(detect_fast(words)[0])
    return "en" if code == "unknown" else code


def _depth(html: str) -> int:
    """How deep elements are nested, at most; elements that others close are not counted."""
    open_tags: Counter[str] = Counter()
    depth = deepest = 0
    for match in _TAG.finditer(html):
        closing, name, alone = match.groups()
        name = name.lower()
        if alone or name in _CLOSED_BY_OTHERS:
            continue
        if not closing:
            open_tags[name] += 1
            depth += 1
            deepest = max(deepest, depth)
        elif open_tags[name]:
            open_tags[name] -= 1
            depth -= 1
    return deepest


def _write_formulas(tree: Any) -> None:
    """Replaces formulas in the DOM by text nodes with their LaTeX, and their rendering by nothing."""
    body = tree.body
    for script in _found(body, 'script[type^="math/"]'):
        latex = script.text.strip()
        if "mml" in script["type"]:
            _replace(tree, script, "")
        else:
            _replace(tree, script, _delimited(latex, "mode=display" in script["type"].replace(" ", "")))
    for formula in _found(body, "math"):
        displayed = formula.hasattr("display") and formula["display"] == "block"
        _replace(tree, formula, _delimited(latex_of(formula), displayed))
    for rendered in _found(body, _RENDERED):
        # MathJax keeps the formula for screen readers inside of what it draws: the text node put there now.
        kept = "".join(re.findall(r"\${1,2}[^$]+\${1,2}", rendered.text))
        _replace(tree, rendered, kept)
    for image in _found(body, "img[alt]"):
        latex = image["alt"].strip()
        names = image["class"] if image.hasattr("class") else ""
        if re.search(r"\bmwe-math|\btex\b|\bformula|\blatex|\bmath\b", names, re.IGNORECASE) and latex:
            _replace(tree, image, _delimited(_plain(latex), "display" in names))
    for name, mark in (("sup", "^"), ("sub", "_")):
        for index in _found(body, name):
            _replace_index(tree, index, mark)


def _found(node: Any, selector: str) -> list[Any]:
    """The elements inside a node. Going through resiliparse's own list takes quadratic time."""
    return list(node.query_selector_all(selector).values())


def _plain(latex: str) -> str:
    inner = re.fullmatch(r"\{\s*\\displaystyle\s*(.*)\}", latex, re.DOTALL)
    return inner[1].strip() if inner else latex.strip("$").strip()


def _delimited(latex: str, displayed: bool) -> str:
    if not latex:
        return ""
    mark = "$$" if displayed else "$"
    return f"{mark}{latex}{mark}"


def _replace_index(tree: Any, index: Any, mark: str) -> None:
    """x<sup>2</sup> becomes x^2; a footnote's number, which is a link or in brackets, stays as it is."""
    text = index.text.strip()
    if not text or len(text) > _INDEX or index.query_selector("a") or text[0] in "[(" or index.closest("a"):
        return
    if not re.fullmatch(r"[-+−]?[\w.,+\-−*/=]+", text) or re.fullmatch(r"st|nd|rd|th|TM|®|™", text):
        return
    _replace(tree, index, f"{mark}{text}" if len(text) == 1 else f"{mark}{{{text}}}")


def _replace(tree: Any, node: Any, text: str) -> None:
    if node.parent is not None:
        node.replace_with(tree.create_text_node(text))
