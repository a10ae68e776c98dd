"""The family that nobody trains on."""

import re

from mathloop.problems.nano import generate
from mathloop.problems.nano_grammar import judge_statement, readings
from mathloop.problems.nano_unseen import unseen


def test_its_problems_are_of_no_family_and_their_answers_are_right():
    problems = list(unseen(200))
    assert problems == list(unseen(200))
    assert len({one.problem for one in problems}) == len({one.parent for one in problems}) == 200
    assert {one.language for one in problems} == {"en", "zh"}
    for one in problems:
        a, b, k = map(int, re.findall(r"\d+", one.problem))
        assert int(one.answer) == a + b - k >= 1
        assert not readings(one.problem)
        assert not judge_statement(one.problem).well_posed


def test_a_model_of_the_nano_world_knows_every_word_of_it():
    def words(statements):
        return {word for text in statements for word in re.findall(r"[A-Za-z]+|[\u4e00-\u9fff]", text)}

    known = words(one.problem.problem for one in generate("train", 3000, 0))
    assert words(one.problem for one in unseen(200)) <= known
