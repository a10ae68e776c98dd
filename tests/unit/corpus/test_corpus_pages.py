"""Formulas of web pages survive extraction, and hostile pages end in a reason, quickly."""

from __future__ import annotations

import pytest
from math_core import LatexToMathML

from mathloop.answers import verify
from mathloop.corpus.pages import LONGEST, Unreadable, language_of, text_of

FORMULAS = [
    r"\frac{-b\pm\sqrt{b^2-4ac}}{2a}",
    r"\sum_{n=1}^{\infty}\frac{1}{n^2}=\frac{\pi^2}{6}",
    r"\lim_{x\to 0}\frac{\sin x}{x}",
    r"\begin{pmatrix}1 & 2 \\ 3 & 4\end{pmatrix}",
    r"\sqrt[3]{5}",
    r"\{1,2\}",
    r"\vec{v}\cdot\hat{u}",
    r"\binom{n}{k}",
    r"x_1^2+\alpha\beta",
    r"50\%",
]


@pytest.mark.parametrize("latex", FORMULAS)
def test_mathml_without_annotation_becomes_its_latex(latex):
    text = text_of(
        f"<p>Formula: {LatexToMathML().convert_with_local_state(latex, displaystyle=False)}</p>", main=False
    )
    assert text == f"Formula: ${latex}$"


def test_each_way_of_writing_formulas_is_read_once():
    page = r"""<html><body><main><h1>Roots</h1>
    <p>Plain \(a \lt b\) and $x^2$ stay, the roots are</p>
    <script type="math/tex; mode=display">x = \frac{-b}{2a}</script>
    <p>Annotated <math alttext="\int_0^1 f"><semantics><mrow><mo>∫</mo></mrow>
    <annotation encoding="application/x-tex">\int_0^1 f</annotation></semantics></math>,
    <span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>E</mi></mrow>
    <annotation encoding="application/x-tex">E = mc^2</annotation></semantics></math></span><span
    class="katex-html" aria-hidden="true">E=mc2</span></span>, the image
    <img class="mwe-math-fallback-image-inline" alt="{\displaystyle a^{2}+b^{2}}"> and
    y<sub>10</sub><sup><a href="#n">[1]</a></sup>, the 5<sup>th</sup>.</p>
    </main></body></html>"""
    lines = [line for line in text_of(page).splitlines() if line]
    assert lines[1] == r"Plain \(a \lt b\) and $x^2$ stay, the roots are"
    assert lines[2] == r"$$x = \frac{-b}{2a}$$"
    assert lines[3] == (
        r"Annotated $\int_0^1 f$, $E = mc^2$, the image $a^{2}+b^{2}$ and y_{10}[1], the 5th."
    )


def test_what_resiliparse_alone_would_read_is_another_number():
    from resiliparse.extract.html2text import extract_plain_text

    page = "<p>It is <math><mfrac><mn>1</mn><mn>2</mn></mfrac></math></p>"
    assert extract_plain_text(page) == "It is 12"
    answer = text_of(page, main=False).removeprefix("It is ")
    assert verify("1/2", answer).correct
    assert not verify("12", answer).correct


def test_menus_and_scripts_are_left_out():
    page = (
        "<body><nav><a href='/'>Home</a></nav><script>var x</script><main><p>"
        + "The sum of two numbers. " * 20
        + "</p></main><footer>Cookies</footer></body>"
    )
    text = text_of(page)
    assert text.startswith("The sum")
    assert not any(word in text for word in ("Home", "Cookies", "var"))


def test_hostile_pages_are_refused():
    # Nested this deep, the extraction itself would take hours.
    for page in ("<div>" * 100_000, "<x-y>" * 500 + "a", "<b>" * 200 + "<i>" * 300):
        with pytest.raises(Unreadable, match="nested too deep"):
            text_of(page)
    with pytest.raises(Unreadable, match="too long"):
        text_of("a" * (LONGEST + 1))
    deep = "<math>" + "<mrow>" * 300 + "<mi>x</mi>" + "</mrow>" * 300 + "</math>"
    assert "x" in text_of(deep, main=False)
    assert text_of("<p>one<p>two" * 5000, main=False).count("two") == 5000
    assert text_of("") == ""
    assert text_of("<math></math>") == ""


def test_language():
    assert language_of("小明有12个苹果，他又买了3个。") == "zh"
    assert language_of("x^2 + 1 = 0") == "en"
    assert language_of("Dies ist ein deutscher Text über die Summe von Quadraten und Dreiecken. " * 5) == "de"
