"""Profiles: typed by the stages' configs, every mistake one line with file, field and expectation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mathloop.errors import BadConfig
from mathloop.settings import Settings, resolving
from mathloop.settings.settings import RENAMED
from mathloop.validation import annotation
from pipelines import profile as profiles


class Sampling(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(64, ge=1)
    temperatures: tuple[float, ...] = (1.0,)


class Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(100, ge=1)
    lr: float = Field(1e-3, gt=0)
    label: str = "plain"
    dtype: Literal["float32", "bfloat16"] = "float32"
    shuffle: bool = True
    limit: int | None = None
    sampling: Sampling = Sampling(max_tokens=160)


class FourSections(Settings):
    """Settings of which four sections are fakes with every kind of field."""

    corpus: Stage = Stage()  # type: ignore[assignment]
    pretrain: Stage = Stage()  # type: ignore[assignment]
    sft: Stage = Stage()  # type: ignore[assignment]
    grpo: Stage = Stage()  # type: ignore[assignment]


@pytest.fixture
def four_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles of fake sections, whatever the real stages are configured by."""
    monkeypatch.setattr(profiles, "Settings", FourSections)
    monkeypatch.setattr(resolving, "Settings", FourSections)


Load = Callable[..., FourSections]


@pytest.fixture
def load(tmp_path: Path, four_sections: None) -> Load:
    def load(text: str, *sets: str) -> Any:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return profiles.load_profile(str(path), sets)

    return load


HEAD = "name: mine\ndescription: a test\n"


def test_values_defaults_and_stage_json(load: Load) -> None:
    profile = load(f"""{HEAD}
seed: 3
pretrain: {{lr: 1e-4}}
grpo:
  steps: 7
  label: 2026-11-24
  sampling: {{temperatures: [1, 0.7]}}
""")
    assert profile.seed == 3
    assert json.loads(profile.section("pretrain"))["lr"] == 1e-4
    grpo = json.loads(profile.section("grpo"))
    assert (grpo["steps"], grpo["sampling"]["temperatures"]) == (7, [1.0, 0.7])
    assert grpo["label"] == "2026-11-24"
    assert json.loads(profile.section("sft")) == json.loads(Stage().model_dump_json())
    # What a run keeps of its profile reads back as the same profile.
    kept = json.loads(json.dumps(profile.model_dump(mode="json")))
    assert profiles.check_profile(kept, "run.json") == profile


def test_one_field_of_a_nested_config_leaves_the_stages_own_defaults(
    load: Load,
) -> None:
    text = HEAD + "grpo: {sampling: {temperatures: [0.5]}}\n"
    profile = load(text, "pretrain.sampling.temperatures=[2]")
    for section, temperature in (("grpo", 0.5), ("pretrain", 2.0)):
        sampling = json.loads(profile.section(section))["sampling"]
        assert sampling == {"max_tokens": 160, "temperatures": [temperature]}


def test_sets_override_and_are_typed_by_the_model(load: Load) -> None:
    profile = load(
        HEAD + "grpo: {steps: 7}\n",
        "grpo.steps=9",
        "grpo.lr=1e-5",
        "grpo.label=10",
        "grpo.sampling.temperatures=[1, 0.5]",
        "corpus.shuffle=false",
        "grpo.limit=4",
        "sft.label=a: b",
    )
    grpo = profile.grpo
    assert (grpo.steps, grpo.lr, grpo.label, grpo.limit) == (9, 1e-5, "10", 4)
    assert grpo.sampling.temperatures == (1.0, 0.5)
    assert profile.corpus.shuffle is False
    assert profile.sft.label == "a: b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grpo: {stepz: 7}", "mine.yaml: grpo.stepz: no such field, did you mean 'steps'; known: dtype, "),
        ("gropo: {steps: 7}", "mine.yaml: gropo: no such field, did you mean 'grpo'"),
        ("pretrian: {}", "mine.yaml: pretrian: no such field, did you mean 'pretrain'"),
        (
            "grpo: {sampling: {max_token: 7}}",
            "grpo.sampling.max_token: no such field, did you mean 'max_tokens'",
        ),
        ("grpo: {steps: ten}", 'mine.yaml: grpo.steps: input should be a valid integer, found "ten"'),
        ("grpo: {steps: '10'}", 'grpo.steps: input should be a valid integer, found "10"'),
        ("grpo: {steps: 1.5}", "grpo.steps: input should be a valid integer, found 1.5"),
        ("grpo: {steps: true}", "grpo.steps: input should be a valid integer, found true"),
        ("grpo: {steps: 0}", "grpo.steps: input should be greater than or equal to 1, found 0"),
        ("grpo: {dtype: half}", "grpo.dtype: input should be 'float32' or 'bfloat16', found \"half\""),
        ("grpo: {shuffle: 1}", "grpo.shuffle: input should be a valid boolean, found 1"),
        ("grpo: [1]", "mine.yaml: grpo: "),
        ("pools: {trainer: {affinity: [{}]}}", "mine.yaml: pools.trainer.affinity.0.key: missing; add it"),
        ("grpo: {steps: 1, steps: 2}", "'steps' is given twice"),
        ("grpo: {steps: [1}", "mine.yaml: line 3: not valid YAML"),
        ("seed: -1", "mine.yaml: seed: input should be greater than or equal to 0, found -1"),
        ("seed: 2147483648", "seed: input should be less than or equal to 2147483647"),
        ("grpo: {label: a\0b}", "mine.yaml: not text (character "),
        ("grpo: {steps: 2024-99-99}", 'grpo.steps: input should be a valid integer, found "2024-99-99"'),
        ("grpo: {steps: !!int abc}", "line 3: not valid YAML: 'abc' is not of type int"),
        ("grpo: {steps: !!int ''}", "not of type int"),
        ("grpo: {lr: !!float ''}", "not of type float"),
        ("grpo: {shuffle: !!bool abc}", "not of type bool"),
        ("grpo: {label: !!timestamp abc}", "not of type timestamp"),
        ("grpo: {label: !!timestamp 2024-01-01}", "grpo.label: expected a number, text, list or section"),
        ("grpo: {2024-01-01: 1}", "grpo.2024-01-01: no such field"),
        ("grpo: {1: 1}", "mine.yaml: grpo: expected names of fields, found 1"),
        ("grpo: {!!binary aGk=: 1}", "expected names of fields, found b'hi'"),
        ("grpo: {label: &a [*a]}", "mine.yaml: grpo.label: too deep or too long"),
        ("grpo: &a {sampling: *a}", "mine.yaml: grpo.sampling: too deep or too long"),
        ("grpo: {label: " + "[" * 3000, "not valid YAML: nested too deep"),
        ("grpo: {label: [" + "[1, 2, 3, 4, 5, 6, 7, 8, 9], " * 2000 + "1]}", "too deep or too long"),
        ('grpo: {label: "\\ud800"}', "mine.yaml: grpo.label: expected text, found half a surrogate pair"),
        ('grpo: {label: "\\0"}', "mine.yaml: grpo.label: expected text, found a NUL character"),
        ("grpo: {lr: .inf}", "mine.yaml: grpo.lr: expected a finite number"),
        ("grpo: {lr: .nan}", "mine.yaml: grpo.lr: expected a finite number"),
        ("grpo: {sampling: {temperatures: [1, -.inf]}}", "grpo.sampling.temperatures.1: expected a finite"),
        ("grpo: {steps: 99999999999999999999}", "grpo.steps: expected a finite number below 2^63"),
        ("grpo: {steps: " + "9" * 5000 + "}", "is not of type int"),
    ],
)
def test_a_mistake_is_one_line(load: Load, text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(HEAD + text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message


def test_other_unreadable_profiles(load: Load, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"mine.yaml: expected fields"):
        load("")
    (tmp_path / "latin.yaml").write_bytes("name: größer".encode("latin-1"))
    with pytest.raises(BadConfig, match=r"latin.yaml: not UTF-8 \(byte 8\)"):
        profiles.load_profile(str(tmp_path / "latin.yaml"))
    with pytest.raises(BadConfig, match=r"no profile 'labtop', did you mean 'laptop'; known: gpu, laptop, "):
        profiles.load_profile("labtop")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("grpo.stepz=1", "--set grpo.stepz=1: no such field, did you mean 'steps'"),
        ("grop.steps=1", "--set grop.steps=1: no such field, did you mean 'grpo'"),
        ("grop={steps: 1}", "--set grop={steps: 1}: no such field, did you mean 'grpo'"),
        (
            "grpo.samplig.max_tokens=1",
            "--set grpo.samplig.max_tokens=1: no such field, did you mean 'sampling'",
        ),
        ("pools.trainer.gpus=2", "--set pools.trainer.gpus=2: gpus (2) needs accelerator"),
        ("grpo.steps=ten", '--set grpo.steps=ten: input should be a valid integer, found "ten"'),
        ("grpo.steps", "--set grpo.steps: expected section.field=value"),
        ("=1", "--set =1: expected section.field=value"),
        ("grpo.steps.more=1", "--set grpo.steps.more=1: 'steps' is a value, not a section"),
        ("grpo.steps=[1", "--set grpo.steps=[1: '[1' is not a value"),
        (
            "grpo.sampling.temperatures=[x]",
            "--set grpo.sampling.temperatures=[x]: input should be a valid number",
        ),
        ("grpo={stepz: 1}", "--set grpo={stepz: 1}: no such field, did you mean 'steps'"),
        ("grpo.lr=.inf", "--set grpo.lr=.inf: expected a finite number"),
        ("grpo.lr=!!int abc", "--set grpo.lr=!!int abc: '!!int abc' is not a value"),
        ('grpo.lr="\\ud800"', "expected text, found half a surrogate pair"),
        ("grpo.lr=&a [*a]", "--set grpo.lr=&a [*a]: too deep or too long"),
        ("grpo.lr=" + "[" * 3000, "is not a value"),
    ],
)
def test_a_wrong_set_names_itself(load: Load, given: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(HEAD + "grpo: {steps: 7}\n", given)
    assert said in str(caught.value)


def test_a_set_changes_its_own_section_and_none_that_shares_its_alias(
    load: Load,
) -> None:
    text = HEAD + "grpo: {sampling: &s {max_tokens: 7}}\nsft: {sampling: *s}\n"
    profile = load(text, "grpo.sampling.max_tokens=9")
    assert profile.grpo.sampling.max_tokens == 9
    assert profile.sft.sampling.max_tokens == 7


def test_a_set_is_not_blamed_for_what_the_file_has_wrong(load: Load) -> None:
    with pytest.raises(BadConfig, match=r"mine\.yaml: grpo\.steps: input should be a valid integer"):
        load("grpo: {steps: ten}", "grpo.lr=1", "sft.steps=3")
    with pytest.raises(BadConfig, match=r"mine\.yaml: gropo: no such field"):
        load("gropo: {steps: 7}", "grpo.steps=8")


def test_name_and_description_may_be_left_out(load: Load) -> None:
    profile = load("seed: 3\n")
    assert (profile.name, profile.description, profile.seed) == ("mine", "", 3)


@pytest.mark.parametrize("field", ["store", "model"])
def test_the_home_folder_is_put_for_its_sign(field: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert getattr(load(f"{field}: ~/models/one\n"), field) == "/home/ann/models/one"
    assert getattr(load("seed: 1\n", f"{field}=~/two"), field) == "/home/ann/two"
    # Only where it begins a path.
    assert getattr(load("seed: 1\n", f"{field}=a~b"), field) == "a~b"
    assert load("seed: 1\n", "store=s3://bucket/~/x").store == "s3://bucket/~/x"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a profile below the test's folder; returns its path."""

    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_a_profile_starts_from_another_ones_settings(
    write: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(
        "team/base.yaml",
        "name: theirs\ndescription: theirs\nextends: tiny\ngrpo: {steps: 9, group_size: 3}\n",
    )
    mine = write("mine.yaml", "extends: team/base.yaml\nseed: 4\ngrpo: {group_size: 5}\n")
    for folder in (tmp_path, tmp_path / "team"):  # a file is sought beside the one that names it
        monkeypatch.chdir(folder)
        profile = profiles.load_profile(mine, ["grpo.problems_per_step=7"])
        tiny = profiles.load_profile("tiny")
        assert (profile.grpo.steps, profile.grpo.group_size, profile.grpo.problems_per_step) == (9, 5, 7)
        assert profile.grpo.sampling == tiny.grpo.sampling
        assert profile.pretrain == tiny.pretrain
        assert profile.seed == 4
        # It is another profile, and says so.
        assert (profile.name, profile.description) == ("mine", "")


def test_gpu_is_laptop_on_a_cluster() -> None:
    gpu, laptop = profiles.load_profile("gpu"), profiles.load_profile("laptop")
    changed = {path[0] for path, _, _ in profiles.changed_fields(gpu, laptop)}
    assert changed == {"name", "description", "store", "pools", "deployment"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: labtop", "mine.yaml: extends: no profile 'labtop', did you mean 'laptop'; known: "),
        ("extends: gone.yaml", "gone.yaml'"),
        ("extends: mine.yaml", "mine.yaml: extends: mine.yaml extends this profile; break the circle"),
        ("extends: circle.yaml", "mine.yaml extends this profile; break the circle"),
        ("extends: [laptop, tiny]", "mine.yaml: extends: expected the name or the file of one profile"),
        ("extends: 3", "mine.yaml: extends: expected the name or the file of one profile"),
        # Whose mistake it is.
        ("extends: wrong.yaml", "wrong.yaml: grpo.stepz: no such field, did you mean 'steps'"),
        ("extends: further.yaml", "wrong.yaml: grpo.stepz: no such field, did you mean 'steps'"),
        ("extends: tiny\ngrpo: {stepz: 3}", "mine.yaml: grpo.stepz: no such field"),
        ("extends: broken.yaml", "broken.yaml: line 1: not valid YAML"),
    ],
)
def test_what_cannot_be_extended_is_one_line(write: Callable[[str, str], str], text: str, said: str) -> None:
    write("circle.yaml", "extends: mine.yaml\n")
    write("wrong.yaml", "grpo: {stepz: 1}\n")
    write("further.yaml", "extends: wrong.yaml\n")
    write("broken.yaml", "grpo: {steps: ]\n")
    mine = write("mine.yaml", text)
    with pytest.raises(BadConfig) as caught:
        profiles.load_profile(mine)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["seed: 1", "extends: null\nseed: 1", "extends:\nseed: 1"])
def test_a_profile_need_not_extend_any(load: Load, path: str) -> None:
    assert load(path) == load("seed: 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "pretraining: {train: {steps: 3}}",
            "pretraining: is now two sections of their own: corpus, and pretrain",
        ),
        ("pools: {serving: {mode: Knative}}", "pools.serving: is now the section deployment"),
        ("grpo: {updates: 2}", "grpo.updates: is now grpo.mini_batches"),
        ("grpo: {passes: 2}", "grpo.passes: is now grpo.epochs_per_batch"),
        ("grpo: {group: 8}", "grpo.group: is now grpo.group_size"),
    ],
)
def test_a_setting_of_the_version_before_says_what_it_is_called_now(
    write: Callable[[str, str], str], text: str, said: str
) -> None:
    mine = write("mine.yaml", f"name: mine\ndescription: as of version 0.1.0\n{text}\n")
    with pytest.raises(BadConfig) as caught:
        profiles.load_profile(mine)
    assert f"mine.yaml: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)
    key = text.partition(":")[0]
    inner = text.partition("{")[2].partition(":")[0]
    with pytest.raises(BadConfig) as caught:
        profiles.load_profile("tiny", [f"{key}.{inner}=2"])
    assert str(caught.value).startswith(f"--set {key}.{inner}=2: {said.partition(': ')[2]}")


def test_every_name_of_before_is_gone_and_what_it_became_is_there() -> None:
    for former in RENAMED:
        assert annotation(Settings, former.split(".")) is None, former
