"""The accepted rows as the leakage rules see them, and the rules that need no audio, as statements of DuckDB."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import duckdb
import polars as pl

from validation.batches import files_of, quoted
from validation.lake import Lake
from validation.leakage_rules import Action, EvaluationSet, Rule

# What readers call a speaker that the corpus does not name.
_NAMELESS = "('', 'unknown')"

# The same words: case, punctuation and spaces apart. A row without audio is known by its messages; of one with audio
# they may be nothing but markers.
_TEXT = (
    "CASE WHEN trim(text) <> '' THEN text WHEN audio_digest IS NULL THEN coalesce(messages, '') ELSE '' END"
)
_WORDS = rf"""md5_number(trim(regexp_replace(
    lower(nfc_normalize({_TEXT})), '[^\p{{L}}\p{{M}}\p{{N}}]+', ' ', 'g')))"""
_HAS_WORDS = rf"regexp_matches({_TEXT}, '[\p{{L}}\p{{N}}]')"
_SPEAKER = f"""CASE WHEN audio_digest IS NULL THEN ''
    WHEN speaker IN {_NAMELESS} THEN 'corpus ' || corpus
    ELSE 'speaker ' || speaker END"""

_KEYS: dict[Rule, tuple[str, str, str]] = {
    # key, where it is defined, what the key is for a person
    "audio": ("audio_digest", "audio_digest IS NOT NULL", "has the very same audio as"),
    "text": (f"hash({_SPEAKER}, {_WORDS})", _HAS_WORDS, "has the same words by the same speaker as"),
    "speaker": ("speaker", f"speaker NOT IN {_NAMELESS}", "is of a speaker that is held out, as"),
}
EXACT_RULES: tuple[Rule, ...] = tuple(_KEYS)
# The rule's key and where it is defined, as expressions over a row.
KEY_OF: dict[str, tuple[str, str]] = {rule: (key, defined) for rule, (key, defined, _) in _KEYS.items()}


def create_rows(
    database: duckdb.DuckDBPyConnection,
    lake: Lake,
    corpora: Sequence[str],
    held_out_speakers: Mapping[str, Collection[str]],
) -> None:
    """Views ``utterances`` (all accepted rows of the corpora) and ``held_out_speakers`` (corpus, speaker).

    Raises:
        validation.lake.MissingTableError: if a corpus has no accepted rows yet.
    """
    files = files_of(lake, "accepted_utterances", corpora)
    database.execute(f"CREATE VIEW utterances AS SELECT * FROM {files}")  # noqa: S608 - paths are quoted
    pairs = [(corpus, speaker) for corpus, speakers in held_out_speakers.items() for speaker in speakers]
    table = pl.DataFrame(pairs, schema={"corpus": pl.String, "speaker": pl.String}, orient="row")
    database.register("held_out_speakers", table.to_arrow())


def create_set(database: duckdb.DuckDBPyConnection, one: EvaluationSet) -> None:
    """Views ``evaluation`` (the set's rows) and ``training`` (rows of the training split, of the set or not)."""
    conditions = ["TRUE"]
    if one.corpora:
        names = ", ".join(quoted(corpus) for corpus in one.corpora)
        conditions.append(f"corpus IN ({names})")
    if one.rows == "test":
        conditions.append("split = 'test'")
    inside = " AND ".join(conditions)
    select = f"SELECT * FROM utterances WHERE {inside}"  # noqa: S608 - names are quoted
    database.execute(f"CREATE OR REPLACE VIEW evaluation AS {select}")
    database.execute("CREATE OR REPLACE VIEW training AS SELECT * FROM utterances WHERE split = 'train'")


def shared(one: EvaluationSet, rule: Rule, action: Action) -> str:
    """Statement for the training rows that share the rule's key with the set; columns as in the table ``leakage``.

    One row per training row, with the first row of the set that has the key: their pairs may be millions.
    """
    key, defined, reason = _KEYS[rule]
    wanted = defined
    if rule == "speaker" and one.speakers == "held_out":
        wanted += " AND (corpus, speaker) IN (SELECT (corpus, speaker) FROM held_out_speakers)"
    detail = f"""t.source || ': ' || t.utterance_id || ' of corpus ' || t.corpus || ' {reason} ' || e.first.id || ' of '
        || e.first.corpus || ' (' || e.first.source || ') and ' || (e.matches - 1) || ' more of the evaluation set'
        || {quoted(f" {one.name}")}"""
    return f"""
        WITH e AS (
            SELECT {key} AS key, count(*) AS matches,
                min(struct_pack(corpus := corpus, id := utterance_id, source := source)) AS first
            FROM evaluation WHERE {wanted} GROUP BY 1
        )
        SELECT {quoted(one.name)} AS evaluation_set, {quoted(rule)} AS rule, {quoted(action)} AS action,
            t.corpus, t.utterance_id, t.source, e.first.corpus AS evaluation_corpus,
            e.first.id AS evaluation_utterance_id, e.first.source AS evaluation_source,
            e.matches::BIGINT AS matches, e.matches::DOUBLE AS value, 0.0::DOUBLE AS "limit", {detail} AS detail
        FROM (SELECT *, {key} AS key FROM training WHERE {defined}) t JOIN e USING (key)
        ORDER BY t.corpus, t.utterance_id"""  # noqa: S608 - names are quoted, the rest is our own


def shared_recordings(one: EvaluationSet, action: Action) -> str:
    """Statement for the training rows whose audio is a copy of the set's.

    Reads the table ``copies`` (validation/leakage_copies.py).
    """
    detail = f"""t.source || ': ' || t.utterance_id || ' of corpus ' || t.corpus || ' is the same recording as '
        || e.utterance_id || ' of ' || e.corpus || ' (' || e.source || ') of the evaluation set '
        || {quoted(one.name)} || ': their waveforms correlate at ' || printf('%.3f', c.correlation) || ' over '
        || printf('%.1f', c.seconds) || ' s (from ' || printf('%.2f', c."limit") || ' on they are one; '
        || printf('%.3f', c.bit_error_rate) || ' of the fingerprint differs)'"""
    return f"""
        SELECT {quoted(one.name)} AS evaluation_set, 'near_audio' AS rule, {quoted(action)} AS action,
            t.corpus, t.utterance_id, t.source, e.corpus AS evaluation_corpus,
            e.utterance_id AS evaluation_utterance_id, e.source AS evaluation_source,
            (count(*) OVER same)::BIGINT AS matches, c.correlation AS value, c."limit", {detail} AS detail
        FROM copies c JOIN training t ON t.audio_digest = c.digest
            JOIN evaluation e ON e.audio_digest = c.of_digest
        WINDOW same AS (PARTITION BY t.corpus, t.utterance_id)
        QUALIFY row_number() OVER (PARTITION BY t.corpus, t.utterance_id
            ORDER BY c.correlation DESC, e.corpus, e.utterance_id) = 1
        ORDER BY t.corpus, t.utterance_id"""  # noqa: S608 - names are quoted, the rest is our own
