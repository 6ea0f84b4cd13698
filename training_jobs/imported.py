"""Weights that ``voxline import`` has put below a home: what is known of them, and where training starts with them.

Everything here reads ``imported.json`` or ``config.json`` only, so that assets and commands may ask it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from models.published import modules_of
from models.tensor_files import read_json
from training_jobs.profile import BaseModelSettings, base_model_directory
from training_jobs.spec import STAGES, Stage
from validation.errors import ConfigurationError
from validation.strict import Strict, explain

IMPORTED_FILE = "imported.json"
WEIGHTS_DIR = "weights"  # below the home
AUDIO_TOKENIZER_DIR = "audio_tokenizer"  # of an export, and of an import that has one
UNKNOWN = "unknown"
RANDOM_WEIGHTS = "random weights"  # in place of a source, where there was none


class Imported(Strict):
    """What ``imported.json`` says, beside the weights."""

    name: str
    source: str = Field(description="the directory that was read")
    kind: str = Field(description="model_type: qwen2 or qwen2_mtp")
    modules: int = Field(ge=0, description="MCTP modules that were kept")
    modules_left_out: int = Field(ge=0)
    start_at: Stage = Field(description="the first stage that is trained; those before it are passed over")
    parameters: int
    hidden_size: int
    vocabulary_rows: int = Field(description="rows of the embedding")
    tokens: int = Field(description="of the text tokenizer, with those that were added")
    audio_codes: int = Field(description="audio tokens among them")
    audio_tokenizer: str | None = Field(
        default=None, description="digest of the one that is beside the weights"
    )
    licence: str = Field(description="as the model card or the command says it; 'unknown'")
    digest: str = Field(description="of names and contents of the files")
    files: dict[str, str] = Field(description="SHA-256 of each file")


def read_imported(directory: Path) -> Imported | None:
    """What was imported into ``directory``; ``None`` where it is another one.

    Raises:
        ConfigurationError: if ``imported.json`` says something that it cannot; names the file and the entry.
    """
    path = directory / IMPORTED_FILE
    if not path.is_file():
        return None
    try:
        return Imported.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}; import the weights again") from error


def starting_stage(settings: BaseModelSettings) -> Stage:
    """The first stage that is trained on this base model: that of the import, else the first of all."""
    if settings.directory is None:
        return STAGES[0]
    imported = read_imported(base_model_directory(settings))
    return STAGES[0] if imported is None else imported.start_at


def imported_tokenizer(settings: BaseModelSettings) -> tuple[Path, str] | None:
    """Directory and digest of the audio tokenizer that was imported with the base model; ``None`` without one."""
    if settings.directory is None:
        return None
    directory = base_model_directory(settings)
    imported = read_imported(directory)
    if imported is None or imported.audio_tokenizer is None:
        return None
    return directory / AUDIO_TOKENIZER_DIR, imported.audio_tokenizer


def unknown_audio_tokens(settings: BaseModelSettings) -> str | None:
    """Why a stage cannot go on from the imported weights: their audio tokens' tokenizer is not known."""
    if starting_stage(settings) == STAGES[0] or imported_tokenizer(settings) is not None:
        return None
    return (
        f"the weights in {base_model_directory(settings)} know audio tokens, but the tokenizer that makes them is not "
        "there, and one that is trained here makes others: import the weights with --audio-tokenizer DIR, or to be "
        "trained from the first stage on (--modules 0)"
    )


def is_passed_over(settings: BaseModelSettings, stage: Stage) -> bool:
    """Whether ``stage`` comes before the one at which imported weights start."""
    return STAGES.index(stage) < STAGES.index(starting_stage(settings))


def base_modules(settings: BaseModelSettings) -> int:
    """MCTP modules that the base model has already.

    Raises:
        models.errors.CheckpointError: if its ``config.json`` cannot be read.
    """
    if settings.directory is None:
        return 0
    return modules_of(read_json(base_model_directory(settings) / "config.json"))
