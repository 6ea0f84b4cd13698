"""Reader ``untranscribed``: every audio file below the root is a row without a text.

Audio that a tokenizer is trained from has the task ``audio``, what is mixed into other recordings the task ``noise``;
both pass without a text and become no training row.
The id is the file's path below the root, extension included, since two files may differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import splitext
from typing import Literal

from assets.corpora.options import ReaderOptions
from assets.corpora.path_pattern import PathPatternOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError
from assets.corpora.utterance import Row, Utterance
from validation.tasks import NOISE, Task


class UntranscribedOptions(PathPatternOptions):
    """What the recordings are for.

    Attributes:
        purpose: ``tokenizer``: audio that a tokenizer is trained from; ``noise``: what augmentation mixes into training
            rows; ``transcription``: speech that waits for its text, each row of which ends as ``empty_text``. It has
            no default: speech without a text is more often a mistake than meant.
    """

    purpose: Literal["tokenizer", "noise", "transcription"]

    def wanted(self) -> str:
        """Audio."""
        return "audio files"

    def sets_tasks(self) -> bool:
        """Those of a purpose that needs no text."""
        return self.purpose in _TASKS

    def is_cut(self) -> bool:
        """Those of the purpose ``tokenizer``: speech that waits for its text ends before its sound is looked at."""
        return self.purpose == "tokenizer"

    def field_names(self) -> frozenset[str]:
        """The groups of the pattern, and ``purpose``."""
        return super().field_names() | {"purpose"}


_TASKS: dict[str, tuple[Task, ...]] = {"tokenizer": ("audio",), "noise": (NOISE,)}


def read_untranscribed(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """One row per audio file, in the order of their paths."""
    assert isinstance(options, UntranscribedOptions)
    tasks = _TASKS.get(options.purpose)
    for name in root.audio_files():
        try:
            found = options.path_fields(splitext(name)[0])
        except RowError as error:
            yield error.at(name)
            continue
        speaker, language = found.get("speaker") or "unknown", found.get("language") or None
        fields = {**found, "purpose": options.purpose}
        yield Utterance(name, name, name, "", speaker, language, tasks, fields=fields)
