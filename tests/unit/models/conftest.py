"""A policy and a reward model, in folders that a test may break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.model_faults import write_models


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture
def policy(_written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_written / "policy", tmp_path / "policy")


@pytest.fixture
def reward_model(_written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_written / "reward_model", tmp_path / "reward_model")
