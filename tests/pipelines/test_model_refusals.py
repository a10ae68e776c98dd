"""Broken models through the command line: one line, exit code 2, and nothing left, for each command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.model_faults import FAULTS, write_models
from tests.pipelines.command import refused
from tests.pipelines.forked_commands import Commands

pytestmark = pytest.mark.slow

POLICY: dict[str, list[str]] = {
    "run": ["run", "--profile", "tiny", "--set", "model=policy"],
    "evaluate": ["evaluate", "policy", "problems.jsonl", "--profile", "tiny", "--out", "out.jsonl"],
    "serve": ["serve", "--port", "0", "--model", "policy"],
}
"""Command → its arguments; the policy is in the folder `policy`."""
REWARD_MODEL: dict[str, list[str]] = {
    "evaluate": [*POLICY["evaluate"], "--reward-model", "reward_model"],
    "serve": [*POLICY["serve"], "--reward-model", "reward_model"],
}


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    (folder / "problems.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    return folder


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "here")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", POLICY)
def test_a_broken_policy(commands: Commands, place: Path, command: str, fault: str) -> None:
    break_folder, phrase = FAULTS[fault]
    break_folder(place / "policy")
    line = commands.refused(*POLICY[command], folder=place)
    assert phrase in line
    assert "policy" in line.split(":")[0] + line.split(":")[1]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", REWARD_MODEL)
def test_a_broken_reward_model(commands: Commands, place: Path, command: str, fault: str) -> None:
    break_folder, phrase = FAULTS[fault]
    break_folder(place / "reward_model")
    line = commands.refused(*REWARD_MODEL[command], folder=place)
    if (command, fault) == ("evaluate", "no folder"):  # of the option itself
        assert "'reward_model' does not exist" in line
    else:
        assert line.startswith("reward_model")
        assert phrase in line


@pytest.mark.parametrize("command", POLICY)
def test_a_reward_model_given_as_a_policy(commands: Commands, place: Path, command: str) -> None:
    arguments = [argument.replace("policy", "reward_model") for argument in POLICY[command]]
    line = commands.refused(*arguments, folder=place)
    assert line.startswith("reward_model: a reward model (Qwen2ForRewardModel), expected a policy; ")


@pytest.mark.parametrize("command", REWARD_MODEL)
def test_a_policy_given_as_a_reward_model(commands: Commands, place: Path, command: str) -> None:
    arguments = [argument.replace("reward_model", "policy") for argument in REWARD_MODEL[command]]
    line = commands.refused(*arguments, folder=place)
    assert line.startswith("policy: a policy (Qwen2ForCausalLM) with no reward head, expected a reward model")


def _truncate(place: Path) -> None:
    FAULTS["truncated weights"][0](place / "policy")


def _swap(place: Path) -> None:
    shutil.rmtree(place / "policy")
    shutil.copytree(place / "reward_model", place / "policy")


@pytest.mark.parametrize(
    ("command", "fault", "phrase"),
    [
        ("run", _truncate, "truncated or damaged"),
        ("evaluate", _swap, "expected a policy"),
        ("serve", lambda place: FAULTS["no tokenizer"][0](place / "policy"), "no tokenizer in this folder"),
    ],
)
def test_a_process_of_its_own_says_nothing_more(
    place: Path, command: str, fault: Callable[[Path], None], phrase: str
) -> None:
    fault(place)
    assert phrase in refused(*POLICY[command], folder=place)


def test_a_profiles_own_model_is_checked_too(commands: Commands, place: Path) -> None:
    profile = place / "own.yaml"
    profile.write_text("description: of a test\nmodel: policy\n")
    FAULTS["no chat template"][0](place / "policy")
    line = commands.refused("run", "--profile", "own.yaml", folder=place)
    assert line == "policy: its tokenizer has no chat template; add chat_template.jinja to the folder"
