"""``voxline corpora``: what concerns corpora before there is a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at corpora before they are run.")


@app.command()
def inspect(
    path: Annotated[str, typer.Argument(help="A folder or URL with a corpus.")],
) -> None:
    """Guess a corpus' layout; print the entry to paste, ten rows of what would be read, and what is faulty."""
    from assets.corpora.inspection import inspect_root
    from assets.corpora.inspection_text import report

    inspection = inspect_root(path if "://" in path else str(Path(path).resolve()))
    # All but the entry is a comment, so that the whole output is YAML.
    sys.stdout.write(report(inspection))
    if inspection.best is None:
        raise typer.Exit(1)
