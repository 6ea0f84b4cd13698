"""Copies of a recording are found, whatever they went through; other recordings are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from leaking_rows import RATE_HZ as RATE
from leaking_rows import syllables

from validation import fingerprint_match
from validation.fingerprint import FEWEST_FRAMES, fingerprint, loud_frames
from validation.fingerprint_confirm import LEAST_CORRELATION, correlation
from validation.fingerprint_match import Clips, find_copies

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def clips(prints: list[np.ndarray]) -> Clips:
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in prints])]).astype(np.int64)
    return Clips(0, np.concatenate([*prints, np.zeros(0, dtype=np.uint32)]), bounds)


def pairs(
    queries: list[np.ndarray], library: list[np.ndarray], **options: bool | int
) -> set[tuple[int, int]]:
    found = find_copies([clips(queries)], lambda: [clips(library)], **options)
    return set(found.select("query", "clip").iter_rows())


def coded(samples: np.ndarray, rate: int, container: str, subtype: str) -> tuple[np.ndarray, int]:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format=container, subtype=subtype)
    buffer.seek(0)
    return sf.read(buffer, dtype="float32")


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), dtype=np.float32)


CHANGES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, int]]] = {
    "mp3": lambda x: coded(soxr.resample(x, RATE, 16_000), 16_000, "MP3", "MPEG_LAYER_III"),
    "opus": lambda x: coded(soxr.resample(x, RATE, 16_000), 16_000, "OGG", "OPUS"),
    "vorbis": lambda x: coded(x, RATE, "OGG", "VORBIS"),
    "telephone": lambda x: coded(soxr.resample(x, RATE, 8_000), 8_000, "WAV", "ULAW"),
    "studio rate": lambda x: (soxr.resample(x, RATE, 48_000), 48_000),
    "20 dB softer": lambda x: (x * np.float32(0.1), RATE),
    "6 dB louder": lambda x: (x * np.float32(2.0), RATE),
    "a second before": lambda x: (np.concatenate([silence(1.0037), x]), RATE),
    "a second after": lambda x: (np.concatenate([x, silence(1.0)]), RATE),
    "a second before, soft, in MP3": lambda x: coded(
        soxr.resample(np.concatenate([silence(1.0), 0.3 * x]), RATE, 16_000), 16_000, "MP3", "MPEG_LAYER_III"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_and_no_other_clip_is(change):
    originals = [syllables(2.0 + seed % 3, seed) for seed in range(12)]
    copies = [fingerprint(*CHANGES[change](one)) for one in originals]
    found = pairs([fingerprint(one, RATE) for one in originals], copies)
    assert found == {(number, number) for number in range(12)}


def test_the_offset_says_where_the_copy_lies_in_a_longer_recording():
    short = syllables(3.0, 1)
    whole = np.concatenate([syllables(5.0, 2), short, syllables(4.0, 3)])
    found = find_copies([clips([fingerprint(short, RATE)])], lambda: [clips([fingerprint(whole, RATE)])])
    row = found.row(0, named=True)
    assert row["offset"] / 62.5 == pytest.approx(5.0, abs=0.05)
    assert row["frames"] > 0.9 * 3.0 * 62.5
    assert row["bit_error_rate"] < row["limit"]


def test_silence_and_too_short_sounds_have_nothing_to_compare():
    assert loud_frames(fingerprint(silence(1.0), RATE)) == 0
    short = fingerprint(syllables(0.1, 1), RATE)
    assert loud_frames(short) < FEWEST_FRAMES
    assert pairs([short, fingerprint(silence(1.0), RATE)], [short]) == set()
    assert fingerprint(silence(0.0), RATE).size == 0


def test_the_same_samples_give_the_same_fingerprint_in_parts_or_whole():
    long = syllables(80.0, 5)  # longer than what is transformed at once
    whole, part = fingerprint(long, RATE), fingerprint(long[: 40 * RATE], RATE)
    same = (whole[: len(part) - 10] == part[:-10]).mean()
    assert same > 0.99


def test_blocks_of_the_index_change_nothing():
    prints = [fingerprint(syllables(2.0, seed), RATE) for seed in range(8)]
    copies = [fingerprint(*CHANGES["opus"](syllables(2.0, seed))) for seed in range(8)]
    assert pairs(prints, copies, block_entries=5000) == pairs(prints, copies)


def test_a_word_that_every_frame_has_is_met_in_a_bounded_number_of_hits_at_once(monkeypatch):
    tone = np.full(250, 7, dtype=np.uint32)
    many = Clips(0, np.full(40 * 100, 7, dtype=np.uint32), np.arange(0, 4001, 100))
    before = find_copies([Clips(0, tone, np.array([0, 250]))], lambda: [many], flips=False)
    monkeypatch.setattr(fingerprint_match, "_HITS_AT_ONCE", 1000)
    index = fingerprint_match._Index(Clips(0, tone, np.array([0, 250])), flips=False)
    sizes = [len(here) for here, _ in index._hits(many.words)]
    assert sum(sizes) == 125 * 4000 and max(sizes) < 1000 + 125
    after = find_copies([Clips(0, tone, np.array([0, 250]))], lambda: [many], flips=False)
    assert before.height == 40 and after.equals(before)


def test_within_one_set_each_pair_is_given_once_and_nothing_is_its_own_copy():
    prints = [fingerprint(syllables(2.0, seed), RATE) for seed in (1, 2, 1, 3)]
    assert pairs(prints, prints, is_same_set=True) == {(0, 2)}


def test_a_tone_in_many_clips_is_no_match():
    """Words of a tone fill their postings: they are left out, and what remains decides."""
    time = np.arange(RATE * 2) / RATE
    tones = [
        fingerprint((0.1 * np.sin(2 * np.pi * (400 + 3 * n) * time)).astype(np.float32), RATE)
        for n in range(20)
    ]
    speech = [fingerprint(syllables(2.0, 1), RATE)]
    assert pairs(speech, tones) == set()


def recordings(pattern: str) -> dict[str, np.ndarray]:
    """Samples at the stored rate, by the files' names."""
    paths = sorted(DATA.glob(pattern))
    if not paths:
        pytest.skip(f"{DATA / pattern} is not here")
    found = {}
    for path in paths:
        samples, rate = sf.read(path, dtype="float32")
        found[path.name] = soxr.resample(samples, rate, RATE) if rate != RATE else samples
    return found


def copies_among(samples: dict[str, np.ndarray]) -> set[tuple[str, str]]:
    names, values = list(samples), list(samples.values())
    together = clips([fingerprint(one, RATE) for one in values])
    suspects = find_copies([together], lambda: [together], is_same_set=True)
    return {
        (names[query], names[clip])
        for query, clip, offset in suspects.select("query", "clip", "offset").iter_rows()
        if correlation(values[query], values[clip], RATE, offset) >= LEAST_CORRELATION
    }


@pytest.mark.parametrize("change", CHANGES)
def test_the_waveform_of_a_copy_agrees_where_its_fingerprint_lies(change):
    for seed in range(4):
        original = syllables(2.5, seed)
        copy = soxr.resample(*CHANGES[change](original), RATE)
        found = find_copies(
            [clips([fingerprint(original, RATE)])], lambda one=copy: [clips([fingerprint(one, RATE)])]
        )
        assert correlation(original, copy, RATE, found["offset"][0]) > 0.95


def test_a_take_in_another_pitch_is_alike_and_no_copy():
    def take(pitch: float) -> np.ndarray:
        """The same vowels at the same times, as a synthetic voice says them again."""
        time = np.arange(int(1.5 * RATE)) / RATE
        buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 30))
        spectrogram = []
        for part, seed in zip(np.array_split(buzz, 12), range(12), strict=True):
            low, high = sorted(np.random.default_rng(seed).uniform(200, 3500, 2))
            spectrum, frequency = np.fft.rfft(part), np.fft.rfftfreq(len(part), 1 / RATE)
            spectrum[(frequency < low) | (frequency > high)] *= 0.05
            spectrogram.append(np.fft.irfft(spectrum, len(part)))
        return (0.05 * np.concatenate(spectrogram)).astype(np.float32)

    assert correlation(take(110.0), take(110.0), RATE, 0) == pytest.approx(1.0, abs=1e-3)
    assert correlation(take(110.0), take(112.0), RATE, 0) < LEAST_CORRELATION


def test_waveforms_that_do_not_overlap_or_are_silent_do_not_agree():
    samples = syllables(1.0, 1)
    assert correlation(samples, samples, RATE, 500) == 0.0
    assert correlation(samples, silence(1.0), RATE, 0) == 0.0
    assert correlation(-samples, samples, RATE, 0) == pytest.approx(1.0, abs=1e-3)


def test_no_take_of_a_digit_is_taken_for_another_by_the_same_speaker():
    takes = recordings("fsdd/**/*_george_*.wav")
    assert len(takes) == 500
    assert copies_among(takes) == set()


def test_the_two_recordings_that_a_real_corpus_holds_twice_are_found():
    """Mycroft's community data: 0.98 correlated, under two ids each."""
    found = {
        (one[15:23], other[15:23]) for one, other in copies_among(recordings("mycroft_precise/**/*.wav"))
    }
    assert found == {("87632cc8", "c4dbcb16"), ("a1ea3d87", "fdd99697")}
