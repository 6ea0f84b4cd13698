"""Options of readers whose folders and file names say who speaks and in which language."""

from __future__ import annotations

import re

from pydantic import field_validator

from assets.corpora.options import ReaderOptions, checked_pattern
from assets.corpora.rows import RowError


class PathPatternOptions(ReaderOptions):
    """What a path says.

    Attributes:
        pattern: A regular expression that the whole path below the root must match, without the file's extension. Its
            groups are fields for the split rules; ``speaker`` and ``language`` are also the row's own.
    """

    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return None if pattern is None else checked_pattern(pattern)

    def field_names(self) -> frozenset[str]:
        """The groups of the pattern."""
        return frozenset(re.compile(self.pattern or "").groupindex)

    def path_fields(self, stem: str) -> dict[str, str]:
        """The groups found in a path without extension; those that took no part are empty.

        Raises:
            RowError: if the path does not match.
        """
        if self.pattern is None:
            return {}
        match = re.fullmatch(self.pattern, stem)
        if match is None:
            raise RowError("unmatched_name", f"the path {stem!r} does not match the pattern {self.pattern!r}")
        return {group: value or "" for group, value in match.groupdict().items()}
