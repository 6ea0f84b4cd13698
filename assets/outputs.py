"""Where a training asset's present output lies, and from what it was made.

Outputs are directories named after the digest of their inputs; a pointer per asset, replaced atomically, says
which of them is the present one. A run killed half-way finds its own directory again and goes on in it. Pointers hold
paths relative to the training directory, so that a home can be moved or copied.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_jobs.jobs import read_result
from validation.atomic import write_text
from validation.digests import digest_value
from validation.errors import UserError


class MissingOutputError(UserError):
    """An asset is needed that has never been materialised."""


@dataclass(frozen=True)
class Output:
    """One finished output of an asset."""

    asset: str
    inputs: str
    path: Path

    def result(self) -> dict[str, Any]:
        """What its program left.

        Raises:
            MissingOutputError: if the output was removed.
        """
        result = read_result(self.path)
        if result is None:
            raise MissingOutputError(
                f"{self.asset}: its output {self.path} has no result any more: materialise it again"
            )
        return result


class Outputs:
    """The pointers below one profile's training directory."""

    def __init__(self, training_dir: Path) -> None:
        self._training_dir = training_dir

    def directory(self, asset: str, inputs: str) -> Path:
        """Where the output made from ``inputs`` lies, finished or not."""
        return self._training_dir / asset / inputs[:16]

    def is_done(self, asset: str, inputs: str) -> bool:
        """Whether that output was finished."""
        return read_result(self.directory(asset, inputs)) is not None

    def publish(self, asset: str, inputs: str, pointer: str | None = None) -> Output:
        """Make the finished output the present one, under the asset's name or the pointer's."""
        directory = self.directory(asset, inputs)
        assert read_result(directory) is not None, directory
        place = directory.relative_to(self._training_dir).as_posix()
        document = {"asset": asset, "inputs": inputs, "directory": place}
        write_text(self._pointer(pointer or asset), json.dumps(document, indent=1))
        return Output(asset, inputs, directory)

    def find(self, asset: str) -> Output | None:
        """The present output, if there is one."""
        path = self._pointer(asset)
        if not path.is_file():
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
        return Output(document["asset"], document["inputs"], self._training_dir / document["directory"])

    def present(self, asset: str) -> Output:
        """The present output.

        Raises:
            MissingOutputError: if the asset was never materialised.
        """
        output = self.find(asset)
        if output is None:
            raise MissingOutputError(
                f"{asset} has not been materialised in {self._training_dir}: materialise it first"
            )
        return output

    def _pointer(self, asset: str) -> Path:
        return self._training_dir / "present" / f"{asset}.json"


def inputs_digest(recipe: int, **parts: object) -> str:
    """Digest of everything an output depends on; ``recipe`` is raised when a step's own code changes meaning."""
    return digest_value({"recipe": recipe, **parts})
