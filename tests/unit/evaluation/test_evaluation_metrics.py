"""Scores against a slow reference, known answers, and properties."""

import math
import random
from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mathloop.errors import BadData
from mathloop.evaluation import Outcomes, Table, check_orderings, print_table, score_table
from mathloop.evaluation.metrics import Outcome, score_samples
from mathloop.records import Problem, Response


def problem(name, answer="1", family="", language="en"):
    return Problem(id=name, problem="?", answer=answer, family=family, language=language)


def response(name, sample, answer, correct, reward=None, mode="cot", model="sft"):
    return Response(name, sample, mode, "text", answer, correct, reward=reward, model=model)


def slow_scores(samples, k):
    """The definitions once more, as plainly as they can be said."""
    groups = {}
    for sample in samples:
        if sample.answer is not None:
            groups.setdefault(int(sample.answer), []).append(sample)
    votes, best, weight = {}, {}, {}
    for key, members in groups.items():
        finite = [one.reward for one in members if one.reward is not None and math.isfinite(one.reward)]
        votes[key] = len(members)
        best[key] = max([-math.inf, *finite])
        weight[key] = sum(1 / (1 + math.exp(-reward)) for reward in finite)

    def right(ranks):
        highest = [key for key in groups if ranks[key] == max(ranks.values())]
        return float(bool(highest) and groups[highest[0]][0].correct)

    return {
        "mean": sum(sample.correct for sample in samples) / k,
        "maj": right(votes),
        "rm": right(best),
        "weighted": right(weight),
        "pass": float(any(sample.correct for sample in samples)),
    }


def nearly_tied(samples):
    """Whether rounding alone orders the weights of two groups: σ(-1e-16) against σ(0)."""
    rewards = {}
    for sample in samples:
        if sample.answer is not None and sample.reward is not None and math.isfinite(sample.reward):
            rewards.setdefault(int(sample.answer), []).append(sample.reward)
    weights = [(sorted(one), sum(1 / (1 + math.exp(-reward)) for reward in one)) for one in rewards.values()]
    return any(
        one != other and abs(weight - another) < 1e-9
        for (one, weight), (other, another) in combinations(weights, 2)
    )


GOLD = "7"
rewards = st.one_of(st.none(), st.sampled_from([math.nan, math.inf, -1.5, 0.0, 0.25, 2.0]), st.floats(-5, 5))
outcomes = st.builds(
    lambda answer, reward: Outcome(answer, answer in (GOLD, "07"), reward),
    st.sampled_from([None, GOLD, "07", "1", "2", "02", "3"]),
    rewards,
)


@given(st.lists(outcomes, min_size=1, max_size=8))
def test_scores_equal_the_slow_reference(samples):
    assume(not nearly_tied(samples))
    assert dict(score_samples(samples, 8)) == slow_scores(samples, 8)


@given(st.lists(outcomes, min_size=1, max_size=8))
def test_no_choice_among_samples_beats_pass(samples):
    scores = score_samples(samples, len(samples))
    assert scores["pass"] == max(scores.values())
    assert (scores["mean"] > 0) == (scores["pass"] == 1)


@given(st.lists(outcomes, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_share_of_right_samples_does_not_depend_on_their_order(samples, shuffler):
    shuffled = samples[:]
    shuffler.shuffle(shuffled)
    before, after = score_samples(samples, 8), score_samples(shuffled, 8)
    assert (before["mean"], before["pass"]) == (after["mean"], after["pass"])


def test_the_vote_puts_spellings_together_and_does_not_see_the_verdicts():
    seven = [Outcome("7", True, None)] * 2
    wrong = [Outcome("1/2", False, None), Outcome("0.5", False, None), Outcome("\\frac12", False, None)]
    assert score_samples([*seven, *wrong], 5)["maj"] == 0
    assert score_samples([*seven, *wrong[:2]], 4)["maj"] == 1
    rounded = [Outcome("0.333333", True, None), Outcome("1/3", True, None)]
    assert score_samples([*rounded, *wrong[:2]], 4)["maj"] == 0, (
        "two right answers that differ are two answers"
    )


def test_ties_go_to_the_answer_seen_first_and_silence_does_not_vote():
    seven, one = Outcome("7", True, None), Outcome("1", False, None)
    silent = Outcome(None, False, None)
    assert score_samples([silent, silent, silent, seven, one], 5)["maj"] == 1
    assert score_samples([silent, one, seven], 3)["maj"] == 0
    assert score_samples([silent], 1)["maj"] == 0


def test_a_sample_without_an_answer_is_not_what_the_reward_model_chooses():
    silent, seven = Outcome(None, False, 9.0), Outcome("7", True, -9.0)
    assert score_samples([silent, seven], 2)["rm"] == 1
    assert score_samples([silent, seven], 2)["weighted"] == 1


def test_equal_rewards_go_to_the_sample_seen_first():
    low, first, second = Outcome("1", True, -2.0), Outcome("2", False, 3.0), Outcome("7", True, 3.0)
    assert score_samples([low, first, second], 3)["rm"] == 0
    assert score_samples([low, second, first], 3)["rm"] == 1


def four_problems():
    problems = [
        problem("a", family="sums"),
        problem("b", family="sums", language="zh"),
        problem("c", family="large_numbers"),
        problem("d", answer=None),
    ]
    rows = [
        response("a", -1, "1", True),
        response("a", 0, "1", True, 0.1),
        response("a", 1, "2", False, 0.9),
        response("b", -1, "5", False),
        response("b", 0, "5", False, 0.2),
        response("b", 1, "1", True, 0.7),
        response("c", -1, "1", True),
        response("c", 0, "4", False, 0.0),
        response("c", 1, None, False, -1.0),
        response("d", -1, "1", None),
    ]
    return problems, rows


def test_a_small_table_by_hand():
    table = score_table(*four_problems(), k=8)
    assert table.k == 2, "the table is named after the samples that there are"
    found = {
        metric: table.get("sft", "cot", metric).value for metric in ("greedy", "mean", "maj", "rm", "pass")
    }
    assert found == pytest.approx({"greedy": 2 / 3, "mean": 1 / 3, "maj": 1 / 3, "rm": 1 / 3, "pass": 2 / 3})
    assert table.get("sft", "cot", "greedy").n == 3, "nobody can grade a problem without a gold answer"
    assert table.get("sft", "cot", "greedy", "family:sums").value == 0.5
    assert table.get("sft", "cot", "rm@2", "language:zh").value == 1
    assert table.groups == ["all", "family:large_numbers", "family:sums", "language:en", "language:zh"]


def test_rm_is_absent_where_nobody_gave_rewards():
    problems, rows = four_problems()
    bare = [response(row.problem_id, row.sample, row.answer, row.correct, None) for row in rows]
    nan = [response(row.problem_id, row.sample, row.answer, row.correct, math.nan) for row in rows]
    assert score_table(problems, bare).get("sft", "cot", "rm") is None
    assert score_table(problems, nan).get("sft", "cot", "rm") is None
    assert score_table(problems, bare).get("sft", "cot", "maj") is not None


def test_a_missing_response_counts_as_wrong():
    problems, rows = four_problems()
    other = [response(name, -1, "1", True, model="base") for name in "ab"]
    table = score_table(problems, rows + other)
    assert table.get("base", "cot", "greedy").value == pytest.approx(2 / 3)
    assert table.get("base", "cot", "maj") is None, "no sample was drawn from it"
    holed = [row for row in rows if not (row.problem_id == "b" and row.sample == 1)]
    assert score_table(problems, holed).get("sft", "cot", "mean").value == pytest.approx(1 / 6)


def test_with_more_samples_than_k_every_choice_of_k_counts_the_same():
    problems, rows = four_problems()
    more = [*rows, response("c", 2, "1", True, 9.0)]
    table = score_table(problems, more, k=2)
    # a and b have 1 right of 3 (one missing), c too: 1 - C(2,2)/C(3,2) each.
    assert table.get("sft", "cot", "pass").value == pytest.approx(2 / 3)
    assert table.get("sft", "cot", "mean").value == pytest.approx(1 / 3)
    assert score_table(problems, more, k=None).k == 3


def test_a_response_to_an_unknown_problem_is_refused():
    with pytest.raises(BadData, match="'ghost'"):
        score_table([problem("a")], [response("ghost", -1, "1", True)])


def coins(count, seed):
    chance = random.Random(seed)
    problems = [problem(str(index)) for index in range(count)]
    rows = [
        response(str(index), sample, "1", chance.random() < 0.4, chance.gauss(0, 1), mode)
        for index in range(count)
        for mode in ("cot", "tir")
        for sample in range(-1, 4)
    ]
    return problems, rows


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_intervals_hold_their_mean_and_stay_in_range(count, seed):
    for score in score_table(*coins(count, seed), k=4, seed=seed).scores:
        assert 0 <= score.low <= score.value <= score.high <= 1


def test_an_interval_has_the_width_that_theory_gives():
    score = score_table(*coins(1000, 3)).get("sft", "cot", "greedy")
    width = 2 * 1.96 * math.sqrt(score.value * (1 - score.value) / 1000)
    assert score.high - score.low == pytest.approx(width, rel=0.1)


def test_a_seed_gives_the_same_table_whatever_the_order_of_responses():
    problems, rows = coins(60, 5)
    shuffled = rows[:]
    random.Random(0).shuffle(shuffled)
    assert score_table(problems, rows, seed=4).to_rows() == score_table(problems, shuffled, seed=4).to_rows()
    assert score_table(problems, rows, seed=4) != score_table(problems, rows, seed=5)


def test_rows_come_back_as_the_same_table():
    table = score_table(*coins(30, 1), k=4)
    assert Table.from_rows(table.to_rows()) == table


def test_no_responses_make_an_empty_table():
    table = score_table([problem("a")], [])
    assert table.scores == ()
    assert check_orderings(Outcomes([problem("a")])) == []


def test_the_printed_table_lists_models_in_order_with_intervals():
    problems, rows = coins(50, 2)
    bare = [response(row.problem_id, -1, "1", False, model="base") for row in rows if row.sample < 0]
    best = [response(row.problem_id, -1, "1", True, model="challenger") for row in rows if row.sample < 0]
    lines = print_table(score_table(problems, best + rows + bare, k=4)).splitlines()
    assert lines[0].split() == ["greedy", "maj@4", "rm@4", "weighted@4", "pass@4"]
    assert [line.split()[0] for line in lines[2:-1]] == ["base", "SFT", "SFT", "challenger"]
    assert lines[2].split() == ["base", "CoT", "0.0", "[0.0,", "0.0]", *"––––"]
    assert "50 problems" in lines[-1]


def answered(model, mode, right, sample=-1, reward=None):
    """Responses of a model that solves these of ten problems."""
    return [
        response(str(n), sample, "1" if n in right else "2", n in right, reward, mode, model)
        for n in range(10)
    ]


TEN = [problem(str(n), family="large_numbers" if n < 6 else "") for n in range(10)]


def found(rows):
    return {
        one.claim: (one.lesser, one.lesser_value, one.greater, one.greater_value, one.mark)
        for one in check_orderings(Outcomes(TEN, rows))
    }


def test_orderings_have_three_marks():
    rows = answered("base", "cot", range(2)) + answered("sft", "cot", range(9))
    rows += answered("challenger", "cot", range(9)) + answered("challenger", "tir", range(6))
    # Sampled: two of three are right for the first five, and the reward model likes a wrong one.
    for sample, right, reward in ((0, range(5), 0.1), (1, range(5), 0.2), (2, (), 5.0)):
        rows += answered("challenger", "cot", right, sample, reward)
    marks = found(rows)
    assert marks == {
        "SFT improves on the base model": ("base greedy", 0.2, "SFT greedy", 0.9, "holds"),
        "Reinforcement learning improves on SFT": (
            "SFT greedy",
            0.9,
            "challenger greedy",
            0.9,
            "within noise",
        ),
        "Majority vote beats greedy decoding (challenger)": ("greedy", 0.9, "maj@3", 0.5, "fails"),
        "The reward model beats majority vote (challenger)": ("maj@3", 0.5, "rm@3", 0.0, "fails"),
        "Tools help with large numbers (challenger)": ("CoT greedy", 1.0, "TIR greedy", 1.0, "within noise"),
    }


def test_one_problem_more_is_within_noise():
    rows = answered("base", "cot", range(3)) + answered("sft", "cot", range(4))
    assert found(rows)["SFT improves on the base model"][-1] == "within noise"


def test_an_ordering_averages_over_the_modes_that_both_sides_have():
    rows = answered("base", "cot", range(2)) + answered("base", "tir", range(4))
    rows += answered("sft", "cot", range(1)) + answered("sft", "tir", range(6))
    assert found(rows)["SFT improves on the base model"][1::2][:2] == pytest.approx((0.3, 0.35))
    rows = [row for row in rows if (row.model, row.mode) != ("sft", "tir")]
    assert found(rows)["SFT improves on the base model"][1::2][:2] == pytest.approx((0.2, 0.1))


def test_of_one_sample_nothing_is_chosen():
    rows = answered("challenger", "cot", range(9)) + answered("challenger", "cot", range(5), 0, 0.1)
    assert found(rows) == {}
    rows += answered("challenger", "cot", range(5), 1, 0.2)
    assert len(found(rows)) == 2
