"""What is known of a row besides its words: which of it training rows have, and how a conversation has it.

A training row may be a conversation of several utterances. Of its speakers, licences and consents all are kept; of each
measure the worst that any of its audio has; of topic, difficulty and other metadata what its first utterance says.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

# What stands for a speaker or a consent that the corpus does not state.
UNKNOWN = "unknown"

# The measures of the audio that training rows have, and which of a conversation's is the worst. The columns are those
# of audio_quality (validation/measures.py says what each is).
WORST: dict[str, Literal["lowest", "highest"]] = {
    "level_dbfs": "lowest",
    "loudness_lufs": "lowest",
    "snr_db": "lowest",
    "dynamic_range_db": "lowest",
    "bandwidth_hz": "lowest",
    "clipped_share": "highest",
    "silence_share": "highest",
    "chars_per_second": "highest",
    "speech_share": "lowest",
    "mos": "lowest",
    "word_error_rate": "highest",
    "char_error_rate": "highest",
}
SCORES = tuple(WORST)

# text: one text; texts: a list of them, of a conversation all that differ; number: a number; stated: as the corpus
# states it, which may be a number.
FieldKind = Literal["text", "texts", "number", "stated"]

# What a mixture may ask of a training row: the name, its column in training_rows, and what it holds.
_COLUMNS: dict[str, tuple[str, FieldKind]] = {
    "corpus": ("corpus", "text"),
    "speaker": ("speakers", "texts"),
    "language": ("language", "text"),
    "licence": ("licences", "texts"),
    "consent": ("consents", "texts"),
    "topic": ("topic", "text"),
    "difficulty": ("difficulty", "stated"),
    "seconds": ("seconds", "number"),
    **{name: (name, "number") for name in SCORES},
}
FIELDS = tuple(_COLUMNS)
_FREE = "metadata."


def is_field(name: str) -> bool:
    """Whether rows have such a field: one of :data:`FIELDS`, or ``metadata.<key>`` of the reader's own."""
    return name in _COLUMNS or (name.startswith(_FREE) and _is_key(name.removeprefix(_FREE)))


def kind_of(name: str) -> FieldKind:
    """What the field holds."""
    return "stated" if name.startswith(_FREE) else _COLUMNS[name][1]


def statement_of(name: str) -> str:
    """The field as an expression of DuckDB over ``training_rows``."""
    if name.startswith(_FREE):
        return f"""json_extract_string(metadata, '$."{name.removeprefix(_FREE)}"')"""
    return _COLUMNS[name][0]


def column_of(name: str) -> str:
    """The column of a field that was selected by :func:`statement_of`; no table has one of that name."""
    return f"field:{name}"


def allowed_fields() -> str:
    """The fields' names, for a person."""
    return f"{', '.join(FIELDS)}, and metadata.<name of a reader's field>"


def worst_of(column: str) -> pl.Expr:
    """The worst of a measure among a conversation's audio; of measures that are null, none."""
    return pl.col(column).min() if WORST[column] == "lowest" else pl.col(column).max()


def _is_key(key: str) -> bool:
    # It stands between quotes in a path of JSON, and that in a statement of SQL.
    return bool(key) and not set(key) & set("\"'\\$") and key.isprintable()
