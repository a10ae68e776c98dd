"""Final answers are found where a response says them."""

from __future__ import annotations

import pytest

from mathloop.answers import extract_answer, verify_response

FOUND = [
    (r"So $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
    (r"First \boxed{3}, but wait: checking the sum again gives something else, namely \boxed{4}.", "4"),
    (r"\boxed{\text{a \{nested\} set } \{1, \{2\}\}}", r"\text{a \{nested\} set } \{1, \{2\}\}"),
    (r"\boxed{1} and \boxed{2}", "1, 2"),
    (r"\boxed{2}或\boxed{3}", "2, 3"),
    (r"$\boxed{143}$ **Final Answer** \boxed{143}", "143"),
    (r"\boxed{1} is wrong. In the end \boxed{2}", "2"),
    (r"\fbox{7}", "7"),
    (r"\boxed 5", "5"),
    (r"\boxed{12} and then \boxed{13", "12"),
    (r"\boxed{}", None),
    ("Reasoning.\n#### 72", "72"),
    ("Reasoning.\n#### 1,234\n", "1,234"),
    ("3 + 4 = 7\nA: 7", "7"),
    ("The answer is 42.", "42"),
    ("The final answer is $\\frac{3}{4}$. I hope it is correct.", "$\\frac{3}{4}$"),
    ("the answer is 3.5 because 7/2 = 3.5", "3.5"),
    ("**Answer:** 12 apples are left", "12"),
    ("答案是12。", "12"),
    ("所以答案为：$x=5$。", "$x=5$"),
    ("解得 x = 3，故选：B", "B"),
    ("综上，答案：①③", "①③"),
    ("We get 3, then 4. So it is **17**.", "17"),
    ("Therefore $x \\geq 5$ is the solution.", "$x \\geq 5$"),
    ("<think>maybe 3</think> It costs 18 dollars", "18 dollars"),
    ("He has 5 apples and gives away 2, leaving 3.<|im_end|> junk 9", "3"),
    ("no answer at all", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "answer"), FOUND)
def test_extract(response: str, answer: str | None) -> None:
    assert extract_answer(response) == answer


def test_cue_of_the_language_wins() -> None:
    text = "答案是 5。\nThe answer is 7."
    assert extract_answer(text, "zh") == "5"
    assert extract_answer(text, "en") == "7"


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("5;10", r"所以 $\boxed{5}$；$\boxed{10}$"),
        ("72", "So the total is 72.\n#### 72"),
        (r"\frac{1}{3}", r"Thus the probability is $\boxed{\dfrac{1}{3}}$."),
        ("12", "小明一共有\\boxed{12\\text{个}}苹果"),
    ],
)
def test_response_is_right(gold: str, response: str) -> None:
    assert verify_response(gold, response).correct


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("5", "I do not know."),
        ("5", r"5 5 5 \boxed{6}"),
        ("10", "The answer is at least 10."),
        ("1", r"\boxed{1} no no no no no \boxed{2}"),
        ("12", r"It is \boxed{12"),
        ("5;10", r"\boxed{10}, \boxed{5;}"),
    ],
)
def test_response_is_wrong(gold: str, response: str) -> None:
    assert not verify_response(gold, response).correct
