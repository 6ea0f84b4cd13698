"""Files that a command writes where its user says."""

from __future__ import annotations

from pathlib import Path

from validation.errors import ConfigurationError


def require_file_name(output: Path) -> None:
    """Make the folder of ``--output``, before any work is done for it.

    Raises:
        ConfigurationError: if it is a folder, or its folder cannot be made; names the value.
    """
    if output.is_dir():
        raise ConfigurationError(f"--output {output} is a folder; wanted is the name of a file")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--output {output}: its folder cannot be made: {error.strerror}") from error
