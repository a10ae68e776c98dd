"""Profiles: typed by the stages' configs, every mistake one line with file, field and expectation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mathloop.errors import BadConfig
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


@pytest.fixture(autouse=True)
def two_sections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Profiles of two pretraining sections and two others, whatever the real stages are configured by."""
    module = ModuleType("fake_configs")
    module.Stage = Stage  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_configs", module)
    names = ("corpus", "train", "sft", "grpo")
    monkeypatch.setattr(profiles, "CONFIGS", dict.fromkeys(names, "fake_configs.Stage"))
    profiles.profile_model.cache_clear()
    yield
    profiles.profile_model.cache_clear()


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., profiles.Head]:
    def load(text: str, *sets: str) -> profiles.Head:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return profiles.load_profile(str(path), sets)

    return load


HEAD = "name: mine\ndescription: a test\n"


def test_values_defaults_and_stage_json(load: Callable[..., profiles.Head]) -> None:
    profile = load(f"""{HEAD}
seed: 3
pretraining:
  train: {{lr: 1e-4}}
grpo:
  steps: 7
  label: 2026-11-24
  sampling: {{temperatures: [1, 0.7]}}
""")
    assert profile.seed == 3
    assert json.loads(profiles.stage_config(profile, "train"))["lr"] == 1e-4
    grpo = json.loads(profiles.stage_config(profile, "grpo"))
    assert (grpo["steps"], grpo["sampling"]["temperatures"]) == (7, [1.0, 0.7])
    assert grpo["label"] == "2026-11-24"
    assert json.loads(profiles.stage_config(profile, "sft")) == json.loads(Stage().model_dump_json())
    # What a run keeps of its profile reads back as the same profile.
    kept = json.loads(json.dumps(profile.model_dump(mode="json")))
    assert profiles.check_profile(kept, "run.json") == profile


def test_one_field_of_a_nested_config_leaves_the_stages_own_defaults(
    load: Callable[..., profiles.Head],
) -> None:
    text = HEAD + "grpo: {sampling: {temperatures: [0.5]}}\n"
    profile = load(text, "pretraining.train.sampling.temperatures=[2]")
    for section, temperature in (("grpo", 0.5), ("train", 2.0)):
        sampling = json.loads(profiles.stage_config(profile, section))["sampling"]
        assert sampling == {"max_tokens": 160, "temperatures": [temperature]}


def test_sets_override_and_are_typed_by_the_model(load: Callable[..., profiles.Head]) -> None:
    profile = load(
        HEAD + "grpo: {steps: 7}\n",
        "grpo.steps=9",
        "grpo.lr=1e-5",
        "grpo.label=10",
        "grpo.sampling.temperatures=[1, 0.5]",
        "pretraining.corpus.shuffle=false",
        "grpo.limit=4",
        "sft.label=a: b",
    )
    grpo = profile.grpo  # type: ignore[attr-defined]
    assert (grpo.steps, grpo.lr, grpo.label, grpo.limit) == (9, 1e-5, "10", 4)
    assert grpo.sampling.temperatures == (1.0, 0.5)
    assert profile.pretraining.corpus.shuffle is False  # type: ignore[attr-defined]
    assert profile.sft.label == "a: b"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grpo: {stepz: 7}", "mine.yaml: grpo.stepz: no such field, did you mean 'steps'; known: dtype, "),
        ("gropo: {steps: 7}", "mine.yaml: gropo: no such field, did you mean 'grpo'"),
        ("pretraining: {tran: {}}", "pretraining.tran: no such field, did you mean 'train'"),
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
def test_a_mistake_is_one_line(load: Callable[..., profiles.Head], text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(HEAD + text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message


def test_other_unreadable_profiles(load: Callable[..., profiles.Head], tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"mine.yaml: expected fields"):
        load("")
    (tmp_path / "latin.yaml").write_bytes("name: größer".encode("latin-1"))
    with pytest.raises(BadConfig, match=r"latin.yaml: not UTF-8 \(byte 8\)"):
        profiles.load_profile(str(tmp_path / "latin.yaml"))
    with pytest.raises(BadConfig, match=r"mine.yaml: description: missing"):
        load("name: mine")
    with pytest.raises(BadConfig, match=r"no profile 'labtop', did you mean 'laptop'; known: gpu, laptop, "):
        profiles.load_profile("labtop")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("grpo.stepz=1", "--set grpo.stepz=1: no such field, did you mean 'steps'"),
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
def test_a_wrong_set_names_itself(load: Callable[..., profiles.Head], given: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(HEAD + "grpo: {steps: 7}\n", given)
    assert said in str(caught.value)


def test_a_set_changes_its_own_section_and_none_that_shares_its_alias(
    load: Callable[..., profiles.Head],
) -> None:
    text = HEAD + "grpo: {sampling: &s {max_tokens: 7}}\nsft: {sampling: *s}\n"
    profile = load(text, "grpo.sampling.max_tokens=9")
    assert profile.grpo.sampling.max_tokens == 9  # type: ignore[attr-defined]
    assert profile.sft.sampling.max_tokens == 7  # type: ignore[attr-defined]
