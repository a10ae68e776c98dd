"""A round's dealings with the store, from the first base to a promotion that somebody else won."""

from __future__ import annotations

import gc
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadData, BadModel, ChampionMoved, Corrupt, StorageRefused
from mathloop.registry import Champion, Registry, ServingDefaults
from mathloop.registry.stages import fetch_champion, preflight, publish_base, publish_round
from mathloop.storage import Store, open_store

SERVING: Any = {
    "strategy": "maj", "samples": 4, "temperature": 0.6, "score": 0.5, "greedy": 0.25, "problems": 8,
}  # fmt: skip


class Round:
    """One round's folder, with what its stages read and write."""

    def __init__(self, store_url: str, folder: Path, round_id: str, promote: bool = True) -> None:
        self.store_url, self.folder, self.round_id = store_url, folder / round_id, round_id
        for model in ("policy", "reward_model"):
            (self.folder / "new" / model).mkdir(parents=True)
            (self.folder / "new" / model / "weights").write_text(f"{model} of {round_id}")
        gate = {"promote": promote, "reason": "interval above zero." if promote else "no better", "low": 0.01}
        gate["serving"] = SERVING
        (self.folder / "gate.json").write_text(json.dumps(gate))

    def fetch(self) -> Any:
        _, champion = preflight(store_url=self.store_url)
        self.champion = champion
        return fetch_champion(
            store_url=self.store_url,
            champion=champion.to_json().decode(),
            policy=self.folder / "policy",
            reward_model=self.folder / "reward_model",
        )

    def publish(self) -> Any:
        return publish_round(
            store_url=self.store_url,
            champion=self.champion.to_json().decode(),
            gate=self.folder / "gate.json",
            policy=self.folder / "new" / "policy",
            reward_model=self.folder / "new" / "reward_model",
            round_id=self.round_id,
            out=self.folder / "published.json",
        )

    @property
    def published(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((self.folder / "published.json").read_text(encoding="utf-8"))
        return answer

    def weights(self, model: str) -> str:
        return (self.folder / model / "weights").read_text()


@pytest.fixture
def started(store_url: str, tmp_path: Path) -> str:
    """The URL of a store with champion 0."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("policy of base")
    report = publish_base(
        store_url=store_url, model=tmp_path / "base", round_id="start", out=tmp_path / "published.json"
    )
    assert report.stage == "base_publication"
    answer = json.loads((tmp_path / "published.json").read_text())
    assert (answer["promoted"], answer["number"]) == (True, 0)
    return store_url


def test_a_round_goes_from_base_to_champion_and_the_next_starts_there(started: str, tmp_path: Path) -> None:
    assert preflight(store_url=started)[0].values["champion"] == 0
    first = Round(started, tmp_path, "round-1")
    first.fetch()
    assert first.weights("policy") == "policy of base"
    assert list((first.folder / "reward_model").iterdir()) == []
    report = first.publish()
    assert report.kept == 1
    assert first.published == {"promoted": True, "number": 1, "reason": "interval above zero."}

    assert preflight(store_url=started)[0].values["champion"] == 1
    second = Round(started, tmp_path, "round-2")
    second.fetch()
    assert second.weights("policy") == "policy of round-1"
    assert second.weights("reward_model") == "reward_model of round-1"
    champion = second.champion
    assert champion == Registry(open_store(started)).current()
    assert (champion.base, champion.metrics) == ("base/start/policy", {"low": 0.01})
    assert champion.serving == ServingDefaults(**SERVING)


def test_a_gate_that_says_no_moves_nothing(started: str, tmp_path: Path) -> None:
    one = Round(started, tmp_path, "round-1", promote=False)
    one.fetch()
    report = one.publish()
    assert one.published == {"promoted": False, "number": None, "reason": "no better"}
    assert report.kept == 0
    assert "The champion stays champion 0 (round start): no better." in report.notes
    assert list(open_store(started).names()) == ["base/start/policy"]
    assert Registry(open_store(started)).current() == one.champion


def test_the_slower_of_two_rounds_says_so_and_changes_nothing(started: str, tmp_path: Path) -> None:
    fast, slow = Round(started, tmp_path, "fast"), Round(started, tmp_path, "slow")
    fast.fetch()
    slow.fetch()
    fast.publish()
    report = slow.publish()
    assert slow.published["promoted"] is False
    assert slow.published["number"] is None
    assert "the champion moved: it is number 1 (round fast)" in slow.published["reason"]
    assert any("the champion moved" in note for note in report.notes)
    assert [champion.round_id for champion in Registry(open_store(started)).history()] == ["start", "fast"]


def test_of_rounds_that_end_at_the_same_moment_exactly_one_is_promoted(started: str, tmp_path: Path) -> None:
    rounds = [Round(started, tmp_path, f"round-{n}") for n in range(4)]
    for one in rounds:
        one.fetch()
    threads = [threading.Thread(target=one.publish) for one in rounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    promoted = [one for one in rounds if one.published["promoted"]]
    current = Registry(open_store(started)).current()
    assert current is not None
    assert [(one.round_id, one.published["number"]) for one in promoted] == [(current.round_id, 1)]
    assert all("the champion moved" in one.published["reason"] for one in rounds if one not in promoted)


def test_a_race_lost_after_the_upload_leaves_the_pointer_where_the_winner_put_it(
    started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = Round(started, tmp_path, "fast"), Round(started, tmp_path, "slow")
    fast.fetch()
    slow.fetch()
    append = Store.append

    def overtaken(self: Store, log: str, number: int, record: bytes) -> None:
        monkeypatch.setattr(Store, "append", append)
        fast.publish()
        append(self, log, number, record)

    monkeypatch.setattr(Store, "append", overtaken)
    slow.publish()
    assert fast.published["number"] == 1
    assert slow.published["promoted"] is False
    assert "it is number 1 (round fast)" in slow.published["reason"]
    current = Registry(open_store(started)).current()
    assert current is not None
    assert current.round_id == "fast"


def test_a_publish_killed_after_its_promotion_is_found_again(started: str, tmp_path: Path) -> None:
    one, later = Round(started, tmp_path, "round-1"), Round(started, tmp_path, "round-2")
    one.fetch()
    one.publish()
    (one.folder / "published.json").unlink()
    one.publish()
    assert (one.published["promoted"], one.published["number"]) == (True, 1)
    later.fetch()
    later.publish()
    one.publish()
    assert one.published["number"] == 1
    assert len(Registry(open_store(started)).history()) == 3


def test_another_round_under_a_used_name_is_refused(started: str, tmp_path: Path) -> None:
    one = Round(started, tmp_path, "round-1")
    one.fetch()
    one.publish()
    (one.folder / "new" / "policy" / "weights").write_text("trained again, otherwise")
    (one.folder / "published.json").unlink()
    with pytest.raises(StorageRefused, match="already published with other content"):
        one.publish()
    assert not (one.folder / "published.json").exists()


def test_fetching_again_replaces_what_is_there(started: str, tmp_path: Path) -> None:
    one, again = Round(started, tmp_path, "round-1"), Round(started, tmp_path, "again")
    again.fetch()
    one.fetch()
    one.publish()
    (again.folder / "reward_model" / "stale").write_text("x")
    again.fetch()
    assert again.weights("policy") == "policy of round-1"
    assert again.weights("reward_model") == "reward_model of round-1"
    assert not (again.folder / "reward_model" / "stale").exists()


def test_a_second_base_is_refused_and_a_repeated_one_is_not(started: str, tmp_path: Path) -> None:
    out = tmp_path / "again.json"
    publish_base(store_url=started, model=tmp_path / "base", round_id="start", out=out)
    assert json.loads(out.read_text())["number"] == 0
    out.unlink()
    with pytest.raises(
        BadModel, match=r"already has a line of champions, begun by champion 0 \(round start\)"
    ):
        publish_base(store_url=started, model=tmp_path / "base", round_id="other", out=out)
    assert not out.exists()
    assert list(open_store(started).names()) == ["base/start/policy"]


def test_the_slower_of_two_bases_is_refused(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("x")

    def publish(round_id: str) -> None:
        publish_base(store_url=store_url, model=tmp_path / "base", round_id=round_id, out=tmp_path / round_id)

    real = Registry.promote

    def overtaken(self: Registry, *names: Any, **rest: Any) -> Champion:
        monkeypatch.setattr(Registry, "promote", real)
        publish("fast")
        return real(self, *names, **rest)

    monkeypatch.setattr(Registry, "promote", overtaken)
    with pytest.raises(BadModel, match=r"begun by champion 0 \(round fast\)"):
        publish("slow")
    assert not (tmp_path / "slow").exists()
    with pytest.raises(ChampionMoved):
        Registry(open_store(store_url)).check_current(None)


def test_preflight_wants_a_champion(store_url: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="has no champion yet; run the pretraining pipeline"):
        preflight(store_url=store_url)
    with pytest.raises(BadModel, match="has no champion yet"):
        Round(store_url, tmp_path, "round-1").fetch()


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("rounds/round-1/policy", "policy"),
        ("rounds/round-1/reward_model", "reward model"),
        ("base/start/policy", "base"),
    ],
)
def test_a_champion_whose_model_is_missing_stops_a_round_before_it_begins(
    started: str, tmp_path: Path, model: str, missing: str
) -> None:
    one, two = Round(started, tmp_path, "round-1"), Round(started, tmp_path, "round-2")
    one.fetch()
    one.publish()
    open_store(started)._objects.remove(f"{model}/manifest.json")
    for stage in (lambda: preflight(store_url=started), two.fetch):
        with pytest.raises(BadModel) as caught:
            stage()
        said = f"champion 1 names the {missing} '{model}', which is not there; publish it there again"
        assert said in str(caught.value)
        assert caught.value.exit_code == 2
    assert not (two.folder / "policy").exists()


@pytest.mark.parametrize("key", ["manifest.json", "weights"])
@pytest.mark.parametrize("damage", [b"junk", b"[" * 200_000, None])
def test_a_damaged_model_is_one_line_that_says_what_to_do(
    tmp_path: Path, key: str, damage: bytes | None
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("x")
    url = str(tmp_path / "store")
    publish_base(store_url=url, model=tmp_path / "base", round_id="start", out=tmp_path / "out")
    file = tmp_path / "store" / "base" / "start" / "policy" / key
    file.unlink() if damage is None else file.write_bytes(damage)
    one = Round(url, tmp_path, "round-1")
    stages = [lambda: preflight(store_url=url)] * (key == "manifest.json") + [one.fetch]
    # Finalizes now what earlier tests left: where recursion ends, a finalizer cannot even say its warning.
    gc.collect()
    for stage in stages:
        with pytest.raises(
            (BadModel, Corrupt), match=r"restore it from a copy|publish it there again"
        ) as caught:
            stage()
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2


def test_a_store_that_refuses_writes_stops_a_round_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StorageRefused, match="a file is where a folder should be"):
        preflight(store_url=str(tmp_path / "store"))


@pytest.mark.parametrize("gate", [b"", b"[]", b"{}", b'{"promote": "yes"}', b'{"promote": 1}', b"\xff"])
def test_a_gate_that_cannot_be_read_promotes_nobody(tmp_path: Path, gate: bytes) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("x")
    url = str(tmp_path / "store")
    publish_base(store_url=url, model=tmp_path / "base", round_id="start", out=tmp_path / "out")
    one = Round(url, tmp_path, "round-1")
    one.fetch()
    (one.folder / "gate.json").write_bytes(gate)
    with pytest.raises(BadData, match=r"gate\.json.*run the gate again"):
        one.publish()
    assert not (one.folder / "published.json").exists()
    assert len(Registry(open_store(url)).history()) == 1


@pytest.mark.parametrize("model", ["policy", "reward_model"])
def test_a_round_without_one_of_its_models_is_not_promoted(tmp_path: Path, model: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_text("x")
    url = str(tmp_path / "store")
    publish_base(store_url=url, model=tmp_path / "base", round_id="start", out=tmp_path / "out")
    one = Round(url, tmp_path, "round-1")
    one.fetch()
    shutil.rmtree(one.folder / "new" / model)
    with pytest.raises(BadData, match="no such file or folder to publish"):
        one.publish()
    assert len(Registry(open_store(url)).history()) == 1
