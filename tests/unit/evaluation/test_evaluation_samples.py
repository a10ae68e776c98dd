"""pass@k and votes at k below n, against slow references; averages over benchmarks as in the paper."""

import json
import math
import tracemalloc
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.errors import BadData
from mathloop.evaluation import print_scores, score_table, tabulate
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.sample_scores import DRAWS, Outcome, draws_of, pass_at, score_counts, score_samples
from mathloop.records import Problem, Response
from tests.paths import SHARED_DATA

samples = st.lists(
    st.none()
    | st.builds(
        lambda answer, reward: Outcome(answer, answer == "7", reward),
        st.sampled_from([None, "7", "1", "2"]),
        st.sampled_from([None, -1.0, 0.5, 2.0]),
    ),
    min_size=1,
    max_size=7,
)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_pass_at_k_equals_counting_all_choices(n: int) -> None:
    for right in range(n + 1):
        for k in range(1, n + 1):
            choices = list(combinations([index < right for index in range(n)], k))
            assert pass_at(n, right, k) == pytest.approx(sum(map(any, choices)) / len(choices), abs=1e-12)


@given(samples, st.integers(1, 7))
def test_votes_equal_the_mean_over_all_choices_where_there_are_few(drawn, k) -> None:
    k = min(k, len(drawn))
    choices = list(combinations(drawn, k))
    slow = [score_samples(list(choice), k) for choice in choices]
    fast = score_samples(drawn, k)
    for kind in ("mean", "maj", "rm", "weighted", "pass"):
        assert fast[kind] == pytest.approx(sum(one[kind] for one in slow) / len(choices), abs=1e-12), kind


def test_many_choices_are_drawn_with_a_seed_and_each_once_per_draw() -> None:
    draws = draws_of(64, 8)
    assert len(draws) == DRAWS
    assert all(len(set(draw)) == 8 and list(draw) == sorted(draw) for draw in draws)
    assert {index for draw in draws for index in draw} == set(range(64))
    draws_of.cache_clear()
    assert draws_of(64, 8) == draws


def test_drawn_votes_are_near_the_exact_mean() -> None:
    """40 of 64 samples are right, so that maj@3 is the chance of two or three right ones."""
    drawn = [Outcome("7" if index % 8 < 5 else "1", index % 8 < 5, None) for index in range(64)]
    exact = sum(math.comb(40, i) * math.comb(24, 3 - i) for i in (2, 3)) / math.comb(64, 3)
    scores = score_counts(drawn, [1, 3, 64])
    assert scores[3]["maj"] == pytest.approx(exact, abs=0.1)
    assert 0 < scores[3]["maj"] < 1
    assert scores[64]["maj"] == 1
    assert scores[1]["pass"] == scores[1]["mean"] == 40 / 64


def rows(name: str, right: list[bool], mode: str = "cot", model: str = "m") -> list[Response]:
    return [
        Response(name, sample, mode, "", "1" if one else "2", one, model=model)  # type: ignore[arg-type]
        for sample, one in enumerate(right)
    ]


def test_several_k_are_in_one_table() -> None:
    table = score_table(
        [Problem("a", "?", "1"), Problem("b", "?", "1")],
        rows("a", [True, True, True, False]) + rows("b", [False] * 4),
        k=(1, 2, 4),
    )
    assert table.ks == [1, 2, 4]
    assert table.metrics == ["maj@1", "maj@2", "maj@4", "pass@1", "pass@2", "pass@4"]
    values = {metric: table.get("m", "cot", metric).value for metric in table.metrics}  # type: ignore[union-attr]
    # Of two samples with two answers the first one's wins: the wrong one is the last.
    assert values == {
        "maj@1": 0.375,
        "maj@2": 0.5,
        "maj@4": 0.5,
        "pass@1": 0.375,
        "pass@2": 0.5,
        "pass@4": 0.5,
    }
    assert table.get("m", "cot", "maj") == table.get("m", "cot", "maj@4")
    heads = [line.split() for line in print_scores(table).splitlines() if "problems" in line]
    assert heads[:2] == [["problems", "pass@1"], ["problems", "maj@2", "pass@2"]]


def test_a_table_has_rows_by_benchmark_language_and_level_and_an_average_of_benchmarks() -> None:
    """The average weighs each benchmark the same, however many problems it has."""
    problems, drawn = [], []
    for source, count, right in (("large", 90, 45), ("small", 10, 10)):
        for number in range(count):
            name = f"{source}/{number}"
            problems.append(Problem(name, "?", "1", source=source, difficulty=1 + number % 2))
            drawn += rows(name, [number < right])
    table = score_table(problems, drawn, k=1)
    shown = {group: (s.value, s.n) for group in table.groups if (s := table.get("m", "cot", "mean", group))}
    assert shown["all"] == (0.55, 100)
    assert shown["benchmark:large"] == (0.5, 90)
    assert shown["benchmark:small"] == (1, 10)
    assert shown["average"] == (0.75, 100)
    assert {"level:1", "level:2", "language:en"} <= set(shown)
    average = table.get("m", "cot", "mean", "average")
    # The small one has no spread; half of that of 90 coins remains.
    assert average.high - average.low == pytest.approx(1.96 * 0.5 / math.sqrt(90), rel=0.15)  # type: ignore[union-attr]
    lines = print_scores(table).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["large", "small", "average"]
    one = score_table(problems[:90], drawn[:90], k=1)
    assert not [group for group in one.groups if group.startswith(("benchmark", "average"))]


def test_benchmarks_in_two_languages_have_an_average_each() -> None:
    problems = [Problem(s, "?", "1", source=s, language="zh" if s > "b" else "en") for s in "abcd"]
    table = score_table(problems, [r for p in problems for r in rows(p.id, [p.id in "ac"])], k=1)
    averages = {g: table.get("m", "cot", "mean", g).value for g in table.groups if g.startswith("average")}
    assert averages == {"average:en": 0.5, "average:zh": 0.5}


def test_the_papers_averages_come_out_of_the_papers_scores() -> None:
    path = SHARED_DATA / "paper_tables.json"
    if not path.is_file():
        pytest.skip("no paper_tables.json in shared/data")
    printed = json.loads(path.read_text())["rows"][0]
    outcomes = Outcomes()
    for number, score in enumerate(printed["scores"]):
        for index in range(1000):
            name = f"{number}/{index}"
            outcomes.add_problem(Problem(name, "?", "1", source=str(number)))
            outcomes.add(Response(name, -1, "cot", "", "1", index < 10 * score, model="m"))
    average = tabulate(outcomes).get("m", "cot", "greedy", "average")
    assert 100 * average.value == pytest.approx(printed["avg_recomputed"], abs=0.005)  # type: ignore[union-attr]


def test_a_sample_number_beyond_reason_is_refused() -> None:
    outcomes = Outcomes([Problem("a", "?", "1")])
    for sample in (2**40, -(2**40)):
        with pytest.raises(BadData, match="'sample'"):
            outcomes.add(Response("a", sample, "cot", "", "1", True))


def test_later_responses_are_counted_after_scores_were_asked() -> None:
    outcomes = Outcomes([Problem("a", "?", "1")], rows("a", [False]))
    assert outcomes.scores("m", "cot", 1)["pass"].tolist() == [0]
    outcomes.add(Response("a", 0, "cot", "", "1", True, model="m"))
    assert outcomes.scores("m", "cot", 1)["pass"].tolist() == [1]


def test_a_response_takes_few_bytes_until_it_is_scored() -> None:
    """What of evaluation and scoring grows with the responses; as objects they took 120 each."""
    problems = [Problem(str(number), "?", "1") for number in range(2_000)]
    tracemalloc.start()
    try:
        outcomes = Outcomes(problems, (row for one in problems for row in rows(one.id, [True, False] * 8)))
        held = tracemalloc.get_traced_memory()[0] / outcomes.responses
    finally:
        tracemalloc.stop()
    assert held < 60
