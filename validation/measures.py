"""Signal measures of a recording, taken from the source waveform at its own rate.

The families stand in :mod:`validation.signal`; here they are put together. None is a model: each is a few lines of
arithmetic that can be checked on paper. They share two spectra (32 ms over the whole band, half a second below
500 Hz), so that all of them together cost less than decoding and resampling do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from validation.signal.channels import MONO, ChannelMeasures
from validation.signal.flat_runs import clipping, dropouts
from validation.signal.levels import MAX_SNR_DB, dynamics, snr_db
from validation.signal.loudness import loudness_lufs
from validation.signal.low_frequency import low_frequency
from validation.signal.spectra import bandwidth_hz, bandwidth_share, spectra
from validation.signal.waveform import Waveform as Waveform
from validation.signal.waveform import decibels, ratio_db
from validation.signal.waveform import without_nonfinite as without_nonfinite


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known of one recording without listening to it.

    Attributes:
        duration_s: Seconds.
        level_dbfs: Root mean square, in dB against full scale; digital silence is -120.
        peak_dbfs: Largest absolute sample, likewise.
        loudness_lufs: Integrated loudness (ITU-R BS.1770); ``None`` below its gate of -70 LUFS.
        crest_db: Peak over root mean square.
        dynamic_range_db: From the quiet (10th percentile) to the loud (95th) frames with sound.
        clipped_share: Share of samples in flat runs at the file's own ceiling, 0 to 1.
        clipped_runs: How many such runs there are.
        longest_clip_s: The longest of them, in seconds.
        dropout_s: Seconds of one repeated value that cut into sound.
        longest_dropout_s: The longest of these runs.
        dc_offset: Mean, of full scale, -1 to 1.
        silence_share: Share of 32 ms frames without sound, 0 to 1.
        leading_silence_s: Seconds before the first sound.
        trailing_silence_s: Seconds after the last one.
        snr_db: Estimate of the signal-to-noise ratio, -100 to 100 dB.
        rumble_db: Power from 4 to 70 Hz over that of the sound above 80 Hz, -100 to 100 dB.
        hum_db: Power of the mains' lines (50 or 60 Hz and multiples), likewise; ``None`` below 1.3 s.
        bandwidth_hz: Highest frequency that carries sound.
        bandwidth_share: That, of what the rate can carry up to 8 kHz; half and less in upsampled telephone speech.
        dead_channels: Channels 60 dB or more below the loudest.
        channel_correlation: The lowest between a channel and the loudest one; -1 is anti-phase, 1 mono.
        nonfinite_samples: Samples that are no numbers (:func:`without_nonfinite`); the other measures take them as 0.
    """

    duration_s: float
    level_dbfs: float
    peak_dbfs: float
    loudness_lufs: float | None
    crest_db: float
    dynamic_range_db: float
    clipped_share: float
    clipped_runs: int
    longest_clip_s: float
    dropout_s: float
    longest_dropout_s: float
    dc_offset: float
    silence_share: float
    leading_silence_s: float
    trailing_silence_s: float
    snr_db: float
    rumble_db: float
    hum_db: float | None
    bandwidth_hz: float
    bandwidth_share: float
    dead_channels: int
    channel_correlation: float
    nonfinite_samples: int


COUNTS = ("clipped_runs", "dead_channels", "nonfinite_samples")  # the measures that are whole numbers


def measure(samples_N: Waveform, rate_hz: int, channels: ChannelMeasures = MONO) -> Measures:
    """All measures of one recording.

    Args:
        samples_N: Mono, at least one sample.
        rate_hz: Samples per second.
        channels: What its channels were to each other before they were mixed.
    """
    assert samples_N.ndim == 1 and samples_N.size, samples_N.shape
    samples_N, nonfinite = without_nonfinite(samples_N)
    power = float(np.dot(samples_N, samples_N)) / samples_N.size
    highest, lowest = float(samples_N.max()), float(samples_N.min())
    level, peak = decibels(power), decibels(max(highest, -lowest) ** 2)
    short_time = spectra(samples_N, rate_hz)
    sound = dynamics(short_time)
    low = low_frequency(samples_N, rate_hz)
    clipped = clipping(samples_N, rate_hz, lowest, highest)
    dropped = dropouts(samples_N, rate_hz, sound.active_power)
    band = bandwidth_hz(short_time)
    hum = low.hum_power
    return Measures(
        duration_s=samples_N.size / rate_hz,
        level_dbfs=level,
        peak_dbfs=peak,
        loudness_lufs=loudness_lufs(samples_N, rate_hz),
        crest_db=peak - level,
        dynamic_range_db=sound.dynamic_range_db,
        clipped_share=clipped.share,
        clipped_runs=clipped.runs,
        longest_clip_s=clipped.longest_s,
        dropout_s=dropped.total_s,
        longest_dropout_s=dropped.longest_s,
        dc_offset=float(np.clip(samples_N.mean(dtype=np.float64), -1.0, 1.0)),
        silence_share=sound.silence_share,
        leading_silence_s=sound.leading_silence_s,
        trailing_silence_s=sound.trailing_silence_s,
        snr_db=snr_db(sound, low.rumble_power),
        rumble_db=ratio_db(low.rumble_power, sound.active_power, MAX_SNR_DB),
        hum_db=None
        if hum is None or not sound.active_power
        else ratio_db(hum, sound.active_power, MAX_SNR_DB),
        bandwidth_hz=band,
        bandwidth_share=bandwidth_share(band, rate_hz),
        dead_channels=channels.dead_channels,
        channel_correlation=channels.channel_correlation,
        nonfinite_samples=nonfinite,
    )
