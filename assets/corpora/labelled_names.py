"""Reader ``labelled_names``: what is said, and by whom, stands in the file's name (Free Spoken Digits and the like).

Every file below the root is a row; its id is its path below the root, extension included, since two files may differ
in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import field_validator

from assets.corpora.options import ReaderOptions, checked_pattern
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import Row, SourceProblem, Utterance


class LabelledNamesOptions(ReaderOptions):
    """How a name is read.

    Attributes:
        pattern: A regular expression that the whole file name (without its folder) must match, with a group ``label``
            and, if wanted, ``speaker`` and others; all groups are fields for the split rules.
        labels: The text of each label; without it the label is the text.
    """

    pattern: str
    labels: dict[str, str] | None = None

    @field_validator("pattern")
    @classmethod
    def _has_label(cls, pattern: str) -> str:
        if "label" not in re.compile(checked_pattern(pattern)).groupindex:
            raise ValueError("needs a group (?P<label>…)")
        return pattern

    def wanted(self) -> str:
        """Any file."""
        return f"files whose names match {self.pattern!r}"

    def field_names(self) -> frozenset[str]:
        """The groups of the pattern."""
        return frozenset(re.compile(self.pattern).groupindex)


def read_labelled_names(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """One row per file, in the order of their paths."""
    assert isinstance(options, LabelledNamesOptions)
    pattern = re.compile(options.pattern)
    for name in root.files:
        match = pattern.fullmatch(name.rpartition("/")[2])
        if match is None:
            detail = f"{name}: the file's name does not match the pattern {options.pattern!r}"
            yield SourceProblem(name, name, "unmatched_name", detail)
            continue
        # A group that took no part in the match is an empty field, not a missing one.
        fields = {group: value or "" for group, value in match.groupdict().items()}
        label = fields["label"]
        if options.labels is not None and label not in options.labels:
            detail = f"{name}: label {label!r} has no text; labels are {', '.join(sorted(options.labels))}"
            yield SourceProblem(name, name, "unknown_label", detail)
            continue
        text = label if options.labels is None else options.labels[label]
        yield Utterance(name, name, name, text, fields.get("speaker") or "unknown", fields=fields)
