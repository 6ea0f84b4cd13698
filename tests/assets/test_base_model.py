"""A published base model is known by its content, and read once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import assets.base_model
from assets.base_model import source_digest
from training_jobs.profile import BaseModelSettings
from validation.errors import ConfigurationError


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Files as a published model has them, and one that says nothing of the model."""
    directory = tmp_path / "published"
    directory.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors", "README.md"):
        (directory / name).write_text(name)
    return directory


def digest(directory: Path, known: Path) -> str:
    return source_digest(BaseModelSettings(directory=str(directory)), known)


def test_a_copied_or_touched_model_is_the_same_and_a_changed_byte_is_not(
    tmp_path: Path, published: Path
) -> None:
    known = tmp_path / "known.json"
    first = digest(published, known)
    os.utime(published / "model.safetensors", (1, 1))
    assert digest(published, known) == first
    assert digest(Path(shutil.copytree(published, tmp_path / "copy")), known) == first
    (published / "README.md").write_text("another")
    assert digest(published, known) == first
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        before = digest(published, known)
        (published / name).write_text("another")
        assert digest(published, known) != before, name


def test_gigabytes_are_read_once(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tmp_path / "known.json"
    first = digest(published, known)

    def read(path: Path) -> str:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(assets.base_model, "_digest", read)
    assert digest(published, known) == first


def test_a_model_that_is_not_there_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no config\.json"):
        digest(tmp_path / "absent", tmp_path / "known.json")
