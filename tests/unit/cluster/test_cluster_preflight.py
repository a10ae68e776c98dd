"""What ends a run before it computes anything, the seed that it draws, and what a base model waits for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster import preflight
from mathloop.errors import BadConfig, BadData, BadModel, StorageRefused
from mathloop.registry import Registry
from mathloop.settings.pools import STAGE_CONFIGS
from mathloop.storage import open_store

URI = "/runs/r1/stages/preflight/stage_report"


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with champion 0, of round `start`."""
    url = str(tmp_path / "store")
    (tmp_path / "weights").write_text("weights")
    open_store(url).publish(tmp_path / "weights", "base/start/policy")
    Registry(open_store(url)).promote(
        "base/start/policy", None, round_id="start", expected=None, base="base/start/policy", metrics={}
    )
    return url


def begin(store: str, **changed: Any) -> tuple[Any, preflight.Start]:
    given = {"round_id": "r1", "problems_file": "", "seed": 0, "settings": {}, "uri": URI}
    return preflight.run(**{"store_url": store, **given, **changed})


@pytest.mark.parametrize(
    ("section", "text", "said"),
    [
        ("grpo", '{"stps": 1}', "grpo.stps: no such field; known: steps,"),
        ("grpo", '{"steps": 0}', "grpo.steps: input should be greater than or equal to 1, found 0; correct"),
        ("sft", '{"optimizer": {"learning_rate": "fast"}}', "sft.optimizer.learning_rate: input should be a"),
        ("cot", "temperature: 1", "cot: invalid JSON"),
        ("gate", "[]", "gate: input should be an object, found []"),
        ("deployment", '{"canary_percent": 100}', "deployment.canary_percent: input should be less than"),
        (
            "deployment",
            '{"tolerations": [{"operator": "Equal"}]}',
            "deployment.tolerations.0: operator Equal needs",
        ),
    ],
)
def test_wrong_settings_of_a_stage_are_one_line(store: str, section: str, text: str, said: str) -> None:
    settings = dict.fromkeys(STAGE_CONFIGS, "{}") | {section: text}
    with pytest.raises(BadConfig) as caught:
        begin(store, settings=settings)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_every_stages_own_defaults_are_right(store: str) -> None:
    report, start = begin(store, settings=dict.fromkeys(STAGE_CONFIGS, "{}"))
    assert start.seed == 0
    assert report.values["champion"] == 0


def test_a_drawn_seed_follows_from_the_run_and_from_nothing_else(store: str, tmp_path: Path) -> None:
    seeds = [begin(store, seed=-1, round_id=f"run-{number}")[1].seed for number in range(20)]
    assert len(set(seeds)) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)
    report, start = begin(store, seed=-1, round_id="run-3")
    assert start.seed == seeds[3]
    assert report.values["seed"] == seeds[3]
    assert any(f"--seed {seeds[3]} gives it again" in note for note in report.notes)
    # Given as a fixed one it makes the same run.
    assert begin(store, seed=seeds[3], round_id="another")[1] == start
    with pytest.raises(BadConfig, match="seed: expected 0 to"):
        begin(store, seed=-2)


def test_the_key_tells_problems_files_apart_by_their_content(store: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text("{}\n")
    two.write_text("{}\n")
    key = begin(store, problems_file=str(one))[1].cache_key
    assert key == begin(store, problems_file=str(two))[1].cache_key
    assert key != begin(store)[1].cache_key
    two.write_text("{} \n")
    assert key != begin(store, problems_file=str(two))[1].cache_key
    with pytest.raises(BadData, match="absent"):
        begin(store, problems_file=str(tmp_path / "absent"))


def test_a_base_model_waits_for_a_store_without_a_champion(store: str, tmp_path: Path) -> None:
    def begin_base(url: str, round_id: str = "r1", **settings: str) -> Any:
        return preflight.run_base(store_url=url, round_id=round_id, seed=0, settings=settings, uri=URI)[0]

    assert "no champion yet" in begin_base(str(tmp_path / "empty")).notes[0]
    with pytest.raises(BadModel, match="already has a line of champions, begun by round start"):
        begin_base(store)
    assert begin_base(store, "start").stage == "preflight_base"  # its own publishing, seen again
    with pytest.raises(BadConfig, match=r"train\.hidden: "):
        begin_base(str(tmp_path / "empty"), train='{"hidden": "wide"}')
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageRefused):
        begin_base(str(tmp_path / "file"))
