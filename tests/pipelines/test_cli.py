"""The voxline command refuses what is wrong before any work starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app

runner = CliRunner()


def refused(arguments: list[str]) -> str:
    """The words with which a command is refused."""
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, ValueError), result
    return str(result.exception)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("corpora: [{name: a, reader: librispeach, root: .}]", ["librispeach", "librispeech"]),
        ("corpora: [{name: a, reader: librispeech, root: nowhere, licence: x, language: en}]", ["nowhere"]),
        ("corpora: [{name: a, reader: librispeech, root: ., licence: x, language: en, rate: 3}]", ["rate"]),
        ("corpora: []", ["corpora"]),
    ],
)
def test_a_wrong_corpora_file_is_refused_before_anything_is_written(
    tmp_path: Path, document: str, said: list[str]
) -> None:
    corpora = tmp_path / "corpora.yaml"
    corpora.write_text(document)
    home = tmp_path / "home"
    message = refused(["run", "--corpora", str(corpora), "--home", str(home)])
    for words in said:
        assert words in message
    assert str(corpora) in message
    assert not home.exists()


def test_an_unknown_profile_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    message = refused(
        ["run", "--corpora", str(tmp_path / "x.yaml"), "--profile", "huge", "--home", str(tmp_path)]
    )
    assert "huge" in message
    assert "tiny" in message


def test_the_7b_profile_without_its_base_model_is_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOXLINE_BASE_MODEL", raising=False)
    (tmp_path / "corpus").mkdir()
    corpora = tmp_path / "corpora.yaml"
    corpora.write_text("corpora: [{name: a, reader: librispeech, root: corpus, licence: x, language: en}]")
    message = refused(["run", "--corpora", str(corpora), "--profile", "7b", "--home", str(tmp_path / "home")])
    assert "VOXLINE_BASE_MODEL" in message
    assert not (tmp_path / "home").exists()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    assert "xml" in refused(["sql", "SELECT 1", "--format", "xml", "--home", str(tmp_path)])
