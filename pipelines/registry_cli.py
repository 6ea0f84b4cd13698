"""``voxline promote`` and ``voxline rollback``: which version is champion, decided by hand, with name and reason."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.settings import HomeOption, default_home, require_settings
from pipelines.shown import escape
from validation.errors import ConfigurationError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from training_jobs.promotion import Change, Crowned

_console = Console(highlight=False, soft_wrap=True)
_ByOption = Annotated[str | None, typer.Option("--by", help="Who decides it; this user.", show_default=False)]
_WhyOption = Annotated[str, typer.Option("--why", help="Kept with the version.")]


def promote(
    version: Annotated[str, typer.Argument(help="A registered version's number, or an alias: candidate.")],
    why: _WhyOption,
    by: _ByOption = None,
    home: HomeOption = None,
) -> None:
    """Make a registered version champion, whatever the gate has said of it."""
    from training_jobs import promotion

    client, uri, change = _opened(home, by, why)
    crowned = promotion.promote(client, uri, version, change)
    if not crowned.changed:
        _console.print(f"version {crowned.champion.version} is champion already: nothing was changed")
        return
    _say(crowned, change)
    if crowned.champion.tags.get("gate") == "failed":
        _console.print("the gate had refused it:")
        for line in crowned.champion.tags.get("gate_reasons", "").splitlines():
            if line.startswith("failed: "):
                _console.print(escape(f"  {line}"))


def rollback(why: _WhyOption, by: _ByOption = None, home: HomeOption = None) -> None:
    """Make the version champion again that was before the present one."""
    from training_jobs import promotion

    client, uri, change = _opened(home, by, why)
    _say(promotion.rollback(client, uri, change), change)


def _opened(home: Path | None, by: str | None, why: str) -> tuple[MlflowClient, str, Change]:
    from assets.workspace import Workspace
    from training_jobs.promotion import Change, open_registry

    place = (home or default_home()).resolve()
    require_settings(place)
    change = Change.now(_user() if by is None else by, why)
    uri = Workspace(home=str(place)).tracking_uri
    return open_registry(uri), uri, change


def _user() -> str:
    """This user's name.

    Raises:
        ConfigurationError: where the machine knows none, as in some containers.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise ConfigurationError(f"this user has no name ({error}): say who decides it, with --by") from error


def _say(crowned: Crowned, change: Change) -> None:
    replaced = f", in place of version {crowned.replaced}" if crowned.replaced else ""
    _console.print(
        escape(
            f"version {crowned.champion.version} is champion{replaced}: by {change.by}, {change.at}: {change.why}"
        )
    )
