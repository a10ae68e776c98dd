"""What ends a run before it computes anything, the seed that it draws, and what a base model waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster import preflight
from mathloop.errors import BadConfig, BadData, BadModel, StorageRefused
from mathloop.registry import Registry
from mathloop.settings import Settings, parse_settings
from mathloop.settings.settings import STAGE_SECTIONS
from mathloop.storage import open_store

URI = "/runs/r1/stages/preflight/summary"


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


def begin(store: str, **changed: Any) -> tuple[Any, Any]:
    usual = {"round_id": "r1", "profile": "", "overrides": "{}", "problems_file": "", "seed": 0}
    return preflight.run(**{"store_url": store, **usual, "first": False, "uri": URI, **changed})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ('{"grpo": {"stps": 1}}', "overrides: grpo.stps: no such field, did you mean 'steps'; known: "),
        ('{"pools": {"trainer": {"nodes": 2}}}', "overrides: pools: node pools are compiled into a pipeline"),
        ("temperature: 1", "overrides: expected sections and fields as one JSON object"),
    ],
)
def test_wrong_settings_end_a_run_before_the_store_is_asked(
    tmp_path: Path, overrides: str, said: str
) -> None:
    """`mathloop.settings` words them; here it counts that nothing else is done first."""
    with pytest.raises(BadConfig) as caught:
        begin(str(tmp_path / "absent"), overrides=overrides)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "absent").exists()


def test_a_deployment_that_outlasts_its_pod_ends_a_run(store: str) -> None:
    """The pod's time limit is compiled in, so that a longer wait would be cut off without a word."""
    begin(store, overrides='{"deployment": {"ready_seconds": 600}}')
    with pytest.raises(
        BadConfig, match=r"deployment may take \d+ s .*, but its pod ends after \d+ s: compile"
    ):
        begin(store, overrides='{"deployment": {"ready_seconds": 7200}}')
    longer = parse_settings({"deployment": {"ready_seconds": 7200}})
    begin(store, profile=longer.model_dump_json(), overrides='{"deployment": {"ready_seconds": 7000}}')


@pytest.mark.parametrize(
    ("setting", "value"),
    [("tir.iterations", 2), ("writing.endpoint", "http://writer:8000/v1"), ("writing.cache", "/cache")],
)
def test_what_sampler_pods_cannot_share_ends_a_run(store: str, setting: str, value: Any) -> None:
    several = parse_settings({"pools": {"sampler": {"nodes": 2}}}).model_dump_json()
    begin(store, profile=several)
    section, _, field = setting.partition(".")
    overrides = json.dumps({section: {field: value}})
    with pytest.raises(BadConfig, match=rf"^overrides: {setting}: .*; compile a profile with it$"):
        begin(store, profile=several, overrides=overrides)
    begin(store, overrides=overrides)


def test_an_engine_that_the_compiled_pools_cannot_run_ends_a_run(store: str) -> None:
    vllm = '{"grpo": {"sampling": {"engine": "vllm"}}}'
    none = parse_settings({}).model_dump_json()
    with pytest.raises(
        BadConfig, match=r"^overrides: grpo\.sampling\.engine: vllm needs GPUs, .*transformers$"
    ):
        begin(store, profile=none, overrides=vllm)
    gpus = {"trainer": {"gpus": 1, "accelerator": "nvidia.com/gpu"}}
    begin(store, profile=parse_settings({"pools": gpus}).model_dump_json(), overrides=vllm)
    # A run on one machine has all its settings in the profile, and that machine's GPUs.
    begin(store, profile=parse_settings({"grpo": {"sampling": {"engine": "vllm"}}}).model_dump_json())


def test_every_stages_own_defaults_are_right(store: str) -> None:
    report, start = begin(store)
    assert start.seed == 0
    assert report.values["champion"] == 0


def test_every_stage_is_handed_its_section_of_profile_and_overrides(store: str) -> None:
    profile = parse_settings({"grpo": {"steps": 7}, "cot": {"samples": 5}})
    overrides = '{"grpo": {"group_size": 3}, "gate": {"margin": 0.01}}'
    _, start = begin(store, profile=profile.model_dump_json(), overrides=overrides, seed=11)
    ran = Settings.model_validate_json(start.settings)
    assert (ran.grpo.steps, ran.grpo.group_size, ran.cot.samples, ran.gate.margin) == (7, 3, 5, 0.01)
    for name in STAGE_SECTIONS:
        assert getattr(start, name) == ran.section(name), name
    # What differs in one section changes no other: KFP's cache is keyed by section.
    _, other = begin(
        store, profile=profile.model_dump_json(), overrides='{"gate": {"margin": 0.01}}', seed=11
    )
    changed = {name for name in STAGE_SECTIONS if getattr(start, name) != getattr(other, name)}
    assert changed == {"grpo"}
    assert start.cache_key == other.cache_key
    # What the report prints is what ran: seed and store too.
    assert (ran.seed, ran.store) == (11, store)


def test_a_drawn_seed_follows_from_the_run_and_from_nothing_else(store: str, tmp_path: Path) -> None:
    seeds = [begin(store, seed=-1, round_id=f"run-{number}")[1].seed for number in range(20)]
    assert len(set(seeds)) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)
    report, start = begin(store, seed=-1, round_id="run-3")
    assert start.seed == seeds[3]
    assert report.values["seed"] == seeds[3]
    assert any(f"--seed {seeds[3]} repeats it" in note for note in report.notes)
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


def test_a_first_model_waits_for_a_store_without_a_champion(store: str, tmp_path: Path) -> None:
    def begin_first(url: str, round_id: str = "r1", **more: Any) -> Any:
        return begin(url, round_id=round_id, first=True, **more)[0]

    assert "no champion yet" in begin_first(str(tmp_path / "empty")).notes[0]
    with pytest.raises(BadModel, match="already has a line of champions, begun by round start"):
        begin_first(store)
    assert begin_first(store, "start").stage == "preflight"  # its own publishing, seen again
    with pytest.raises(BadConfig, match=r"pretrain\.hidden: "):
        begin_first(str(tmp_path / "empty"), overrides='{"pretrain": {"hidden": "wide"}}')
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageRefused):
        begin_first(str(tmp_path / "file"))


def test_a_round_wants_a_champion(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="has no champion yet; run the pretraining pipeline"):
        begin(str(tmp_path / "empty"))


def test_named_benchmarks_are_found_before_anything_runs_and_are_part_of_the_key(
    store: str, tmp_path: Path
) -> None:
    (tmp_path / "sums.jsonl").write_text('{"problem": "1 + 1?", "answer": 2}\n')
    named = json.dumps({"benchmarks": [str(tmp_path / "sums.jsonl")], "gate": {"weights": {"sums": 2}}})
    plain = begin(store)[1]
    first = begin(store, overrides=named)[1]
    assert json.loads(first.benchmarks)["measure"] == [str(tmp_path / "sums.jsonl")]
    (tmp_path / "sums.jsonl").write_text('{"problem": "1 + 1?", "answer": 3}\n')
    changed = begin(store, overrides=named)[1]
    assert len({plain.cache_key, first.cache_key, changed.cache_key}) == 3
    with pytest.raises(BadConfig, match="there is no benchmark 'gsm9k', did you mean 'gsm8k'"):
        begin(store, overrides='{"benchmarks": ["gsm9k"]}')
    with pytest.raises(BadConfig, match=r"gate.weights: sums is no benchmark of this run"):
        begin(store, overrides='{"gate": {"weights": {"sums": 2}}}')
