"""``base_model``: where training starts, its vocabulary extended by the audio tokens."""

import json
from pathlib import Path

import dagster as dg

from assets.outputs import Outputs, inputs_digest
from assets.programs import Pipes, command_of, materialize_by_program
from assets.workspace import ONE_RUN, Workspace
from training_jobs.imported import AUDIO_TOKENIZER_DIR, IMPORTED_FILE, read_imported
from training_jobs.jobs import BaseModelJob
from training_jobs.profile import BaseModelSettings, base_model_directory
from validation.atomic import write_text
from validation.digests import digest_stream
from validation.errors import ConfigurationError

RECIPE = 3
DIGESTS_FILE = "source_digests.json"
# What is read of a published directory: config, text tokenizer, weights.
_READ = (".json", ".jinja", ".model", ".safetensors", ".txt")


def source_digest(settings: BaseModelSettings, known: Path) -> str:
    """Digest of the settings, or of the content of the published directory where one is named.

    Args:
        known: a file in the home that keeps the files' digests, so that gigabytes are read again only where size or
            time of change say that they may be others.

    Raises:
        ConfigurationError: if the directory is not there, or imported weights have changed since.
    """
    if settings.directory is None:
        return inputs_digest(RECIPE, settings=settings.model_dump())
    directory = base_model_directory(settings)
    imported = read_imported(directory)
    files = [path for path in directory.iterdir() if path.is_file() and path.suffix in _READ]
    if imported is not None:
        files += (directory / AUDIO_TOKENIZER_DIR).glob("*")
    # What an import says of itself, such as from where it came, makes no other model.
    paths = sorted(path for path in files if path.name != IMPORTED_FILE)
    before: dict[str, str] = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    after, content = {}, []
    for path in paths:
        at = path.stat()
        key = f"{path.resolve()} {at.st_size} {at.st_mtime_ns}"
        after[key] = before.get(key) or _digest(path)
        name = path.relative_to(directory).as_posix()
        content.append([name, after[key]])
        if imported is not None and imported.files.get(name) != after[key]:
            raise ConfigurationError(
                f"{path} has changed since the weights were imported: its SHA-256 is {after[key]}, by "
                f"{IMPORTED_FILE} {imported.files.get(name)}; remove the directory and import them again"
            )
    if after != before:
        write_text(known, json.dumps(after, indent=1))
    return inputs_digest(RECIPE, content=content)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return digest_stream(stream)


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        backfill_policy=ONE_RUN,
        group_name="training",
        kinds={"pytorch", "huggingface"},
        description="Qwen2 weights and text tokenizer, extended by 20 special and the audio tokens.",
    )
    def base_model(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        profile = workspace.profile
        codes, seed = profile.audio_tokenizer.codes, profile.audio_tokenizer.seed
        source = source_digest(profile.base_model, workspace.training_dir / "base_model" / DIGESTS_FILE)
        metadata = materialize_by_program(
            context,
            pipes,
            Outputs(workspace.training_dir),
            inputs_digest(RECIPE, source=source, codes=codes, seed=seed),
            command_of(workspace, "base_model"),
            lambda directory: BaseModelJob(
                settings=profile.base_model, audio_codes=codes, seed=seed, output_dir=directory
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return base_model
