"""Formulas in prose: what is one, what is money, and what hostile text becomes."""

import json
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.typesetting import ELEMENTS, Node, split_blocks, to_mathml, typeset
from mathloop.typesetting.mathml import DEEPEST, LARGEST, LONGEST
from tests.paths import SHARED_DATA

SETS = ("math500", "olympiadbench", "gsm8k", "cmath", "gaokao_math_cloze")


def text_of(node: Node | str) -> str:
    return node if isinstance(node, str) else "".join(map(text_of, node.children))


def nodes_of(node: Node | str) -> list[Node]:
    return (
        [] if isinstance(node, str) else [node, *(one for child in node.children for one in nodes_of(child))]
    )


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("It costs $18 and she pays $20 each day.", []),
        ("He has $5, she has $7.", []),
        (r"It costs \$18.90 or $x$ dollars.", ["math"]),
        ("For $5$ apples and $ a_1 $ pears at $3/$4 each", ["math", "math"]),
        (r"\(x\) and \[y^2\] and $$z$$", ["math", "math", "math"]),
        (r"The answer is \boxed{16}.", ["math"]),
        ("\\begin{align*}\nx &= 1 \\\\\ny &= 2\n\\end{align*}", ["math"]),
        (r"an unknown one $\frobnicate{1}$ here", ["code"]),
        (r"unbalanced $\frac{1}{2$ here", ["code"]),
        (r"never closed \( x", []),
        ("a line \\\\ of a table", []),
        ("$a\n\nb$ are two paragraphs", []),
        ("中文$x^2$题", ["math"]),
    ],
)
def test_what_is_a_formula(text: str, formulas: list[str]) -> None:
    found = typeset(text)
    assert [piece.name for piece in found if isinstance(piece, Node)] == formulas
    if not formulas:
        assert found == [text]


def test_an_escaped_dollar_is_a_dollar_and_a_source_keeps_its_signs() -> None:
    source = Node("code", {"class": "tex"}, (r"$\frobnicate$",))
    assert typeset(r"\$5 and $\frobnicate$") == ["$5 and ", source]


def test_a_formula_is_mathml() -> None:
    node = to_mathml(r"\frac{1}{2} < \sin x")
    assert node is not None
    assert [one.name for one in nodes_of(node)][:4] == ["math", "mfrac", "mn", "mn"]
    assert "<" in text_of(node)
    assert json.loads(json.dumps(node))[0] == "math"
    assert to_mathml("x", display=True).attributes == {"display": "block"}
    columns = nodes_of(to_mathml(r"\begin{align} x &= 1 \tag{*} \\ y &= 2 \end{align}"))
    assert any("text-align" in one.attributes.get("style", "") for one in columns)


def test_a_line_over_digits_is_drawn_by_the_pages_style() -> None:
    line = to_mathml(r"0.\overline{27}").children[-1]
    assert (line.name, line.attributes["class"], text_of(line)) == ("mover", "overline", "27\u203e")
    assert to_mathml(r"\underline{x}").children[0].attributes["class"] == "underline"


@pytest.mark.parametrize(
    "source",
    [
        r"\text{<script>alert(1)</script>}",
        r"\text{<b onclick=alert(1)>}",
        r"\href{javascript:alert(1)}{x}",
        r"\color{red;background:url(//a)}{x}",
        r'\textcolor{"onload="x}{x}',
        r"\style{background:url(//a)}{x}",
        r"\class{a}{x}",
        r"\begin{array}{c}<img src=x>\end{array}",
        r"\label{x}\ref{x}",
        r"\unicode{x202e}",
    ],
)
def test_hostile_formulas_are_text(source: str) -> None:
    for piece in typeset(f"${source}$"):
        for node in nodes_of(piece):
            assert node.name in ELEMENTS
            assert not {"href", "src", "onclick", "onload", "id"} & set(node.attributes)
            assert "url" not in node.attributes.get("style", "")


@pytest.mark.parametrize(
    "pattern",
    ["{|}", "{|", "}|{", r"\sqrt{|}", r"\frac1{|}", "x^{|}", r"\hat|", r"\left(|\right)", r"\boxed{|}",
     "{%}\n|", r"\begin{matrix}|\end{matrix}", r"\mathbb |", r"\binom|", "x'|", "&|", r"\not|",
     r"{x\over |}"],
)  # fmt: skip
def test_deep_and_long_formulas_neither_end_the_process_nor_grow(pattern: str) -> None:
    opening, closing = pattern.split("|")
    made: list[Node | None] = []

    def convert() -> None:
        for length in (60, 400, LONGEST, 100_000):
            times = max(1, length // len(opening + closing))
            made.append(to_mathml(opening * times + "x" + closing * times))

    before = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=convert)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(made) == 4
    assert made[3] is None
    assert all(len(json.dumps(node)) < 4 * LARGEST for node in made)


@pytest.mark.parametrize(
    "source",
    [r"\newcommand{\a}{\hat\hat\hat}\a\a x", r"\def\x{\x\x}\x", r"\renewcommand\x{y}\x", r"\let\x\y",
     "x" * (LONGEST + 1)],
)  # fmt: skip
def test_definitions_and_long_formulas_are_refused(source: str) -> None:
    assert to_mathml(source) is None
    assert to_mathml("{" * (DEEPEST + 1) + "x" + "}" * (DEEPEST + 1)) is None


@given(st.text(alphabet="$\\()[]{}x^_ 1&\nboxedgin<", max_size=60))
def test_any_text_becomes_known_elements(text: str) -> None:
    for piece in typeset(text):
        assert {node.name for node in nodes_of(piece)} <= ELEMENTS


@given(st.text(alphabet="ab <&1\n", max_size=60))
def test_text_without_formulas_stays(text: str) -> None:
    assert "".join(typeset(text)) == text  # type: ignore[arg-type]


def test_blocks_of_a_response() -> None:
    text = "So:\r\n```python\nprint(1)\n```\n```output\n1\n```\nIt is $1$.\n```c\nx"
    assert [(one.kind, one.text) for one in split_blocks(text)] == [
        ("prose", "So:"),
        ("python", "print(1)"),
        ("output", "1"),
        ("prose", "It is $1$."),
        ("code", "x"),
    ]
    for line in ("So ```python", "So ```print(1)``` it is"):
        assert split_blocks(line) == [("prose", line)], "no fence: its line has no end, or backticks"
    assert split_blocks("````c\nx\n```")[0] == ("code", "x")


def test_a_box_ends_at_its_own_brace() -> None:
    text = r"} { \boxed \{ \boxed{\frac{1}{2}} \boxed{\text{a\}b}} \boxed{ {x}"
    sources = [piece if isinstance(piece, str) else piece.name for piece in typeset(text)]
    assert sources == [r"} { \boxed \{ ", "math", " ", "math", r" \boxed{ {x}"]


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the benchmarks are not on this machine")
def test_formulas_of_real_benchmarks_are_rendered() -> None:
    rendered = failed = 0
    for name in SETS:
        rows = (SHARED_DATA / "benchmarks" / name / "test.jsonl").read_text("utf-8").splitlines()
        for row in rows[:100]:
            fields = json.loads(row)
            texts = [fields.get(key) for key in ("problem", "question", "solution", "answer")]
            joined = "\n\n".join(
                text if isinstance(text, str) else "\n".join(map(str, text)) for text in texts if text
            )
            for piece in typeset(joined):
                if isinstance(piece, Node):
                    rendered += piece.name == "math"
                    failed += piece.name == "code"
                elif re.search(r"\\frac|\\sqrt", piece):
                    failed += 1
    assert rendered > 2_500
    assert failed <= 0.01 * rendered
