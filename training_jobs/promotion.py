"""Who is champion: alias ``champion``, the one before under ``previous``, and on both versions by whom and why.

MLflow changes one alias or tag at a time. So the aliases come last, and ``champion`` last of them: what was killed half
way has changed nothing that is served, and is done by doing it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.jobs import Tracking
from training_jobs.registered import (
    CHAMPION,
    PREVIOUS,
    registry_turn,
    set_alias,
    set_tags,
    version_at,
    version_numbered,
)
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.version_weights import find_weights
from validation.errors import UserError
from validation.local_files import spill_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

GATE = "gate"  # who promotes where no person does
BEFORE_TAG = "champion_before"
_PROMOTED, _WITHDRAWN = "promoted", "withdrawn"
_HISTORY_TAG = "champion_history"
_HISTORY_HEAD = "\n\n## As champion\n\n"
_MOST_WORDS = 1000  # characters of a reason


class PromotionError(UserError):
    """A change of champion that cannot be; names the version and what there is."""


@dataclass(frozen=True)
class Change:
    """By whom, why and when (UTC, ISO 8601)."""

    by: str
    why: str
    at: str

    @classmethod
    def now(cls, by: str, why: str) -> Change:
        """The change that is being made.

        Raises:
            PromotionError: if it is not said by whom or why, or at too great a length.
        """
        who, reason = (" ".join(text.split()) for text in (by, why))
        for name, text in (("who", who), ("why", reason)):
            if not text:
                raise PromotionError(f"say {name}: it is kept with the version")
            if len(text) > _MOST_WORDS:
                raise PromotionError(f"{name}: {len(text):,} characters, at most {_MOST_WORDS:,}")
        return cls(who, reason, datetime.now(UTC).isoformat(timespec="seconds"))

    def tags(self, what: str) -> dict[str, str]:
        """For a version."""
        return {f"{what}_by": self.by, f"{what}_why": self.why, f"{what}_at": self.at}


@dataclass(frozen=True)
class Crowned:
    """What is true now: the champion, and the one that it has replaced (``None``: none, or it was champion already)."""

    champion: ModelVersion
    replaced: str | None
    changed: bool


def open_registry(uri: str) -> MlflowClient:
    """A client of the registry at ``uri``.

    Raises:
        PromotionError: if nothing has been registered there, or it does not answer.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise PromotionError(f"nothing is registered: there is no {uri.removeprefix('sqlite:///')}")
    from mlflow.exceptions import MlflowException

    try:
        client = connect(Tracking(uri=uri, artifact_root="", tags={}))
        client.get_registered_model(REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise PromotionError(f"nothing is registered as {REGISTERED_MODEL} in {uri}") from error
        raise PromotionError(f"{uri} does not answer as a registry: {_first_line(error)}") from error
    return client


def promote(client: MlflowClient, uri: str, what: str, change: Change) -> Crowned:
    """Make a version champion by hand, whatever the gate has said of it.

    Args:
        what: its number, or an alias.

    Raises:
        PromotionError: if there is no such version.
        training_jobs.version_weights.LostVersionError: if its weights are gone or have changed.
    """
    version = find_version(client, what)
    _require_weights(client, version)
    crowned = crown(client, uri, version, change)
    assert crowned is not None
    return crowned


def rollback(client: MlflowClient, uri: str, change: Change) -> Crowned:
    """Make the version champion that was before the present one. The alias ``previous`` goes: once more is no way back.

    Raises:
        PromotionError: if none was before.
        training_jobs.version_weights.LostVersionError: if its weights are gone or have changed.
    """
    present, target = version_at(client, CHAMPION), version_at(client, PREVIOUS)
    if target is None or (present is not None and _number(target) == _number(present)):
        raise PromotionError(_no_way_back(present))
    _require_weights(client, target)
    with registry_turn(uri):
        present = version_at(client, CHAMPION)
        _write(
            client, target, change, f"back by rollback, for version {present.version if present else 'none'}"
        )
        if present is not None:
            _withdraw(client, present, change, f"rolled back to version {target.version}")
        set_alias(client, CHAMPION, target)
        client.delete_registered_model_alias(REGISTERED_MODEL, PREVIOUS)
    return Crowned(_again(client, target), None if present is None else _number(present), True)


def crown(
    client: MlflowClient,
    uri: str,
    version: ModelVersion,
    change: Change,
    over: ModelVersion | None = None,
    is_gates: bool = False,
) -> Crowned | None:
    """Make ``version`` champion; where it is already, nothing changes.

    Args:
        over: the champion that the gate has compared it with; ``None``: there was none.
        is_gates: whether the gate decides, and no person. Then another champion than ``over`` is left alone.

    Returns:
        What is true now; ``None`` where the gate has decided over another champion than there is.
    """
    with registry_turn(uri):
        present = version_at(client, CHAMPION)
        replaced = None if present is None else _number(present)
        if present is not None and replaced == _number(version):
            return Crowned(present, None, changed=False)
        if is_gates and replaced != (None if over is None else _number(over)):
            return None
        for name in _WITHDRAWN_TAGS:
            if name in version.tags:
                client.delete_model_version_tag(REGISTERED_MODEL, version.version, name)
        replaced = None if present is None else str(present.version)
        _write(
            client,
            version,
            change,
            f"champion, {f'over version {replaced}' if replaced else 'the first one'}",
        )
        if present is not None:
            set_tags(client, version, {BEFORE_TAG: _number(present)})
            if not is_gates:
                _withdraw(client, present, change, f"replaced by version {version.version}")
            set_alias(client, PREVIOUS, present)
        set_alias(client, CHAMPION, version)
    return Crowned(_again(client, version), replaced, changed=True)


def withdrawn(version: ModelVersion) -> str | None:
    """In words by whom it was taken away from being champion, if by a person."""
    if _WITHDRAWN_TAGS[0] not in version.tags:
        return None
    by, why, at = (version.tags.get(name, "") for name in _WITHDRAWN_TAGS)
    return f"{by} took it away from being champion at {at}: {why}"


def description_with(text: str, version: ModelVersion) -> str:
    """A version's description, the history of its times as champion at the end."""
    history = version.tags.get(_HISTORY_TAG)
    return text.partition(_HISTORY_HEAD)[0] + (f"{_HISTORY_HEAD}{history}" if history else "")


_WITHDRAWN_TAGS = (f"{_WITHDRAWN}_by", f"{_WITHDRAWN}_why", f"{_WITHDRAWN}_at")


def _withdraw(client: MlflowClient, version: ModelVersion, change: Change, what: str) -> None:
    """Note on the present champion that a person takes it away; the gate does not give it back."""
    set_tags(client, version, change.tags(_WITHDRAWN))
    _remember(client, version, change, what)


def _write(client: MlflowClient, version: ModelVersion, change: Change, what: str) -> None:
    set_tags(client, version, change.tags(_PROMOTED))
    _remember(client, version, change, what)


def _remember(client: MlflowClient, version: ModelVersion, change: Change, what: str) -> None:
    stored = _again(client, version)
    lines = stored.tags.get(_HISTORY_TAG, "").splitlines()
    end = f": {what}, by {change.by}: {change.why}"
    if lines and lines[-1].endswith(end):
        lines.pop()  # of an attempt that was killed
    set_tags(client, version, {_HISTORY_TAG: "\n".join([*lines, f"- {change.at}{end}"])})
    text = description_with(stored.description or "", _again(client, version))
    client.update_model_version(REGISTERED_MODEL, version.version, description=text)


def _number(version: ModelVersion) -> str:
    """MLflow gives it as text or as a number, by the store and the call."""
    return str(version.version)


def _again(client: MlflowClient, version: ModelVersion) -> ModelVersion:
    return client.get_model_version(REGISTERED_MODEL, version.version)


def find_version(client: MlflowClient, what: str) -> ModelVersion:
    """The version of this number or alias.

    Raises:
        PromotionError: if there is none; names those that there are.
    """
    found = version_numbered(client, what) if what.isascii() and what.isdigit() else version_at(client, what)
    if found is None:
        versions = client.search_model_versions(f"name='{REGISTERED_MODEL}'")
        numbers = sorted(int(version.version) for version in versions)
        aliases = client.get_registered_model(REGISTERED_MODEL).aliases
        raise PromotionError(
            f"{REGISTERED_MODEL} has no version {what!r}; versions: {', '.join(map(str, numbers)) or 'none'}; aliases: "
            f"{', '.join(f'{alias} = {number}' for alias, number in sorted(aliases.items())) or 'none'}"
        )
    return found


def _require_weights(client: MlflowClient, version: ModelVersion) -> None:
    with spill_folder() as scratch:
        find_weights(client, version, scratch)


def _no_way_back(present: ModelVersion | None) -> str:
    if present is None:
        return "no version is champion, and none was before: voxline promote VERSION --why TEXT"
    before = present.tags.get(BEFORE_TAG)
    how = f"{present.tags.get('promoted_by', 'unknown')}, {present.tags.get('promoted_at', 'unknown')}"
    known = f"before it, version {before} was once" if before else "none was before it"
    return (
        f"no version is previous: version {present.version} is champion ({how}), and {known}; "
        f"voxline promote VERSION --why TEXT takes any"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
