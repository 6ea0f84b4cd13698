"""``voxline augment``: hear what training hears."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.settings import HomeOption, default_home, require_settings

app = typer.Typer(no_args_is_help=True, help="Look at augmented training rows.")


@app.command()
def render(
    row: Annotated[str, typer.Option("--row", help="A training row, or a variant: ROW~COPY.")],
    output: Annotated[Path, typer.Option("--output", help="The WAV file to write.")],
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="Its corpus, where several have such a row.")
    ] = None,
    marker: Annotated[int, typer.Option(min=0, help="Which <|audio|> of the row, from 0.")] = 0,
    rate_hz: Annotated[
        int, typer.Option("--rate", help="Of the audio tokenizer, in Hz: 22050, or 16000 for the view.")
    ] = 22_050,
    home: HomeOption = None,
) -> None:
    """Make an audio of a training row again, as its tokens were made from it, and say what it went through."""
    import soundfile

    from assets.workspace import Workspace
    from pipelines.output import require_file_name
    from training_jobs.augmented_audio import corpus_of_row
    from training_jobs.augmented_audio import render as made_again
    from validation.atomic import replacing
    from validation.errors import ConfigurationError
    from validation.stored_audio import STORED_RATE_HZ, VIEW_RATE_HZ

    if rate_hz not in (STORED_RATE_HZ, VIEW_RATE_HZ):
        raise ConfigurationError(f"--rate is {rate_hz}; it may be {STORED_RATE_HZ} or {VIEW_RATE_HZ}")
    require_file_name(output)
    place = (home or default_home()).resolve()
    settings = require_settings(place)
    workspace = Workspace(home=str(place), corpora_file=settings.corpora)
    corpora = workspace.corpus_names if corpus is None else [workspace.corpus(corpus).name]
    found = corpus_of_row(workspace.lake, corpora, row)
    rendered = made_again(workspace.lake, found, row, marker, rate_hz)
    with replacing(output) as working:
        soundfile.write(working, rendered.samples, rendered.rate_hz, subtype="PCM_16", format="WAV")
    seconds = rendered.samples.size / rendered.rate_hz
    told = rendered.augmentation or "nothing: it is the recording itself"
    sys.stdout.write(f"{output}: {seconds:.2f} s of {found}/{row}; it went through {told}\n")
