"""How a row may end: the reasons, the one outcome of each, and the stages in which rows end."""

from __future__ import annotations

from typing import Literal, get_args

Outcome = Literal["accepted", "rejected", "quarantined", "errored"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Stage = Literal["raw_utterances", "audio_22k", "accepted_utterances"]
LEDGER_STAGES: tuple[Stage, ...] = get_args(Stage)

Reason = Literal[
    "accepted",
    # accepted, with something that a mixture may want to know
    "background_noise",
    # what a person decided about a quarantined row
    "accepted_by_review",
    "rejected_by_review",
    # the corpus' own rows
    "malformed_row",
    "wrong_delimiter",
    "column_count",
    "not_utf8",
    "missing_audio",
    "missing_file",
    "unreadable",
    "duplicate_id",
    "empty_text",
    "special_token_in_text",
    "no_transcript",
    "unmatched_name",
    "unknown_label",
    "outside_root",
    "unsafe_member",
    "breaks_contract",
    "forgotten",
    # the audio file
    "empty_file",
    "no_frames",
    "not_audio",
    "decode_error",
    "source_changed",
    "bad_segment",
    "worker_died",
    "timed_out",
    "truncated",
    "wrong_extension",
    "channels_cancel",
    "sample_rate",
    # the thresholds
    "non_finite",
    "silent",
    "too_short",
    "too_long",
    "too_loud",
    "too_quiet",
    "clipped",
    "dc_offset",
    "dead_channel",
    "anti_phase",
    "dropout",
    "mostly_silence",
    "long_silence",
    "noisy",
    "very_noisy",
    "hum",
    "no_dynamics",
    "narrow_band",
    "upsampled",
    "no_speech",
    "low_mos",
    "near_limit",
    # the transcript
    "text_too_short",
    "text_too_long",
    "text_rate_outlier",
    "control_characters",
    "wrong_script",
    "wrong_language",
    "repetitive_text",
    "template_text",
    "unwanted_words",
    "transcript_mismatch",
    "companion_lost",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

OUTCOME_OF: dict[Reason, Outcome] = {
    "accepted": "accepted",
    "background_noise": "accepted",
    "accepted_by_review": "accepted",
    # could not be read or decoded
    "malformed_row": "errored",
    "wrong_delimiter": "errored",
    "column_count": "errored",
    "not_utf8": "errored",
    "missing_audio": "errored",
    "missing_file": "errored",
    "unreadable": "errored",
    "empty_file": "errored",
    "no_frames": "errored",
    "not_audio": "errored",
    "decode_error": "errored",
    "source_changed": "errored",
    "bad_segment": "errored",
    "worker_died": "errored",
    "timed_out": "errored",
    "breaks_contract": "errored",
    # readable, but breaks the contract or a threshold
    "duplicate_id": "rejected",
    "empty_text": "rejected",
    "special_token_in_text": "rejected",
    "no_transcript": "rejected",
    "unmatched_name": "rejected",
    "unknown_label": "rejected",
    "outside_root": "rejected",
    "unsafe_member": "rejected",
    "forgotten": "rejected",
    "sample_rate": "rejected",
    "non_finite": "rejected",
    "silent": "rejected",
    "too_short": "rejected",
    "too_long": "rejected",
    "too_loud": "rejected",
    "too_quiet": "rejected",
    "clipped": "rejected",
    "dc_offset": "rejected",
    "dropout": "rejected",
    "mostly_silence": "rejected",
    "noisy": "rejected",
    "hum": "rejected",
    "no_dynamics": "rejected",
    "narrow_band": "rejected",
    "control_characters": "rejected",
    "repetitive_text": "rejected",
    "unwanted_words": "rejected",
    "companion_lost": "rejected",
    "rejected_by_review": "rejected",
    # decodes, but contradicts itself, or is near a limit that a machine draws badly: a person should look
    "truncated": "quarantined",
    "wrong_extension": "quarantined",
    "channels_cancel": "quarantined",
    "dead_channel": "quarantined",
    "anti_phase": "quarantined",
    "long_silence": "quarantined",
    "upsampled": "quarantined",
    "very_noisy": "quarantined",
    "no_speech": "quarantined",
    "low_mos": "quarantined",
    "near_limit": "quarantined",
    "text_too_short": "quarantined",
    "text_too_long": "quarantined",
    "text_rate_outlier": "quarantined",
    "wrong_script": "quarantined",
    "wrong_language": "quarantined",
    "template_text": "quarantined",
    "transcript_mismatch": "quarantined",
}

# Faults of the machine or the moment, not of the file: a step that ended rows with them is not done, and tries those
# rows again.
PASSING: frozenset[Reason] = frozenset(
    {"worker_died", "timed_out", "unreadable", "missing_audio", "source_changed"}
)

# Faults of a recording that is there all the same, wholly or in part: a person may accept it as it is.
ACCEPTED_AS_IT_IS: frozenset[Reason] = frozenset({"truncated", "wrong_extension"})
