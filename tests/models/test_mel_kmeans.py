"""Codes follow the speech, do not depend on level, machine or run, and can be heard again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models import load_audio_tokenizer
from models.tokenizers import MelKmeansTokenizer
from models.tokenizers.interface import TokenizerError
from models.tokenizers.mel_patches import PATCH_SAMPLES, log_mel_patches

RATE = 22_050
RECORDINGS = Path(__file__).parents[2] / "../shared/data"
Waveform = NDArray[np.float32]


def vowel(fundamental: float, formants: tuple[float, float], seconds: float, rate: int = RATE) -> Waveform:
    """Harmonics under two resonances."""
    times = np.arange(int(seconds * rate)) / rate
    total = np.zeros_like(times)
    for harmonic in np.arange(fundamental, 4000, fundamental):
        gain = sum(1 / (1 + ((harmonic - formant) / 120) ** 2) for formant in formants)
        total += gain * np.sin(2 * np.pi * harmonic * times)
    return (0.3 * total / np.abs(total).max()).astype(np.float32)


FORMANTS = [(300, 2300), (700, 1200), (500, 1800), (350, 800), (600, 1000)]


def utterance(fundamental: float) -> Waveform:
    """One voice saying all vowels, five patches each."""
    return np.concatenate([vowel(fundamental, formants, 0.4) for formants in FORMANTS])


def voices() -> Iterator[tuple[Waveform, int]]:
    for fundamental in (100.0, 115.0, 130.0, 150.0, 170.0):
        yield utterance(fundamental), RATE
    yield np.zeros(RATE, dtype=np.float32), RATE


@pytest.fixture(scope="module")
def tokenizer() -> MelKmeansTokenizer:
    return MelKmeansTokenizer.train(voices(), codes=16, iterations=30, seed=0)


def test_there_is_a_code_for_every_80_ms_begun(tokenizer: MelKmeansTokenizer) -> None:
    assert tokenizer.frame_rate == 12.5
    for samples in (1, 10, PATCH_SAMPLES, PATCH_SAMPLES + 1, 10 * PATCH_SAMPLES):
        codes = tokenizer.encode(np.full(samples, 0.1, dtype=np.float32), RATE)
        assert len(codes) == -(-samples // PATCH_SAMPLES)
        assert len(tokenizer.decode(codes)) == len(codes) * PATCH_SAMPLES


def test_an_unknown_voice_gets_the_codes_of_known_ones(tokenizer: MelKmeansTokenizer) -> None:
    def middles(fundamental: float) -> list[int]:
        return tokenizer.encode(utterance(fundamental), RATE)[2::5]

    known = [set(codes) for codes in zip(*(middles(voice) for voice in (115.0, 130.0, 150.0)), strict=True)]
    unknown = middles(140.0)
    assert all(code in codes for code, codes in zip(unknown, known, strict=True))
    assert len(set(unknown)) == len(FORMANTS)


@pytest.mark.parametrize("gain", [0.02, 0.3, 3.0])
def test_codes_do_not_depend_on_the_recording_s_level(tokenizer: MelKmeansTokenizer, gain: float) -> None:
    wave = utterance(150.0)
    quieter = (wave * np.float32(gain)).astype(np.float32)
    assert tokenizer.encode(quieter, RATE) == tokenizer.encode(wave, RATE)


def test_another_sample_rate_gives_nearly_the_same_codes(tokenizer: MelKmeansTokenizer) -> None:
    here = tokenizer.encode(vowel(125.0, FORMANTS[0], 1.0), RATE)
    there = tokenizer.encode(vowel(125.0, FORMANTS[0], 1.0, rate=16_000), 16_000)
    assert len(here) == len(there)
    assert sum(one == two for one, two in zip(here, there, strict=True)) >= len(here) - 2


def test_codes_do_not_depend_on_the_number_of_threads(tokenizer: MelKmeansTokenizer) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(tokenizer.encode(wave, RATE))
    assert found[0] == found[1]


def test_training_twice_gives_one_digest_and_another_seed_another(tokenizer: MelKmeansTokenizer) -> None:
    again = MelKmeansTokenizer.train(voices(), codes=16, iterations=30, seed=0)
    other = MelKmeansTokenizer.train(voices(), codes=16, iterations=30, seed=1)
    assert again.digest == tokenizer.digest != other.digest


def test_a_saved_tokenizer_opens_with_the_same_codes(tokenizer: MelKmeansTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1, "another user may read some of the files only"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.safetensors", "config.json"]
    loaded = load_audio_tokenizer(tmp_path)
    assert isinstance(loaded, MelKmeansTokenizer)
    assert (loaded.digest, loaded.vocabulary_size) == (tokenizer.digest, 16)
    wave = vowel(130.0, FORMANTS[1], 1.0)
    assert loaded.encode(wave, RATE) == tokenizer.encode(wave, RATE)
    np.testing.assert_array_equal(loaded.decode([0, 1, 2]), tokenizer.decode([0, 1, 2]))


def test_silence_stays_silence(tokenizer: MelKmeansTokenizer) -> None:
    codes = tokenizer.encode(np.zeros(RATE, dtype=np.float32), RATE)
    assert len(set(codes)) == 1
    speech = tokenizer.decode(tokenizer.encode(vowel(150.0, FORMANTS[0], 1.0), RATE))
    assert np.abs(tokenizer.decode(codes)).max() < 0.01 * np.abs(speech).max()


def test_decoded_audio_is_bounded_and_has_the_spectrum_of_what_was_encoded(
    tokenizer: MelKmeansTokenizer,
) -> None:
    wave = utterance(125.0)
    decoded = tokenizer.decode(tokenizer.encode(wave, RATE))
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()
    assert np.abs(decoded).max() <= 1
    one, two = (log_mel_patches(audio, RATE).ravel() for audio in (wave, decoded))
    assert np.corrcoef(one, two)[0, 1] > 0.9


def test_no_codes_decode_to_no_audio(tokenizer: MelKmeansTokenizer) -> None:
    assert tokenizer.decode([]).shape == (0,)


def test_too_little_audio_for_the_codes_is_refused_with_both_numbers() -> None:
    with pytest.raises(TokenizerError, match=r"64 codes.*have 13"):
        MelKmeansTokenizer.train(
            [(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), RATE)],
            codes=64, iterations=3, seed=0,
        )  # fmt: skip
    with pytest.raises(TokenizerError, match=r"4 codes.*have 1$"):
        MelKmeansTokenizer.train([(np.zeros(9 * RATE), RATE)], codes=4, iterations=3, seed=0)
    with pytest.raises(TokenizerError, match="0 recordings have 0"):
        MelKmeansTokenizer.train([], codes=4, iterations=3, seed=0)


@pytest.mark.parametrize(
    ("wave", "rate", "message"),
    [
        (np.zeros((2, 100)), RATE, r"shape \(2, 100\)"),
        (np.zeros(0), RATE, "at least one sample"),
        (np.array([0.0, 0.0, np.nan]), RATE, "sample 2 .* nan"),
        (np.zeros(100), 0, "0 Hz"),
    ],
)
def test_what_is_no_waveform_is_refused(
    tokenizer: MelKmeansTokenizer, wave: NDArray[Any], rate: int, message: str
) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer.encode(wave, rate)


def test_a_code_outside_the_book_is_refused(tokenizer: MelKmeansTokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"no code 16.*ends at 15"):
        tokenizer.decode([3, 16])


def test_directories_that_hold_no_tokenizer_are_refused(
    tokenizer: MelKmeansTokenizer, tmp_path: Path
) -> None:
    with pytest.raises(TokenizerError, match=r"no config\.json"):
        load_audio_tokenizer(tmp_path)

    def expect(message: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        tokenizer.save(tmp_path)
        config = tmp_path / "config.json"
        config.write_text(json.dumps(change(json.loads(config.read_text()))))
        with pytest.raises(TokenizerError, match=message):
            load_audio_tokenizer(tmp_path)

    expect("kind is 'wavenet'", lambda config: config | {"kind": "wavenet"})
    expect("version is 0, this version has", lambda config: config | {"version": 0})
    tokenizer.save(tmp_path)
    (tmp_path / "codes.safetensors").write_bytes(b"nothing")
    with pytest.raises(TokenizerError, match="holds no mel_kmeans"):
        load_audio_tokenizer(tmp_path)


@pytest.mark.skipif(not (RECORDINGS / "ljspeech").is_dir(), reason="no recordings beside the repository")
def test_real_speech_is_recognisable_from_its_codes() -> None:
    waves = [sf.read(path, dtype="float32")[0] for path in sorted((RECORDINGS / "ljspeech").rglob("*.wav"))]
    tokenizer = MelKmeansTokenizer.train(
        ((wave, RATE) for wave in waves[1:]), codes=128, iterations=20, seed=0
    )
    held_out = waves[0]
    decoded = tokenizer.decode(tokenizer.encode(held_out, RATE))
    one, two = (log_mel_patches(audio, RATE).ravel() for audio in (held_out, decoded[: len(held_out)]))
    assert np.corrcoef(one, two)[0, 1] > 0.7
