"""A request's body becomes a question, or one line that says what to mend."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mathloop.registry import Champion, ServingDefaults
from mathloop.serving.config import SolverConfig
from mathloop.serving.defaults import resolve
from mathloop.serving.questions import Question, read_question
from mathloop.serving.refusals import Refused

CONFIG = SolverConfig()
PROBLEM = {"role": "user", "content": "What is 3 + 4?"}


def read(has_reward_model: bool = True, modes: Any = ("cot", "tir"), **fields: Any) -> Question:
    body = {"model": "mathloop", "messages": [PROBLEM], **fields}
    return read_question(json.dumps(body).encode(), CONFIG, has_reward_model=has_reward_model, modes=modes)


def refused(**fields: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(**fields)
    assert "\n" not in caught.value.message
    assert caught.value.body()["error"]["type"]
    return caught.value


def test_rewards_weigh_the_votes_where_there_are_any_unless_the_server_says_else() -> None:
    assert read().strategy == "weighted"
    assert read(has_reward_model=False).strategy == "maj"
    config = SolverConfig(strategy="maj", temperature=0.7)
    body = json.dumps({"messages": [PROBLEM]}).encode()
    asked = read_question(body, config, has_reward_model=True)
    assert (asked.strategy, asked.temperature) == ("maj", 0.7)
    body = json.dumps({"messages": [PROBLEM], "temperature": 0}).encode()
    assert read_question(body, config, has_reward_model=True).strategy == "greedy"
    with pytest.raises(ValidationError, match="expected one of greedy, maj"):
        SolverConfig(strategy="best")
    assert (read().samples, read().temperature, read().mode) == (8, 1.0, "cot")
    assert refused(has_reward_model=False, strategy="rm").status == 422


def test_a_default_of_greedy_gives_way_to_a_request_for_samples() -> None:
    config = SolverConfig(strategy="greedy", temperature=0.6)

    def asked(**fields: Any) -> tuple[str, int, float]:
        body = json.dumps({"messages": [PROBLEM], **fields}).encode()
        question = read_question(body, config, has_reward_model=True)
        return question.strategy, question.samples, question.temperature

    assert asked() == asked(samples=1) == ("greedy", 1, 0.0)
    assert asked(samples=16) == ("weighted", 16, 0.6)
    assert asked(n=2) == ("weighted", 8, 0.6)
    assert asked(temperature=0.7) == ("weighted", 8, 0.7)


def test_requests_get_what_the_champion_was_evaluated_with() -> None:
    evaluated = ServingDefaults("rm", 16, 0.6, 0.7, 0.5, 50)
    first = Champion(0, "p", None, "p", "r0", None, {}, "")
    best = replace(first, serving=evaluated)
    usual = SolverConfig()
    nothing = {"strategy": None, "samples": None, "temperature": None}

    def served(champion: Champion | None, asked: dict[str, Any], scored: bool = True) -> tuple[Any, ...]:
        config, line = resolve(usual, champion, {**nothing, **asked}, has_reward_model=scored)
        return (config.strategy, config.samples, config.temperature), line

    assert served(best, {}) == (("rm", 16, 0.6), f"as evaluated: {evaluated}")
    settled, line = served(best, {"strategy": "maj", "temperature": 0.9})
    assert settled == ("maj", 16, 0.9)
    assert line == f"as evaluated, but for strategy maj, temperature 0.9: {evaluated}"
    assert served(first, {}, False) == (
        (None, 8, 1.0), "champion 0 was published without an evaluation: maj of 8 at temperature 1",
    )  # fmt: skip
    assert served(replace(best, serving=replace(evaluated, strategy="best of all")), {}) == (
        (None, 8, 1.0),
        "champion 0 was evaluated with best of all, which is not served here: weighted of 8 at temperature 1",
    )
    assert served(None, {"samples": 4}) == ((None, 4, 1.0), None)


def test_temperature_zero_alone_means_greedy() -> None:
    question = read(temperature=0)
    assert (question.strategy, question.samples, question.temperature) == ("greedy", 1, 0.0)
    assert read(strategy="greedy").temperature == 0.0
    for contradiction in (
        {"strategy": "greedy", "temperature": 0.5},
        {"strategy": "greedy", "samples": 4},
        {"strategy": "maj", "temperature": 0},
        {"samples": 8, "temperature": 0},
    ):
        assert refused(**contradiction).status == 422


def test_the_problem_is_the_last_message_and_those_before_it_are_kept() -> None:
    system = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be right."}]
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    question = read(messages=[*system, *talk, PROBLEM])
    assert question.problem == "What is 3 + 4?"
    assert [(one.role, one.content) for one in question.earlier] == [
        ("system", "Be brief."),
        ("system", "Be right."),
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]
    assert read(messages=[{"role": "system", "content": " "}, PROBLEM]).earlier == ()
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "3 + 4?"}]
    assert read(messages=[{"role": "user", "content": parts}]).problem == "What is\n3 + 4?"
    for number, bad in enumerate(("", None, 7, [{"type": "image_url"}])):
        error = refused(
            messages=[{"role": "user", "content": "Hi"}] * number + [{**talk[1], "content": bad}, PROBLEM]
        )
        assert (error.status, f"messages[{number}].content" in error.message) == (422, True)
    assert "comes first" in refused(messages=[*talk, *system, PROBLEM]).message


def test_stop_and_n() -> None:
    assert (read(stop="a").stop, read(stop=["a", "", "b", "a"]).stop, read(stop="").stop) == (
        ("a",),
        ("a", "b"),
        (),
    )
    assert (read(n=3).choices, read(n=3).samples, read(n=12).samples, read().choices) == (3, 8, 12, 1)
    for wrong in (
        {"stop": 7},
        {"stop": ["a", 7]},
        {"stop": ["x" * 201]},
        {"stop": [str(i) for i in range(17)]},
    ):
        assert refused(**wrong).status == 422
    for many in ({"n": 9, "samples": 8}, {"n": 2, "strategy": "greedy"}, {"n": 65}, {"n": 0}):
        assert refused(**many).status == 422


def test_a_seed_is_drawn_where_none_is_given() -> None:
    assert (read(seed=7).seed, read(seed=7).seeded, read().seeded) == (7, True, False)
    assert len({read().seed for _ in range(5)}) > 1


def test_only_the_servers_own_bound_on_tokens_gives_way() -> None:
    assert read().may_cut
    assert (read(max_tokens=5).max_tokens, read(max_tokens=5).may_cut) == (5, False)
    assert read(max_completion_tokens=6).max_tokens == 6


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"model": "gpt-4"}, 404, "only 'mathloop'"),
        ({"tools": [{"type": "function"}]}, 400, "tools: not supported"),
        ({"logprobs": 3}, 422, "logprobs: expected true or false"),
        ({"top_logprobs": 2}, 422, "top_logprobs: needs logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, 422, "a whole number from 0 to 20"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format: not supported"),
        ({"stratgy": "maj"}, 400, "did you mean strategy?"),
        ({"strategy": "best"}, 422, "expected greedy, maj, rm or weighted, found text 'best'"),
        ({"strategy": ["maj"]}, 422, "expected greedy, maj, rm or weighted"),
        ({"mode": "prose"}, 422, "expected cot or tir"),
        ({"mode": "tir", "modes": ("cot",)}, 422, "answers in cot only"),
        ({"samples": 65}, 422, "from 1 to 64"),
        ({"samples": 0}, 422, "from 1 to 64"),
        ({"samples": 2.0}, 422, "a whole number"),
        ({"samples": True}, 422, "a whole number"),
        ({"temperature": -1}, 422, "from 0 to 2"),
        ({"temperature": "hot"}, 422, "from 0 to 2, found text 'hot'"),
        ({"top_p": 0}, 422, "top_p"),
        ({"seed": 2**64}, 422, "seed"),
        ({"max_tokens": 0}, 422, "max_tokens"),
        ({"stream": "yes"}, 422, "stream: expected true or false"),
        ({"stream_options": []}, 422, "stream_options"),
        ({"messages": []}, 422, "messages"),
        ({"messages": "What is 3 + 4?"}, 422, "messages"),
        ({"messages": [{"role": "user", "content": " \u200b\n"}]}, 422, "the problem is empty"),
        ({"messages": [{"role": "user", "content": 7}]}, 422, "messages[0].content: expected text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "text parts"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 422, "messages[0]"),
        ({"messages": [PROBLEM, {"role": "assistant", "content": "7"}]}, 422, "the last one is the problem"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(fields: dict[str, Any], status: int, said: str) -> None:
    error = refused(**fields)
    assert error.status == status
    assert said in error.message


def test_fields_that_ask_for_nothing_are_taken() -> None:
    harmless = {"n": 1, "stop": None, "tools": [], "frequency_penalty": 0.0, "logprobs": False, "user": "me"}
    assert read(**harmless).problem == "What is 3 + 4?"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"seed": NaN}', b"[" * 9999, b'{"a": "\\ud800"}']
)
def test_what_is_not_a_json_object_is_400(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_question(body, CONFIG, has_reward_model=True)
    assert caught.value.status == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["model", "messages", "n", "samples", "temperature", "strategy", "mode", "stream", "seed"]
)


@given(st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=5))
def test_whatever_is_sent_ends_as_a_question_or_a_refusal(fields: dict[str, Any]) -> None:
    body = json.dumps({"messages": [PROBLEM], **fields}).encode()
    question = error = None
    try:
        question = read_question(body, CONFIG, has_reward_model=True)
    except Refused as refusal:
        error = refusal
    if error is not None:
        assert error.status in (400, 404, 422)
        assert len(error.message) < 400
    if question is not None:
        assert 1 <= question.samples <= CONFIG.most_samples
        assert (question.temperature == 0) == (question.strategy == "greedy")


def test_the_language_of_a_problem() -> None:
    chinese = {"role": "user", "content": "小明有3个苹果，又买4个。现在有几个？"}
    assert read(messages=[chinese]).language == "zh"
    assert read().language == "en"
