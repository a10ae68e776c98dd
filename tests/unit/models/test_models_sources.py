"""Models from a bucket or the Hub: copied by commit, weights and configs alone, one line where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadModel
from mathloop.models.sources import is_remote, obtained
from tests.unit.training.toy import write_toy

COMMIT = "4a83ca6e4526a4f2da3aa259ec36c259f66b2ab2"


@pytest.mark.parametrize("source", ["hf://Qwen/Qwen2.5-Math-1.5B", "hf://a/b@main", "hf://b@" + COMMIT])
def test_a_hub_model_is_named_by_its_commit(source: str) -> None:
    with pytest.raises(BadModel, match=r"expected hf://OWNER/NAME@COMMIT"):
        is_remote(source)


def test_a_hub_model_is_copied_without_code_or_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path)
    asked: dict[str, Any] = {}

    def download(name: str, **given: Any) -> str:
        asked.update(name=name, **given)
        return str(tmp_path / "policy")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with obtained(f"hf://Qwen/Qwen2.5-Math-1.5B@{COMMIT}") as folder:
        assert folder == tmp_path / "policy"
    assert (asked["name"], asked["revision"]) == ("Qwen/Qwen2.5-Math-1.5B", COMMIT)
    assert not {"*.bin", "*.py", "*.pt"} & set(asked["allow_patterns"])
    assert set(asked["ignore_patterns"]) == {"*/*.safetensors", "consolidated*"}


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(name: str, **given: Any) -> str:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", away)
    with pytest.raises(BadModel) as refused, obtained(f"hf://a/b@{COMMIT}"):
        pass
    assert "no route to host" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_local_folder_is_itself(tmp_path: Path) -> None:
    write_toy(tmp_path)
    with obtained(str(tmp_path / "policy")) as folder:
        assert folder == tmp_path / "policy"
    with pytest.raises(BadModel, match="there is no such folder"), obtained(str(tmp_path / "none")):
        pass
