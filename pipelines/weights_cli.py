"""``voxline import`` and ``voxline export``: weights from elsewhere, and weights for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.settings import HomeOption, default_home, require_settings
from pipelines.shown import escape
from training_jobs.profile import load_profile
from training_jobs.spec import PROFILES, STAGES, ProfileName
from validation.errors import ConfigurationError

_console = Console(highlight=False, soft_wrap=True)


def import_weights(
    source: Annotated[Path, typer.Argument(help="A directory of Qwen2.5, VITA-Audio-Boost or -Balance.")],
    name: Annotated[str, typer.Option("--as", help="What to call the weights in this home.")],
    start_at: Annotated[
        str | None, typer.Option("--start-at", help=f"The first stage to train: {', '.join(STAGES)}.")
    ] = None,
    modules: Annotated[
        int | None, typer.Option("--modules", help="Keep the first of the MCTP modules only; 0: none.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Of the weights, where their card does not say.")
    ] = None,
    audio_tokenizer: Annotated[
        Path | None,
        typer.Option("--audio-tokenizer", help="Directory of the one that made the audio tokens they know."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Check published weights, copy them into the home, and keep their digest: to be trained from."""
    from training_jobs import import_weights as importing
    from training_jobs.imported import WEIGHTS_DIR, unknown_audio_tokens
    from training_jobs.profile import BaseModelSettings

    place = (home or default_home()).resolve()
    start = next((stage for stage in STAGES if stage == start_at), None)
    if start_at is not None and start is None:
        raise ConfigurationError(f"--start-at is {start_at!r}; it may be {', '.join(STAGES)}")
    done = importing.import_weights(
        source,
        place,
        name,
        modules,
        start,
        licence,
        audio_tokenizer,
        lambda line: _console.print(escape(line)),
    )
    left_out = f" ({done.modules_left_out} left out)" if done.modules_left_out else ""
    _console.print(
        f"{done.kind}, {done.parameters:,} parameters, {done.modules} MCTP modules{left_out}, {done.tokens:,} tokens, "
        f"{done.audio_codes:,} of them audio; licence {escape(done.licence)}"
    )
    _console.print(f"digest {done.digest}")
    _console.print(f"training starts with {done.start_at}:")
    directory = place / WEIGHTS_DIR / name
    profile = next((one for one in PROFILES if _width_of(one) == done.hidden_size), None)
    if profile is None:
        widths = ", ".join(f"{one}: {width}" for one in PROFILES if (width := _width_of(one)) is not None)
        _console.print(
            f"no profile trains weights of hidden_size {done.hidden_size} ({widths}): they can be looked at, and not "
            "trained from"
        )
        return
    command = f"VOXLINE_BASE_MODEL={directory} voxline run --corpora FILE --profile {profile} --home {place}"
    _console.print(escape(command))
    if (unknown := unknown_audio_tokens(BaseModelSettings(directory=str(directory)))) is not None:
        _console.print(f"this will be refused: {escape(unknown)}")


def _width_of(profile: ProfileName) -> int | None:
    """The hidden_size of the published model that a profile trains; ``None`` for one that makes its own."""
    return load_profile(profile).base_model.hidden_size


def export(
    what: Annotated[str, typer.Argument(help="A stage, a registered version's number, or an alias.")],
    directory: Annotated[Path, typer.Argument(help="Where to write it; not there yet, or empty.")],
    code_from: Annotated[
        Path | None,
        typer.Option(
            "--code-from", help="A directory with upstream's configuration_qwen2.py and modeling_qwen2.py."
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write a checkpoint in upstream's format, with its tokenizers and a model card."""
    from assets.workspace import Workspace
    from pipelines.exporting import export as exported_to

    place = (home or default_home()).resolve()
    settings = require_settings(place)
    workspace = Workspace(home=str(place), corpora_file=settings.corpora, profile_name=settings.profile)
    done = exported_to(workspace, what, directory, code_from)
    _console.print(
        f"{escape(str(directory))}: {len(done.weights)} files of weights, {done.modules} MCTP modules, "
        f"{done.audio_codes:,} audio tokens, schedule {list(done.schedule)}"
    )
    if not done.has_code:
        _console.print(
            "Upstream's inference_sts.py needs its own class beside the weights: "
            "--code-from, with the directory of its published weights"
        )
