"""Pairs of answers that are equal and pairs that are not, by kind, in both languages."""

from __future__ import annotations

import pytest

from mathloop.answers import verify

EQUAL = {
    "numbers": [
        ("72", "72.0"), ("-5", "−5"), ("7425000", "7,425,000"), ("10{,}000", "10000"), ("0.4", ".4"), ("007", "7"),
        ("1,000.99", "1000.99"), ("12", "１２"), ("\\frac{1}{2}", "0.5"), ("1/2", "\\dfrac12"), ("-\\frac{3}{4}", "\\frac{-3}{4}"),
        ("\\frac{-1}{-2}", "0.5"), ("2/6", "1/3"), ("1\\frac{4}{5}", "9/5"), ("137 \\frac{1}{2}", "137.5"), ("1 4/5", "1.8"),
        ("-1\\frac{1}{2}", "-1.5"), ("32,\\! 349", "32349"), ("0.333333", "1/3"), ("\\sqrt{17}", "4.123105625617661"),
    ],
    "scientific": [
        ("2.7\\times10^9", "2700000000"), ("2.7×10^9", "2.7 \\times 10^{9}"), ("1.2e5", "120000"), ("3 \\cdot 10^{-2}", "0.03"),
        ("5.784 \\times 10^{11}", "57.84\\times10^{10}"), ("10^{100}", "10^{50}\\cdot10^{50}"),
    ],
    "percent and money": [
        ("28\\%", "28 percent"), ("10%", "10"), ("10\\%", "0.1"), ("12.5%", "1/8"), ("\\$18.90", "18.9"), ("$1,000.99", "1000.99"),
        ("5 dollars", "\\$5"), ("5元", "5"), ("¥30", "30元"), ("50 cents", "\\$0.50"), ("百分之二十", "20%"), ("20％", "20\\%"),
    ],
    "units": [
        ("90^\\circ", "90"), ("90°", "90 degrees"), ("90^{\\circ}", "\\frac{\\pi}{2}"), ("15\\mbox{ cm}^2", "15"),
        ("15 cm^2", "15\\text{ square centimeters}"), ("20 cm^{2}", "20 \\text{ cm}^2"), ("1.5 km", "1500 m"), ("90 minutes", "1.5 hours"),
        ("60千米/小时", "60 km/h"), ("125", "125\\textnormal{ miles}"), ("5.4 \\text{ cents}", "5.4"), ("\\frac{270}7\\text{ degrees}", "270/7"),
        ("3小时", "3 h"), ("17\\text{ any text}", "17"), ("36\\sqrt{7}cm^{3}", "36\\sqrt{7}"), ("12 apples", "12 apple"), ("15平方厘米", "15cm^2"),
    ],
    "radicals and constants": [
        ("\\sqrt{8}", "2\\sqrt2"), ("\\frac{1}{\\sqrt{3}}", "\\frac{\\sqrt{3}}{3}"), ("\\sqrt[3]{-8}", "-2"), ("2√3", "\\sqrt{12}"),
        ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"), ("8^{1/3}", "2"), ("e^{-1}", "\\frac1e"), ("\\frac94\\pi", "2.25π"), ("7\\pi", "7pi"),
        ("\\frac{5\\sqrt{42}}{27}", "\\frac{10\\sqrt{10.5}}{27}"), ("10^{\\frac{-5+\\sqrt{13}}{6}}", "10^{\\frac{\\sqrt{13} - 5}{6}}"),
        ("\\sqrt{x^2}", "|x|"), ("\\cos\\frac{\\pi}{5}", "\\frac{1+\\sqrt5}{4}"), ("\\sin 30^\\circ", "\\frac12"),
    ],
    "logarithms, factorials, binomials": [
        ("\\log_2 8", "3"), ("2,-\\log _{10} 250", "2, -\\lg 250"), ("\\ln e^2", "2"), ("\\frac{\\log 2}{\\log 2-\\log 3}", "\\frac{\\ln 2}{\\ln 2 - \\ln 3}"),
        ("5!", "120"), ("\\frac{100!}{98!}", "9900"), ("\\binom{10}{3}", "120"), ("C_{10}^{3}", "120"), ("\\frac{n!}{(n-1)!}", "n"),
        ("\\binom{n}{2}", "\\frac{n(n-1)}{2}"), ("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}"), ("2^{n+1}", "2\\cdot 2^n"), ("A_5^2", "20"),
        ("\\frac{d !}{2 k(d-k) !}", "\\frac{d!}{2k \\cdot (d-k)!}"),
    ],
    "complex": [("6-5i", "-5i+6"), ("(1+i)^2", "2i"), ("1-5\\mathrm{i}", "1-5i"), ("\\frac{1}{i}", "-i"), ("e^{i\\pi}", "-1")],
    "tuples": [
        ("(3,\\frac{\\pi}{2})", "\\left( 3, \\frac{\\pi}{2} \\right)"), ("(1,4.5)", "(1,\\frac{9}{2})"), ("(x,y)=(5,8)", "(5,8)"),
        ("（2，3）", "(2,3)"), ("(p,q,r)=(3,2,7)", "(3,2,7)"), ("(1,2),(2,1)", "(2,1) 或 (1,2)"), ("x=1, y=2", "(1,2)"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "(1,2)"), ("(45^{\\circ}, 60^{\\circ})", "(45, 60)"), ("(0;0;6)", "(0,0,6)"),
    ],
    "sets and lists": [
        ("1,-2", "-2, 1"), ("\\{1,2,3\\}", "3,2,1"), ("1或2", "2 或 1"), ("3、5、7", "7,5,3"), ("3, 5, 7", "3, 5, and 7"), ("5或9", "$5$ or $9$"),
        ("$5$;$10$", "5;10"), ("5；10", "5;10"), ("\\{-2\\}", "-2"), ("x=1或x=2", "x_1=1, x_2=2"), ("①③④", "\\textcircled{1}\\textcircled{3}\\textcircled{4}"),
        ("n=1, 2, 3", "1,2,3"), ("1,2,2", "2,1"), ("\\emptyset", "空集"), ("x=1 \\quad \\text{and} \\quad x=2", "1,2"),
    ],
    "plus or minus": [
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"), ("\\pm 2021", "\\{-2021, 2021\\}"), ("±3", "3或-3"), ("y=\\pm\\sqrt{3}x", "y=-\\sqrt3 x, y=\\sqrt3 x"),
        ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"), ("x=\\pm 3", "±3"), ("-3 \\pm 2i", "-3+2i, -3-2i"),
    ],
    "intervals and inequalities": [
        ("[-2,7]", "x \\in [-2,7]"), ("-2 \\le x \\le 7", "[-2,7]"), ("x<3", "(-\\infty,3)"), ("x \\geq 5", "5 \\le x"), ("x<1", "-x>-1"),
        ("[2,+\\infty)", "[2,\\infty)"), ("(-\\infty, 2) \\cup (3, \\infty)", "x<2 或 x>3"), ("(-\\infty, 2) \\cup (3, \\infty)", "(3,\\infty)\\cup(-\\infty,2)"),
        ("\\{x|-2\\leq x < 1\\}", "[-2,1)"), ("x \\ne 3", "(-\\infty,3)\\cup(3,\\infty)"), ("1\\leq|z|\\leq \\frac{3}{2}", "[-\\frac{3}{2}, -1]\\cup[1,\\frac32]"),
        ("3<m<4", "(3,4)"), ("|x|<2", "(-2,2)"), ("y_{3}>y_{2}>y_{1}", "y_1<y_2<y_3"), ("m≥2", "m\\geqslant 2"), ("[1,2)\\cup[2,3]", "[1,3]"),
        ("\\mathbb{R}", "(-\\infty,\\infty)"),
    ],
    "matrices": [
        ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"),
        ("\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "\\begin{pmatrix} -\\frac13 \\\\ \\frac23 \\end{pmatrix}"),
        ("\\begin{pmatrix}6 & 8\\end{pmatrix}", "2\\begin{pmatrix}3 & 4\\end{pmatrix}"),
    ],
    "polynomials and functions": [
        ("x^2+2x+1", "(x+1)^2"), ("(a+5)(b+2)", "ab+2a+5b+10"), ("f(x)=2x", "2x"), ("y=x^2", "f(x)=x^2"), ("f(n)=n^2", "f(x)=x^2"),
        ("\\tan^2(y)+1", "\\sec^2(y)"), ("2 \\sin b \\cos a", "2\\cos a\\sin b"), ("\\frac{x+2}{7}", "\\frac{x}{7}+\\frac{2}{7}"), ("6r^2-4r-24", "6r²-4r-24"),
        ("4t", "t*4"), ("2x^2+y^2", "y**2+2*x**2"), ("\\frac{1}{3\\sqrt[3]{x}^2}", "\\frac{1}{3x^{2/3}}"), ("\\sqrt{2x}", "\\sqrt2\\sqrt x"), ("\\frac{a}{a+1}", "1-\\frac{1}{a+1}"),
        ("\\left\\lfloor\\log _{2} n\\right\\rfloor+1", "1+\\lfloor \\log_2 n \\rfloor"), ("\\cot x", "\\frac{\\cos x}{\\sin x}"),
    ],
    "equations": [
        ("2x+4y-3=0", "y=-\\frac{1}{2}x+\\frac{3}{4}"), ("x^2/4 + y^2/3 = 1", "3x^2+4y^2=12"), ("y=\\frac1x", "xy=1"), ("34x+45y-20z+100=0", "-34x-45y+20z-100=0"),
        ("x=5", "5"), ("k=1", "1"), ("\\frac{240}{x-2}-\\frac{240}{x}=10", "240/(x-2)-240/x=10"), ("y=2x+3", "y-2x=3"), ("|AB|=1", "1"), ("a=\\frac12", "0.5"),
    ],
    "repeating decimals": [("0.\\overline{3}", "\\frac13"), ("0.\\dot{3}", "1/3"), ("0.(142857)", "\\frac17"), ("0.1\\overline{6}", "1/6"), ("0.\\dot{1}2\\dot{3}", "123/999"), ("0.333...", "1/3")],
    "bases": [("204_5", "204_{5}"), ("4210_{5}", "(4210)_5"), ("1A3_{16}", "1a3_{16}"), ("40_9", "40_{\\text{9}}")],
    "ratios and times": [
        ("1:9", "2:18"), ("7:32", "S_{1}:S=7:32"), ("1:4", "\\frac14"), ("1：9", "1:9"), ("12:00", "12:00"), ("1:58 am", "1:58 a.m."), ("3:00 pm", "15:00"), ("4:30", "4:30 \\text{ p.m.}"), ("2:4:6", "1:2:3"),
    ],
    "choices": [
        ("A", "(A)"), ("C", "\\text{(C)}"), ("B", "B."), ("D", "D. 1:9"), ("A", "(A) 5"), ("ABD", "A, B, D"), ("AC", "A和C"), ("BD", "DB"), ("E", "\\mathrm{E}"), ("C", "C、小明"),
    ],
    "words": [
        ("\\text{Evelyn}", "Evelyn"), ("even", "\\text{Even}"), ("\\text{odd}", "odd"), ("第一象限", "第一象限"), ("yes", "Yes."), ("是", "yes"), ("no solution", "无解"), ("\\text{east}", "East"),
    ],
    "numbers in words": [
        ("二分之一", "\\frac12"), ("三分之二", "2/3"), ("三又二分之一", "3.5"), ("twenty-five", "25"), ("three quarters", "3/4"), ("two and a half", "2.5"), ("3万", "30000"), ("1.5亿", "150000000"),
        ("一百二十三", "123"), ("one hundred and five", "105"), ("2 million", "2000000"), ("负三", "-3"), ("三十五元", "35元"),
    ],
}  # fmt: skip

DIFFERENT = {
    "close": [
        ("20001", "20000"), ("500", "5"), ("0.05", "5"), ("5", "5.001"), ("5", "5.000001"), ("1/3", "0.33"), ("\\pi", "3.14"), ("\\pi", "22/7"), ("\\frac{1}{2004!}", "\\frac{1}{2006!}"),
        ("1-\\frac1e", "1+\\frac1e"), ("10^{100}", "10^{100}+1"), ("\\sqrt{2}", "1.41"), ("e^{\\pi\\sqrt{163}}", "262537412640768744"), ("0.1\\%", "10"), ("2^{1000}", "2^{1001}"),
        ("123456789123456789", "123456789123456788"), ("\\frac{1}{10^{400}}", "\\frac{1}{10^{401}}"), ("0.9999999", "1"), ("1.41421356237", "1.41421356238"), ("9998", "10{,}000"),
    ],
    "numbers": [
        ("-5", "5"), ("1/2", "2/1"), ("12", "1,2"), ("32349", "32, 349"), ("1\\frac12", "\\frac12"), ("3", "3x"), ("10", "1e2"), ("", "5"), ("4", "4\\sqrt{2}"), ("1\\sqrt{19}", "1"),
        ("2", "\\frac{1+\\sqrt{5}}{2}"), ("3\\frac{1}{2}", "\\frac32"),
    ],
    "percent, money, units": [
        ("10%", "100"), ("5%", "0.5"), ("5 dollars", "5 cents"), ("5元", "5 dollars"), ("5 km", "5 m"), ("5 hours", "5 days"), ("3 apples", "3 pears"), ("90 minutes", "9 hours"), ("5 kg", "5 m"),
        ("60千米/小时", "60米/秒"), ("90^\\circ", "90\\pi"), ("15 cm^2", "15 cm"), ("5%", "5 cm"),
    ],
    "tuples, sets, lists": [
        ("(1,2)", "(2,1)"), ("(1,2)", "(1,2,3)"), ("1,2", "1,2,3"), ("\\{1,2\\}", "\\{1,3\\}"), ("5;10", "10;5"), ("\\sqrt{67},-\\sqrt{85}", "\\sqrt{67}"), ("\\pm 3", "3"), ("x=1, y=2", "x=2, y=1"),
        ("(3,1)", "1,3"), ("1或2", "1"), ("\\{1,2\\}", "12"), ("①③④", "①③"), ("(1,2),(3,4)", "(1,3),(2,4)"), ("x=1,y=2", "2,1"), ("1,2", "(2,1)"), ("\\emptyset", "0"), ("\\{0\\}", "\\emptyset"),
    ],
    "intervals and inequalities": [
        ("(1,2]", "(1,2)"), ("[1,2]", "(1,2)"), ("[0,1)", "(0,1]"), ("x<1", "x\\le 1"), ("x>5", "x<5"), ("x<3", "y<3"), ("(-\\infty,2)\\cup(3,\\infty)", "(-\\infty,2)"), ("[0,9)", "[0,1)"),
        ("(0,\\infty)", "(-\\infty,0)"), ("x\\ge 2", "2"), ("[1,2]", "1,2"), ("x<2或x>3", "2<x<3"), ("x \\ne 3", "x=3"), ("(-\\infty,\\infty)", "(0,\\infty)"), ("|x|<2", "(0,2)"),
        ("(1,2)\\cup(2,3)", "(1,3)"), ("b>a>c", "a>b>c"), ("1<x<2", "1<x\\le2"),
    ],
    "expressions": [
        ("x^2+2x+1", "x^3+2x+1"), ("(a+5)(b+2)", "(+5)(b+2)"), ("x+2n+1", "x+1"), ("f(x)", "f(y)"), ("2x", "2y"), ("\\sqrt{x^2}", "x"), ("\\ln x^2", "\\log_2 x"), ("\\sin x", "\\cos x"),
        ("n!", "(n+1)!"), ("\\binom{n}{2}", "\\binom{n}{3}"), ("2^n", "n^2"), ("\\lfloor x \\rfloor", "x"), ("|x|", "x"), ("\\sum_{k=1}^{n} k", "\\sum_{k=1}^{n-1} k"), ("a^{3a}", "a^{2a}"),
        ("\\mathrm{E}", "\\mathrm{E}*2"), ("i", "-i"), ("1+2i", "1-2i"), ("\\log_2 3", "\\log_3 2"), ("x_1", "x_2"), ("\\vec{a}", "\\vec{b}"),
    ],
    "equations": [
        ("y=2x+3", "y=2x+4"), ("2x+z=1", "1"), ("a^2+b=0", "0"), ("7=11a+c", "11a+c"), ("x^2+y^2=1", "x^2+y^2=4"), ("y=x", "y=-x"), ("x=5", "y=5"), ("x=5", "x=6"), ("y=2x", "x=2y"), ("x^2=4", "4"),
        ("xy=1", "xy=2"), ("xy=x", "y=1"),
    ],
    "matrices": [
        ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\\\ 3 & 5 \\end{pmatrix}"), ("\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\begin{pmatrix} 2 & 1 \\end{pmatrix}"),
        ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}"), ("\\begin{vmatrix} 1 & 2 \\\\ 3 & 4 \\end{vmatrix}", "2"),
    ],
    "bases, ratios, times": [
        ("204_5", "204"), ("204_5", "204_6"), ("204_5", "54"), ("1112112_3", "1112122_3"), ("1:9", "9:1"), ("1:2:3", "1:2"), ("12:00", "1:00"), ("1:15", "2:30"), ("3:00 am", "3:00 pm"), ("0.\\overline{3}", "0.3"),
        ("0.\\overline{12}", "0.12"), ("4:30", "4.3"),
    ],
    "choices and words": [
        ("A", "B"), ("ABD", "AB"), ("A", "D. A"), ("odd", "oddd"), ("d", "E"), ("E", "e"), ("even", "odd"), ("Evelyn", "Briana"), ("yes", "no"), ("第一象限", "第二象限"), ("二分之一", "2"), ("三分之二", "3/2"),
        ("A", "the answer"), ("3万", "3"), ("twenty-five", "26"), ("east", "west"), ("是", "否"), ("无解", "0"), ("C", "5"), ("B", "8"),
    ],
}  # fmt: skip


def _cases(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return [pair for pairs in table.values() for pair in pairs]


@pytest.mark.parametrize(("gold", "prediction"), _cases(EQUAL))
def test_equal(gold: str, prediction: str) -> None:
    for one, other in ((gold, prediction), (prediction, gold)):
        verdict = verify(one, other)
        assert verdict.correct, verdict
        assert verdict.reason
        assert verdict.rule


@pytest.mark.parametrize(("gold", "prediction"), _cases(DIFFERENT))
def test_different(gold: str, prediction: str) -> None:
    for one, other in ((gold, prediction), (prediction, gold)):
        verdict = verify(one, other)
        assert not verdict.correct, verdict
        assert verdict.reason
        assert verdict.rule
