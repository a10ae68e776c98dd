"""The line of champions moves only from the one that was expected, and only once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from mathloop.errors import BadData, BadModel, ChampionMoved, Corrupt
from mathloop.registry import Champion, Registry, ServingDefaults
from mathloop.storage import Store, open_store

MODELS = ("base/0/policy", "rounds/1/policy", "rounds/1/reward_model")


@pytest.fixture
def place(store_url: str, tmp_path: Path) -> Store:
    """A store that has the models."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("x")
    place = open_store(store_url)
    for name in MODELS:
        place.publish(tmp_path / "model", name)
    return place


def promote_base(place: Store) -> Champion:
    return Registry(place).promote(MODELS[0], None, round_id="0", expected=None, base=MODELS[0], metrics={})


def test_champions_follow_each_other(place: Store) -> None:
    registry = Registry(place)
    assert registry.current() is None
    assert registry.history() == []
    first = promote_base(place)
    second = registry.promote(
        MODELS[1], MODELS[2], round_id="第1轮", expected=first, base=MODELS[0], metrics={"greedy": 0.5}
    )
    assert (first.number, first.parent, first.reward_model) == (0, None, None)
    assert (second.number, second.parent, second.metrics) == (1, 0, {"greedy": 0.5})
    assert Registry(open_store(place.url)).history() == [first, second]
    assert registry.current() == second


def test_of_sixteen_rounds_ending_at_once_one_is_champion_and_the_others_say_so(place: Store) -> None:
    first = promote_base(place)
    barrier, won, lost = threading.Barrier(16), list[Champion](), list[ChampionMoved]()

    def end(round_id: str) -> None:
        registry = Registry(open_store(place.url))
        barrier.wait(60)
        try:
            won.append(
                registry.promote(
                    MODELS[1], MODELS[2], round_id=round_id, expected=first, base=MODELS[0], metrics={}
                )
            )
        except ChampionMoved as error:
            lost.append(error)

    threads = [threading.Thread(target=end, args=(f"round-{n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert Registry(place).history() == [first, won[0]]
    said = f"it is number 1 (round {won[0].round_id}), where number 0 (round 0) was expected; nothing was"
    assert [said in str(error) for error in lost] == [True] * 15


def test_a_round_that_began_from_another_champion_changes_nothing(place: Store) -> None:
    registry, first = Registry(place), promote_base(place)
    second = registry.promote(MODELS[1], MODELS[2], round_id="1", expected=first, base=MODELS[0], metrics={})
    stranger = Champion(**{**json.loads(second.to_json()), "created": "2020-01-01T00:00:00+00:00"})
    for expected in (None, first, stranger):
        with pytest.raises(ChampionMoved, match=r"it is number 1 \(round 1\)"):
            registry.promote(MODELS[1], None, round_id="2", expected=expected, base=MODELS[0], metrics={})
    assert registry.history() == [first, second]


def test_an_expected_champion_of_an_empty_line_has_moved_too(place: Store, tmp_path: Path) -> None:
    first = promote_base(place)
    with pytest.raises(ChampionMoved, match="there is none"):
        Registry(open_store(str(tmp_path / "empty"))).check_current(first)


def test_the_line_never_names_a_model_that_is_not_there(place: Store) -> None:
    registry = Registry(place)
    for policy, reward_model, base, missing in (
        ("rounds/9/policy", MODELS[2], MODELS[0], "policy 'rounds/9/policy'"),
        (MODELS[1], "rounds/9/reward_model", MODELS[0], "reward model 'rounds/9/reward_model'"),
        (MODELS[1], MODELS[2], "base/9/policy", "base 'base/9/policy'"),
    ):
        with pytest.raises(BadModel, match=missing) as caught:
            registry.promote(policy, reward_model, round_id="1", expected=None, base=base, metrics={})
        assert caught.value.exit_code == 2
    assert registry.history() == []


def test_metrics_are_finite(place: Store) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            Registry(place).promote(
                MODELS[0], None, round_id="0", expected=None, base=MODELS[0], metrics={"greedy": value}
            )
    assert Registry(place).current() is None


SERVING = ServingDefaults("weighted", 8, 0.6, 0.707, 0.57, 50)


def test_an_entry_has_the_defaults_to_serve_it_with_or_none_as_older_ones(place: Store) -> None:
    first = promote_base(place)
    assert first.serving is None
    assert b"serving" not in first.to_json()
    second = Registry(place).promote(
        MODELS[1], MODELS[2], round_id="1", expected=first, base=MODELS[0], metrics={}, serving=SERVING
    )
    assert Registry(open_store(place.url)).history() == [first, second]
    assert second.serving == SERVING
    assert str(SERVING) == (
        "weighted of 8 at temperature 0.6: 70.7 % of the 50 problems of its evaluation that did not "
        "choose it (greedy 57.0 %)"
    )


SERVED = Champion(1, MODELS[1], None, MODELS[0], "1", 0, {}, "2026-01-01T00:00:00+00:00", SERVING)
GOOD = Champion(1, MODELS[1], None, MODELS[0], "1", 0, {}, "2026-01-01T00:00:00+00:00")
BROKEN = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "not UTF-8": b"\xff",
    "a field less": GOOD.to_json().replace(b'"base"', b'"bass"'),
    "a number as policy": GOOD.to_json().replace(b'"rounds/1/policy"', b"7"),
    "another number": GOOD.to_json().replace(b'"number": 1', b'"number": 2'),
    "another parent": GOOD.to_json().replace(b'"parent": 0', b'"parent": null'),
    "metrics of text": GOOD.to_json().replace(b'"metrics": {}', b'"metrics": "x"'),
    "a metric of text": GOOD.to_json().replace(b'"metrics": {}', b'"metrics": {"a": "b"}'),
    "a metric that is none": GOOD.to_json().replace(b'"metrics": {}', b'"metrics": {"a": NaN}'),
    "no base": GOOD.to_json().replace(b'"base/0/policy"', b"null"),
    "no policy": GOOD.to_json().replace(b'"rounds/1/policy"', b"null"),
    "half a character": GOOD.to_json().replace(b'"round_id": "1"', b'"round_id": "\\ud800"'),
    "too deep": b"[" * 200_000,
    "an empty object": b"{}",
    "defaults of text": SERVED.to_json().replace(b'"temperature": 0.6', b'"temperature": "hot"'),
    "defaults that are none": GOOD.to_json().replace(b'"metrics": {}', b'"serving": null, "metrics": {}'),
    "half of the defaults": SERVED.to_json().replace(b'"samples": 8,', b""),
    "no sample": SERVED.to_json().replace(b'"samples": 8', b'"samples": 0'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_entry_is_corrupt_and_not_passed_over(tmp_path: Path, case: str) -> None:
    (tmp_path / "model").write_text("x")
    place = open_store(str(tmp_path / "store"))
    for name in MODELS:
        place.publish(tmp_path / "model", name)
    promote_base(place)
    place.append("champion", 1, BROKEN[case])
    with pytest.raises(
        Corrupt, match=r"champion 1 cannot be read.*_logs/champion/000000000001: restore"
    ) as caught:
        Registry(place).current()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(BadData, match="not a champion's entry"):
        Champion.parse(BROKEN[case].decode(errors="surrogateescape"))


def test_a_gap_in_the_line_is_corrupt(tmp_path: Path) -> None:
    place = open_store(str(tmp_path / "store"))
    place.append("champion", 1, GOOD.to_json())
    with pytest.raises(Corrupt, match="no number 0"):
        Registry(place).history()
