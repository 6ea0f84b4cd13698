"""Reader ``common_voice``: one of a language's TSV files, such as ``train.tsv``, with ``clips/`` beside it.

Columns are told by the header, since each release has others. ``clips/`` holds the audio of all lists together, so
that audio which this list does not name is none of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname, join, splitext

from assets.corpora.delimited import Delimited, rows_of_table
from assets.corpora.options import ReaderOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, RowError
from assets.corpora.utterance import Row, Utterance

_NEEDED = ("client_id", "path", "sentence")
_FIELDS = (
    "up_votes",
    "down_votes",
    "age",
    "gender",
    "accents",
    "variant",
    "locale",
    "segment",
    "sentence_domain",
)
_FORM = Delimited("\t", quoted=False)


class CommonVoiceOptions(ReaderOptions):
    """Which list is read.

    Attributes:
        file: The list; ``clips/`` lies beside it.
    """

    file: InRoot = "validated.tsv"

    def wanted(self) -> str:
        """The list's rows."""
        return f"rows with {', '.join(_NEEDED)} in {self.file}"

    def required_files(self) -> tuple[str, ...]:
        """The list."""
        return (self.file,)

    def field_names(self) -> frozenset[str]:
        """What the release has of votes, age, gender, accents, variant, locale, segment and domain; empty otherwise."""
        return frozenset(_FIELDS)


def read_common_voice(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the list.

    Raises:
        ConfigurationError: if the header names a column twice or lacks ``client_id``, ``path`` or ``sentence``.
    """
    assert isinstance(options, CommonVoiceOptions)
    clips = join(dirname(options.file), "clips")

    def make(cells: dict[str, str], source: str) -> Utterance:
        path, speaker = cells["path"], cells["client_id"]
        utterance_id = splitext(path)[0]
        if not utterance_id or not speaker:
            raise RowError("malformed_row", f"column {'client_id' if path else 'path'} is empty")
        fields = {name: cells.get(name, "") for name in _FIELDS}
        # Releases before 2022 called it so.
        fields["accents"] = fields["accents"] or cells.get("accent", "")
        audio, language = join(clips, path), fields["locale"] or None
        topic = fields["sentence_domain"] or None
        text = cells["sentence"]
        return Utterance(utterance_id, source, audio, text, speaker, language, fields=fields, topic=topic)

    yield from rows_of_table(root, options.file, _FORM, _NEEDED, make)
