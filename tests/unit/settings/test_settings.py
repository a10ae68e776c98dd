"""One typed object configures a run: defaults, overrides and mistakes, and every stage's section of it."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.preflight import preflight
from mathloop.cluster.preflight import Start
from mathloop.errors import BadConfig
from mathloop.settings import SECTIONS, Settings, parse_settings, resolve
from mathloop.settings.flat import changes
from mathloop.settings.pools import Pool
from mathloop.settings.settings import STAGE_SECTIONS
from mathloop.validation import first_mistake

PROFILE = Settings().model_dump_json()


def refusal(overrides: str, profile: str = PROFILE) -> str:
    with pytest.raises(BadConfig) as caught:
        resolve(profile, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("overrides", ["", "{}", " {} "])
def test_without_overrides_a_run_has_its_profiles_settings(overrides: str) -> None:
    assert resolve(PROFILE, overrides) == Settings()
    assert resolve("", overrides) == Settings()
    other = parse_settings({"seed": 3, "grpo": {"steps": 7}, "pools": {"trainer": {"cpu": "2"}}})
    assert resolve(other.model_dump_json(), overrides) == other


def test_overrides_change_their_fields_and_leave_the_profiles_others() -> None:
    profile = parse_settings({"cot": {"samples": 5, "sampling": {"max_tokens": 60, "top_p": 0.9}}})
    run = resolve(
        profile.model_dump_json(), '{"cot": {"sampling": {"max_tokens": 99}}, "gate": {"margin": 0}}'
    )
    assert (run.cot.samples, run.cot.sampling.max_tokens, run.cot.sampling.top_p) == (5, 99, 0.9)
    assert run.model_copy(update={"cot": profile.cot}) == profile


def test_one_field_of_a_nested_section_keeps_its_stages_own_defaults() -> None:
    """A stage's default section may differ from the section's own defaults."""
    own = Settings().evaluation.sampling
    assert own.max_tokens != type(own)().max_tokens
    run = resolve("", '{"evaluation": {"sampling": {"top_p": 0.5}}}')
    assert run.evaluation.sampling == own.model_copy(update={"top_p": 0.5})


def test_a_section_that_may_be_left_out_has_its_own_defaults_when_it_is_not() -> None:
    assert Settings().grpo.lora is None
    lora = resolve("", '{"grpo": {"lora": {}}}').grpo.lora
    assert lora is not None
    assert lora == type(lora)()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ('{"grpo": {"stepz": 1}}', "overrides: grpo.stepz: no such field, did you mean 'steps'; known: "),
        ('{"grop": {"steps": 1}}', "overrides: grop: no such field, did you mean 'grpo'; known: "),
        (
            '{"grpo": {"steps": 0}}',
            "overrides: grpo.steps: input should be greater than or equal to 1, found 0",
        ),
        ('{"grpo": {"steps": "10"}}', 'overrides: grpo.steps: input should be a valid integer, found "10"'),
        ('{"grpo": []}', "overrides: grpo: "),
        ('{"grpo": null}', "overrides: grpo: "),
        (
            '{"sft": {"optimizer": {"learning_rate": "fast"}}}',
            "overrides: sft.optimizer.learning_rate: input",
        ),
        (
            '{"deployment": {"canary_percent": 100}}',
            "overrides: deployment.canary_percent: input should be less",
        ),
        (
            '{"deployment": {"tolerations": [{"operator": "Equal"}]}}',
            "deployment.tolerations.0: operator Equal",
        ),
        (
            '{"deployment": {"mode": "Knative", "gateway": {"name": "public"}}}',
            "overrides: deployment: gateway.name needs mode Standard",
        ),
        ('{"selection": {"least": 6}}', "overrides: selection.most: input should be at least least (6)"),
        ('{"grpo": {"group": 4}}', "overrides: grpo.group: is now grpo.group_size"),
        ('{"grpo": {"stepz": 1, "group_sise": 2}}', "(and 1 more)"),
        # Sections alone: the others are parameters of the run, or compiled in.
        ('{"seed": 3}', "overrides: seed: is no section; "),
        ('{"store": "s3://b/x"}', "overrides: store: is no section; "),
        ('{"model": "nano"}', "overrides: model: is no section; "),
        # Not settings at all.
        ('{"grpo": {"steps": 1}', 'expected sections and fields as one JSON object, such as {"grpo": '),
        ("grpo.steps=1", "found 'grpo.steps=1'"),
        ("[1]", "found '[1]'"),
        ("3", "found '3'"),
        ("null", "found 'null'"),
    ],
)
def test_wrong_overrides_are_one_line(overrides: str, said: str) -> None:
    message = refusal(overrides)
    assert message.startswith("overrides")
    assert said in message


@pytest.mark.parametrize("pools", ['{"trainer": {"gpus": 1}}', "{}", "3"])
def test_pools_are_refused_with_the_command_that_compiles_them_in(pools: str) -> None:
    message = refusal(f'{{"pools": {pools}, "grpo": {{"steps": 1}}}}')
    assert "compiled into a pipeline" in message
    assert "`mathloop submit --profile FILE`" in message


def test_every_section_is_a_stages_own_config_and_goes_along_whole() -> None:
    settings = parse_settings({"grpo": {"steps": 7}, "seed": 5})
    for name in SECTIONS:
        config = getattr(settings, name)
        assert type(config).model_validate_json(settings.section(name)) == config, name
    assert json.loads(settings.section("grpo"))["steps"] == 7
    assert set(SECTIONS) - set(STAGE_SECTIONS) == {"pools"}


def test_a_value_of_every_field_comes_back_from_a_runs_json() -> None:
    assert resolve(Settings().model_dump_json(), "{}") == Settings()
    assert resolve("", Settings().model_dump_json(include=set(STAGE_SECTIONS))) == Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().seed = 4  # type: ignore[misc]
    for name in SECTIONS:
        assert getattr(Settings(), name).model_config["frozen"], name
        assert getattr(Settings(), name).model_config["extra"] == "forbid", name


def test_every_setting_says_what_it_is() -> None:
    def silent(model: Any, above: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                assert inner.__doc__, above + name
                found += silent(inner, f"{above}{name}.")
            elif len(field.description or "") < 5:
                found.append(above + name)
        return found

    assert silent(Settings) == []


def test_preflight_hands_on_every_section() -> None:
    """KFP reads a component's outputs from its source, so that they are spelled there once more."""
    hint = "add the section to the outputs in components/preflight.py, in the order of Settings"
    outputs = inspect.signature(preflight.python_func).return_annotation
    assert outputs._fields == Start._fields, hint
    assert [name for name in outputs._fields if name in SECTIONS] == list(STAGE_SECTIONS), hint
    assert set(preflight.component_spec.outputs) == {*outputs._fields, "summary"}, hint
    assert all(outputs.__annotations__[name] is str for name in STAGE_SECTIONS)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    length: int = Field(ge=1)
    width: float | None = None


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: Inner | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[str, int] = {}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"inner": {"length": 0}}, "f: inner.length: input should be greater than or equal to 1, found 0"),
        ({"inner": {}}, "f: inner.length: missing; add it"),
        (
            {"inner": {"lenght": 1}},
            "f: inner.lenght: no such field, did you mean 'length'; known: length, width",
        ),
        (
            {"several": [{"length": 1}, {"length": 1, "widht": 2}]},
            "f: several.1.widht: no such field, did you mean",
        ),
        ({"innner": 1}, "f: innner: no such field, did you mean 'inner'; known: by_name, inner, several"),
        ({"by_name": {"a": "b"}}, "f: by_name.a: input should be a valid integer"),
        ({"inner": "x" * 500}, "…"),
    ],
)
def test_a_mistake_names_field_expectation_and_what_was_found(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    line = first_mistake(caught.value, Outer).line("f")
    assert said in line
    assert "\n" not in line
    assert len(line) < 300


def test_a_pools_limit_is_its_request_unless_one_is_named() -> None:
    assert Pool().resources() == {"requests": {"cpu": "500m", "memory": "1Gi"}}
    own = {"cpu": "4", "memory": "16Gi"}
    assert Pool(cpu="4", memory="16Gi").resources() == {"requests": own, "limits": own}
    assert Pool(cpu_limit="250m", memory_limit="64Gi").resources() == {
        "limits": {"cpu": "250m", "memory": "64Gi"}
    }
    with pytest.raises(
        ValidationError, match=r"memory \(2Gi\) is more than memory_limit \(1500Mi\): lower it"
    ):
        Pool(memory="2Gi", memory_limit="1500Mi")


def test_a_setting_that_an_older_round_lacks_is_a_change_only_if_it_is_not_the_default() -> None:
    steps = Settings().grpo.steps
    older, newer = {"grpo": {"group_size": 8}}, {"grpo": {"group_size": 8, "steps": steps}}
    assert changes(older, newer) == changes(newer, older) == []
    newer["grpo"]["steps"] += 1
    assert changes(older, newer) == [("grpo.steps", None, steps + 1)]
    assert changes({"model": "a"}, {"samples": 8}) == [("model", "a", None), ("samples", None, 8)]
