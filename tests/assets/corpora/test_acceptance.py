"""accepted_utterances: every row that was read ends once, with a reason; conversations go together."""

from __future__ import annotations

import numpy as np
import soundfile as sf

from assets.corpora.acceptance import accept
from validation.ledger import balance, read_ledger

TALK = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "yes\n<|audio|>"}]


def reasons(lake) -> dict[str, str]:
    return dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows())


def test_good_rows_are_accepted_and_faults_found_with_value_and_limit(tmp_path, lake, make):
    root = tmp_path / "c"
    entry = make.ljspeech(root, [("good", "hello"), ("mute", "hello"), ("loud", "hello"), ("long", "x" * 90)])
    sf.write(root / "wavs" / "mute.wav", np.zeros(16_000), 16_000)
    sf.write(root / "wavs" / "loud.wav", np.clip(40 * make.speech_like(1.0, 16_000), -1, 1), 16_000)
    make.run_all(entry, lake)
    assert reasons(lake) == {"good": "accepted", "mute": "silent", "loud": "clipped", "long": "text_too_long"}
    long = read_ledger(lake, "made").filter(reason="text_too_long").row(0, named=True)
    assert (long["outcome"], long["value"], long["limit"]) == ("quarantined", 90.0, 40.0)
    assert "metadata.csv:4" in long["detail"] and "long.wav" in long["detail"] and "90" in long["detail"]
    made = balance(lake, "made")
    assert (made.read, made.accepted, made.rejected, made.quarantined, made.errored) == (4, 1, 2, 1, 0)
    assert made.holds


def test_the_summary_counts_reasons_and_hours(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", ""), ("c", "hello")])
    summary = make.run_all(entry, lake)[3].summary
    assert summary["reasons"] == {"accepted": 2, "empty_text": 1}
    assert summary["outcomes"] == {"accepted": 2, "rejected": 1}
    assert abs(summary["hours"] - 2 / 3600) < 1e-4


def test_a_corpus_may_have_thresholds_of_its_own(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello")])
    make.run_all(entry, lake)
    strict = make.entry("ljspeech", entry.root, thresholds={"min_duration_s": 2.0})
    assert accept(strict, lake).recomputed
    assert reasons(lake) == {"a": "too_short"}
    lenient = make.entry("ljspeech", entry.root, thresholds={"max_chars_per_second": {"fr": 50.0}})
    assert accept(lenient, lake).rows == 1


def test_an_utterance_whose_companion_is_lost_is_rejected_with_it(tmp_path, lake, make):
    rows = [
        {"id": name, "messages": TALK, "audios": [f"{name}-q.wav", f"{name}-a.wav"]}
        for name in ("a", "b", "c")
    ]
    rows.append(
        {"id": "t", "messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]}
    )
    entry = make.jsonl(tmp_path / "c", rows)
    (tmp_path / "c" / "a-a.wav").unlink()  # ends in raw_utterances
    (tmp_path / "c" / "b-q.wav").write_bytes(b"")  # ends in audio_22k
    outcomes = make.run_all(entry, lake)
    assert reasons(lake) == {
        "a#0": "companion_lost",
        "a#1": "missing_audio",
        "b#0": "empty_file",
        "b#1": "companion_lost",
        "c#0": "accepted",
        "c#1": "accepted",
        "t": "accepted",
    }
    assert balance(lake, "made").holds
    assert outcomes[4].summary["tasks"] == {"conversation": 1, "text": 1}
