"""What one home works on: its corpora file, profile and time zone; kept in ``<home>/voxline.yaml``.

``voxline run`` writes the file, so that the Dagster UI and the nightly schedule do the same afterwards; a UI that is
running already is told to read it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

import typer
import yaml
from pydantic import ValidationError, field_validator

from training_jobs.spec import ProfileName
from validation.atomic import write_text
from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping

SETTINGS_FILE = "voxline.yaml"
_REPOSITORY = Path(__file__).parents[1]

# Of every command.
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Where everything is kept; $DAGSTER_HOME, else dagster_home/.", show_default=False
    ),
]


class Settings(Strict):
    """One home's settings."""

    corpora: str | None = None
    profile: ProfileName = "tiny"
    time_zone: str = "UTC"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(
                f"{value!r} is not a time zone of the tz database, such as {ZoneInfo('UTC').key}"
            )
        return value


def default_home() -> Path:
    """``$DAGSTER_HOME``, else ``dagster_home/`` of this checkout."""
    return Path(os.environ.get("DAGSTER_HOME") or _REPOSITORY / "dagster_home").resolve()


def prepare_home(home: Path) -> None:
    """Make ``home`` a Dagster home, with the repository's ``dagster.yaml`` unless it has its own."""
    home.mkdir(parents=True, exist_ok=True)
    target = home / "dagster.yaml"
    if not target.exists():
        source = _REPOSITORY / "dagster_home" / "dagster.yaml"
        write_text(target, source.read_text(encoding="utf-8"))


def require_settings(home: Path) -> Settings:
    """The settings of a home that has been worked in.

    Raises:
        ConfigurationError: if ``home`` is none, or one of its settings is wrong; nothing is made.
    """
    if not (home / SETTINGS_FILE).is_file():
        raise ConfigurationError(
            f"{home} has no {SETTINGS_FILE}: nothing has run there yet. Start with: "
            f"voxline run --corpora FILE --profile NAME --home {home}"
        )
    return read_settings(home)


def read_settings(home: Path) -> Settings:
    """The home's settings; the defaults where it has none yet.

    Raises:
        ConfigurationError: naming the file, the entry and the value.
    """
    path = home / SETTINGS_FILE
    if not path.is_file():
        return Settings()
    try:
        settings = Settings.model_validate(read_yaml_mapping(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from error
    if settings.corpora is None:
        return settings
    return settings.model_copy(update={"corpora": str(home.resolve() / settings.corpora)})


def write_settings(home: Path, settings: Settings) -> None:
    """Keep the settings, atomically; a corpora file in the home by its place there, so that the home can be moved."""
    values = settings.model_dump()
    if settings.corpora is not None and Path(settings.corpora).is_relative_to(home.resolve()):
        values["corpora"] = str(Path(settings.corpora).relative_to(home.resolve()))
    write_text(home / SETTINGS_FILE, yaml.safe_dump(values, sort_keys=False))
