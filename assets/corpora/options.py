"""Base of the readers' options."""

from __future__ import annotations

import re

from validation.strict import Strict


class ReaderOptions(Strict):
    """What a reader can be told under ``options:``."""

    def required_files(self) -> tuple[str, ...]:
        """Files, relative to the root, without which there is nothing to read."""
        return ()

    def wanted(self) -> str:
        """What the reader looks for below the root, for people who put something else there.

        Raises:
            NotImplementedError: for the base, which is no reader's.
        """
        raise NotImplementedError

    def sets_tasks(self) -> bool:
        """Whether the rows say themselves what they are for, so that the entry must not."""
        return False

    def is_cut(self) -> bool:
        """Whether its rows are whole recordings without a text, which may be cut into pieces."""
        return False

    def field_names(self) -> frozenset[str]:
        """Fields that split rules may use, besides those that every reader gives."""
        return frozenset()


class JsonLinesOptions(ReaderOptions):
    """Which files of JSON lines are read, each line with messages.

    Attributes:
        files: A pattern of their paths below the root, such as ``*.jsonl``; ``*`` stands for folders too.
    """

    files: str = "*.jsonl"

    def wanted(self) -> str:
        """The lines of the files."""
        return f"lines of files {self.files!r}"

    def sets_tasks(self) -> bool:
        """Each row has messages."""
        return True


def checked_pattern(pattern: str) -> str:
    """The pattern, if it is a regular expression.

    Raises:
        ValueError: with the pattern and what is wrong with it.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern
