"""Work folders: a user's mistake leaves none, and after a killed worker the next run finds its own again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mathloop.errors import BadData, MathloopError
from mathloop.work_folders import working


def test_only_a_kill_leaves_the_folder_which_the_same_arguments_find_again(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl"
    source.write_text("{}\n", encoding="utf-8")
    with pytest.raises(BadData), working("stage", out, [source], "{}"):
        raise BadData("a mistake", path=source)
    assert not out.parent.exists()
    with pytest.raises(MathloopError), working("stage", out, [source], "{}") as killed:
        raise MathloopError("a worker process was killed")
    with working("stage", out, [source], '{"other": 1}') as other:
        assert other != killed
    with working("stage", out, [source], "{}") as again:
        assert again == killed
    source.write_text("{}\n{}\n", encoding="utf-8")
    with working("stage", out, [source], "{}") as changed:
        assert changed != killed
    assert list(out.parent.iterdir()) == []
