"""A home's settings are kept, checked and defaulted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings import Settings, prepare_home, read_settings, write_settings
from validation.errors import ConfigurationError


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    settings = Settings(corpora="/somewhere/corpora.yaml", profile="tiny", time_zone="Asia/Shanghai")
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings
    assert [path.name for path in tmp_path.iterdir()] == ["voxline.yaml"]


def test_a_corpora_file_in_the_home_moves_with_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_settings(old, Settings(corpora=str(old / "sample" / "corpora.yaml")))
    assert read_settings(old).corpora == str(old / "sample" / "corpora.yaml")
    old.rename(new)
    assert read_settings(new).corpora == str(new / "sample" / "corpora.yaml")


def test_a_home_without_settings_has_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings(corpora=None, profile="tiny", time_zone="UTC")


@pytest.mark.parametrize(
    ("line", "said"),
    [("profle: tiny", "profle"), ("profile: huge", "huge"), ("time_zone: Mars/Olympus", "Mars/Olympus")],
)
def test_wrong_settings_name_file_and_value(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "voxline.yaml").write_text(line)
    with pytest.raises(ConfigurationError, match=said) as error:
        read_settings(tmp_path)
    assert "voxline.yaml" in str(error.value)


def test_a_new_home_gets_the_instance_file_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    prepare_home(tmp_path / "new")
    assert "pools" in (tmp_path / "new" / "dagster.yaml").read_text()
    (tmp_path / "new" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    prepare_home(tmp_path / "new")
    assert (tmp_path / "new" / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_an_instance_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(path: Path, text: str, **_: object) -> int:
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(OSError, match="full"):
        prepare_home(tmp_path)
    assert not (tmp_path / "dagster.yaml").exists()
