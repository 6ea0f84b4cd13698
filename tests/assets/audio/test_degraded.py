"""Real recordings: every planted defect is found under its own reason, and good ones are not lost to the thresholds."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from assets.corpora.config import CorpusEntry
from validation.lake import Lake
from validation.ledger import balance, read_ledger

# What DEGRADED.csv calls the defect, and the reason that it must end with.
REASON_OF = {
    "clean": "accepted",
    "hardclip": "clipped",
    "quiet": "too_quiet",
    "snr20dB": "background_noise",
    "snr5dB": "background_noise",
    "snr-5dB": "noisy",
    "dcoffset": "dc_offset",
    "fakehires44k1": "upsampled",
    "dropout": "dropout",
    "longsilence": "long_silence",
    "onechannel_dead": "dead_channel",
    "antiphase": "channels_cancel",
    "allzero": "silent",
    "nan_inf": "non_finite",
}
# Texts are made of file names here: their length and language say nothing.
NO_TEXT = {
    "min_chars_per_second": {"default": 1e-6},
    "max_chars_per_second": {"default": 1e6},
    "max_rate_deviation": 1e6,
    "min_script_share": 0.0,
}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_each_defect_is_found_under_its_own_reason(lake: Lake, make):
    folder = make.shared("quality/degraded")
    with (folder / "DEGRADED.csv").open(newline="", encoding="utf-8") as stream:
        defect_of = {row["file"]: row["defect"] for row in csv.DictReader(stream)}
    assert set(defect_of.values()) == set(REASON_OF)
    found = {row["utterance_id"]: row for row in run(labelled(make, folder), lake, make)}
    lines = [f"{'file':40} {'expected':17} {'found':17} {'value':>9} {'limit':>7}"]
    for name, defect in defect_of.items():
        row = found[name]
        numbers = "".join(
            f" {'' if number is None else f'{number:.4g}':>8}" for number in (row["value"], row["limit"])
        )
        lines.append(f"{name:40} {REASON_OF[defect]:17} {row['reason']:17} {numbers}")
    table = "\n".join(lines)
    assert all(found[name]["reason"] == REASON_OF[defect] for name, defect in defect_of.items()), table
    told = [found[name] for name, defect in defect_of.items() if defect != "clean"]
    assert all(row["value"] is not None and row["limit"] is not None for row in told), table


def test_speech_that_is_merely_quiet_is_not_lost(lake: Lake, make):
    entry = make.entry("sidecar", make.shared("fleurs_sidecar"))
    rows = run(entry, lake, make)
    quality = lake.read_table("audio_quality", "made")
    quiet = quality.filter(pl.col("level_dbfs") < -60)
    assert quiet.height >= 4, "the FLEURS clips at -60 dBFS are not here"
    lost = {row["utterance_id"]: row["reason"] for row in rows if row["outcome"] != "accepted"}
    assert lost == {}


@pytest.mark.parametrize(
    ("reader", "folder", "most_lost", "options"),
    [
        ("aishell3", "aishell3/AISHELL-3", 0, {}),
        ("mls", "mls/mls_spanish_opus", 0, {}),
        ("common_voice", "common_voice/cv-corpus/en", 0, {"file": "train.tsv"}),
        ("sphinx", "sphinx", 0, {}),
        # One prompt is six seconds of silence, and says so.
        (
            "labelled_names",
            "asterisk_prompts/en_US_f_Allison",
            1,
            {"pattern": r"(?:.*/)?(?P<label>[\w-]+)\.wav"},
        ),
        ("labelled_names", "yesno", 0, {"pattern": r"(?:.*/)?(?P<label>[01_]+)\.wav"}),
        # The list of the recordings is no recording: it is told as unmatched_name.
        ("labelled_names", "mycroft_precise", 1, {"pattern": r"(?:.*/)?(?P<label>[\w-]+)\.wav"}),
        ("labelled_names", "watson_untranscribed", 0, {"pattern": r"(?:.*/)?(?P<label>[\w-]+)\.wav"}),
        ("labelled_names", "librispeech_untranscribed", 0, {"pattern": r"(?:.*/)?(?P<label>[\d-]+)\.flac"}),
    ],
)
def test_good_corpora_lose_next_to_nothing(lake: Lake, make, reader, folder, most_lost, options):
    """LibriSpeech, LJ Speech and the spoken digits lose nothing to all limits: corpora/test_real_corpora.py."""
    root = make.shared(folder)
    entry = make.entry(reader, root, options=options, thresholds=NO_TEXT, language="en")
    rows = run(entry, lake, make)
    lost = [
        f"{row['utterance_id']}: {row['reason']} {row['value']} against {row['limit']}"
        for row in rows
        if row["outcome"] != "accepted"
    ]
    assert len(rows) > 0 and len(lost) <= most_lost, lost


def labelled(make, folder: Path) -> CorpusEntry:
    pattern = r"(?P<label>[\w.-]+)\.(wav|flac|ogg)"
    return make.entry("labelled_names", folder, options={"pattern": pattern}, thresholds=NO_TEXT)


def run(entry: CorpusEntry, lake: Lake, make) -> list[dict]:
    make.run_all(entry, lake, workers=2)
    assert balance(lake, entry.name).holds
    return read_ledger(lake, entry.name).to_dicts()
