"""A corpus of any size as if its audio had been done: real files for its reader, made-up tables for what needs sound.

Tables are made by DuckDB from the steps' own outputs, so that a lake can be carried from step to step. Columns that
this module does not know get a neutral value of their type: a new column breaks no benchmark.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from assets.audio import results
from assets.audio.settings import AudioSettings
from assets.corpora.config import CorpusEntry
from validation.fingerprint import FINGERPRINT_RECIPE
from validation.lake import Lake
from validation.schemas import TableName, polars_schema
from validation.stored_audio import STORED_RATE_HZ, WAV_HEADER_BYTES

CORPUS = "synthetic"
TOKENIZER = "a" * 64
SECONDS = 4.8
FRAMES = round(SECONDS * STORED_RATE_HZ)
TOKENS = round(SECONDS * 12.5)
CODES = 512
WORDS = 300  # of a fingerprint: 62.5 a second
_UTTERANCES_PER_SPEAKER = 100
_NOISY_EVERY = 50
_PER_FOLDER = 1000
_SAMPLES = 40  # of a source file: enough to be a WAV
_GROUP = 4_096  # rows, as voxline writes them

_RANDOM = "hash(xor(hash(i), k::UBIGINT))"  # of row i and place k; hash(i, k) is not random enough

_TYPES = {
    pl.String(): "VARCHAR",
    pl.Int64(): "BIGINT",
    pl.Int32(): "INTEGER",
    pl.UInt16(): "USMALLINT",
    pl.UInt32(): "UINTEGER",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOLEAN",
}
_NEUTRAL = {"VARCHAR": "NULL", "DOUBLE": "0", "BOOLEAN": "false"}

# Of good speech.
_MEASURES = {
    "duration_s": f"{SECONDS}",
    "level_dbfs": "-23",
    "peak_dbfs": "-3",
    "loudness_lufs": "-23",
    "crest_db": "20",
    "dynamic_range_db": "30",
    "silence_share": "0.1",
    "snr_db": f"CASE WHEN i % {_NOISY_EVERY} = 7 THEN 0.5 ELSE 40 END",
    "rumble_db": "-40",
    "hum_db": "-40",
    "bandwidth_hz": "7900",
    "bandwidth_share": "0.99",
    "channel_correlation": "1",
}


def make_entry(root: Path) -> CorpusEntry:
    """The entry of the corpus below ``root``; every hundredth speaker is held out."""
    return CorpusEntry.model_validate(
        {
            "name": CORPUS,
            "reader": "table",
            "root": str(root),
            "options": {"file": "rows.tsv", "delimiter": "\t", "audio": "path", "text": "text", "id": "id",
                        "speaker": "speaker"},
            "split": [{"by": "hash", "field": "speaker", "fraction": 0.01}],
            "licence": "CC0-1.0",
            "language": "en",
        }
    )  # fmt: skip


def make_corpus(root: Path, rows: int) -> None:
    """A table of so many rows and a tiny WAV for each, no two alike."""
    root.mkdir(parents=True)
    with (root / "rows.tsv").open("w", encoding="utf-8") as table:
        table.write("id\tpath\ttext\tspeaker\n")
        for index in range(rows):
            name = f"audio/{index // _PER_FOLDER:05d}/{index:010d}.wav"
            table.write(f"{_identity(index)}\t{name}\t{_text(index)}\tspeaker {_speaker(index)}\n")
            if index % _PER_FOLDER == 0:
                (root / name).parent.mkdir(parents=True)
            (root / name).write_bytes(
                _header(16_000, _SAMPLES) + struct.pack("<Q", index) + bytes(2 * _SAMPLES - 8)
            )


def make_raw(lake: Lake, rows: int) -> None:
    """The table ``raw_utterances`` for sizes of which no files are made."""
    _copy(
        lake,
        lake.table_path("raw_utterances", CORPUS),
        polars_schema("raw_utterances"),
        {
            "corpus": f"'{CORPUS}'",
            "utterance_id": "'utterance-' || lpad(i::VARCHAR, 10, '0')",
            "source": "'rows.tsv:' || (i + 2)",
            "split": f"CASE WHEN (i // {_UTTERANCES_PER_SPEAKER}) % 100 = 0 THEN 'test' ELSE 'train' END",
            "tasks": "['asr', 'tts']",
            "speaker": f"'speaker ' || (i // {_UTTERANCES_PER_SPEAKER})",
            "language": "'en'",
            "text": "'the words of utterance number ' || translate(i::VARCHAR, '0123456789', 'abcdefghij') || ' here'",
            "audio_uri": "'/corpus/audio/' || lpad(i::VARCHAR, 10, '0') || '.wav'",
            "channel": "NULL",
            "segment_start_s": "NULL",
            "segment_end_s": "NULL",
            "audio_offset": "NULL",
            "marker": "NULL",
            "audio_bytes": f"{WAV_HEADER_BYTES + 2 * _SAMPLES}",
            "source_digest": "sha256(i::VARCHAR)",
            "licence": "'CC0-1.0'",
        },
        f"SELECT range AS i FROM range({rows})",
    )
    lake.write_manifest("raw_utterances", CORPUS, str(rows), {"rows": rows, "read": rows})
    _copy(lake, lake.table_path("ledger", f"{CORPUS}--raw_utterances"), polars_schema("ledger"), {},
          "SELECT range AS i FROM range(0)")  # fmt: skip


def make_results(lake: Lake, stored_files: bool) -> None:
    """What the audio pass would have found, and (empty but for their header) the files that it would have stored."""
    digest = "sha256('stored ' || source_digest)"
    _copy(
        lake,
        results.results_path(CORPUS),
        results._SCHEMA,
        {
            **_MEASURES,
            "recipe": f"{results.AUDIO_RECIPE}",
            "settings": f"'{AudioSettings().digest}'",
            "channel": "NULL",
            "view_frames": "NULL",
            "source_digest": "source_digest",
            "suffix": "'.wav'",
            "start_s": "0",
            "end_s": "NULL",
            "path": f"'audio_22k/{CORPUS}/' || substr({digest}, 1, 2) || '/' || {digest} || '.wav'",
            "digest": digest,
            "frames": f"{FRAMES}",
            "source_rate_hz": "16000",
            "source_channels": "1",
            "source_format": "'WAV/PCM_16'",
            "value": "NULL",
            "limit": "NULL",
        },
        f"SELECT *, row_number() OVER () AS i FROM '{_local(lake, lake.table_path('raw_utterances', CORPUS))}'",
    )
    if stored_files:
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT path FROM '{_local(lake, results.results_path(CORPUS))}'")
            while batch := found.fetchmany(_GROUP):
                for (name,) in batch:
                    path = Path(_local(lake, name))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as stream:
                        stream.write(_header(STORED_RATE_HZ, FRAMES))
                        stream.truncate(WAV_HEADER_BYTES + 2 * FRAMES)


def make_audio(lake: Lake) -> None:
    """The table ``audio_22k``, where its step is not run, from :func:`make_results`."""
    raw = _local(lake, lake.table_path("raw_utterances", CORPUS))
    found = _local(lake, results.results_path(CORPUS))
    _copy(
        lake,
        lake.table_path("audio_22k", CORPUS),
        polars_schema("audio_22k"),
        {
            "corpus": f"'{CORPUS}'",
            "utterance_id": "utterance_id",
            "audio_path": "path",
            "audio_digest": "digest",
            "frames": "frames",
            "duration_s": f"{SECONDS}",
            "view_frames": "NULL",
            "source_rate_hz": "16000",
            "source_channels": "1",
            "source_format": "'WAV/PCM_16'",
            "peak_dbfs": "-3",
            "level_dbfs": "-23",
        },
        f"SELECT r.utterance_id, f.path, f.digest, f.frames FROM '{raw}' r POSITIONAL JOIN '{found}' f",
    )
    _copy(lake, lake.table_path("ledger", f"{CORPUS}--audio_22k"), polars_schema("ledger"), {},
          "SELECT range AS i FROM range(0)")  # fmt: skip


def make_fingerprints(lake: Lake) -> None:
    """A part of an earlier pass with the fingerprints of all accepted audio, as random as those of speech."""
    _copy(
        lake,
        f"work/audio_fingerprints/{CORPUS}/part.parquet",
        polars_schema("audio_fingerprints"),
        {
            "corpus": f"'{CORPUS}'",
            "audio_digest": "audio_digest",
            "frames": f"list_transform(range({WORDS}), lambda k: ({_RANDOM} % 4294967295 + 1)::UINTEGER)",
            "recipe": f"{FINGERPRINT_RECIPE}",
            "loud_frames": f"{WORDS}",
        },
        f"{_accepted(lake)} ORDER BY audio_digest",
    )


def make_tokens(lake: Lake) -> None:
    """The table ``audio_tokens`` for all accepted audio."""
    _copy(
        lake,
        lake.table_path("audio_tokens", CORPUS),
        polars_schema("audio_tokens"),
        {
            "corpus": f"'{CORPUS}'",
            "audio_digest": "audio_digest",
            "tokenizer_digest": f"'{TOKENIZER}'",
            "augmentation_digest": "''",
            "token_ids": f"list_transform(range({TOKENS}), lambda k: ({_RANDOM} % {CODES})::USMALLINT)",
            "duration_s": f"{SECONDS}",
        },
        f"{_accepted(lake)} ORDER BY audio_digest",
    )


def _accepted(lake: Lake) -> str:
    table: TableName = "accepted_utterances"
    return f"SELECT *, row_number() OVER () AS i FROM '{_local(lake, lake.table_path(table, CORPUS))}'"


def _copy(lake: Lake, path: str, schema: Mapping[str, Any], given: Mapping[str, str], rows: str) -> None:
    target = Path(_local(lake, path))
    target.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(
        f'({given.get(name, _neutral(kind))})::{_duck(kind)} AS "{name}"' for name, kind in schema.items()
    )
    with duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(target.parent)}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"COPY (SELECT {columns} FROM ({rows})) TO '{target}' "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP})"
        )


def _duck(kind: Any) -> str:
    if isinstance(kind, pl.List):
        return f"{_duck(kind.inner)}[]"
    return _TYPES[kind if isinstance(kind, pl.DataType) else kind()]


def _neutral(kind: Any) -> str:
    return "[]" if isinstance(kind, pl.List) else _NEUTRAL.get(_duck(kind), "0")


def _local(lake: Lake, path: str) -> str:
    return lake.full_path(path)


def _identity(index: int) -> str:
    return f"utterance-{index:010d}"


def _text(index: int) -> str:
    return f"the words of utterance number {str(index).translate(_LETTERS)} here"


_LETTERS = str.maketrans("0123456789", "abcdefghij")


def _speaker(index: int) -> int:
    return index // _UTTERANCES_PER_SPEAKER


def _header(rate_hz: int, frames: int) -> bytes:
    size = 2 * frames
    riff = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", size)
