"""A tokenizer trained from the corpora in seconds: k-means over smoothed log-mel patches of 80 ms.

Codes must say what was spoken more than who spoke, into what, and where exactly the patch was cut. So an utterance's
mean spectrum is moved half way to the average voice's (cepstral mean normalisation), and the clustering sees
each patch through the lowest coefficients of a cosine transform over time and over the bands that telephones carry
too: the time course and the envelope of the spectrum, without pitch, the level weighted down. For decoding, each code
keeps its mean log-mel patch with all bands, in the average voice.

Shapes: N patches, P frames of a patch, M mel bands, K codes, E features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from threadpoolctl import threadpool_limits

from models.tokenizers import mel_patches
from models.tokenizers.interface import CONFIG_FILE, TokenizerError, read_tokenizer_config
from models.tokenizers.mel_patches import RANGE, FloatArray, log_mel_patches, waveform_of

KIND = "mel_kmeans"
VERSION = 1  # of the features' code; raised whenever the same audio gives other codes at the same constants
CODES_FILE = "codes.safetensors"
TIME_COEFFICIENTS, BAND_COEFFICIENTS = 3, 18
# The bands below 4 kHz.
CLUSTERED_BANDS = 60
# How far an utterance's mean is moved to the average voice's; 1 would be all the way.
NORMALISATION = 0.5
# Share of an utterance's frames, the quietest, that are left out of its mean.
PAUSES = 0.3
# How much the level counts against the envelope, and each further coefficient over time against the one before.
LEVEL_WEIGHT, TIME_DECAY = 0.3, 0.7
# Up to this size the first centres are spread out by k-means++, whose cost grows with the square of the codebook.
MOST_CAREFUL_CODES = 1024
# What a stored token depends on, besides the codebook and the code.
_FEATURE_CONSTANTS = {
    "time_coefficients": TIME_COEFFICIENTS,
    "band_coefficients": BAND_COEFFICIENTS,
    "clustered_bands": CLUSTERED_BANDS,
    "normalisation": NORMALISATION,
    "pauses": PAUSES,
    "level_weight": LEVEL_WEIGHT,
    "time_decay": TIME_DECAY,
    "hop": mel_patches.HOP,
    "frames": mel_patches.FRAMES,
    "window": mel_patches.WINDOW,
    "bands": mel_patches.BANDS,
    "lowest_hz": mel_patches.LOWEST_HZ,
    "highest_hz": mel_patches.HIGHEST_HZ,
    "range": round(float(RANGE), 9),
    "quietest": mel_patches.QUIETEST,
}


class MelKmeansTokenizer:
    """Codes at 12.5 per second of audio, and back to a waveform by Griffin-Lim."""

    def __init__(
        self,
        centres_KE: FloatArray,
        patches_KPM: FloatArray,
        voice_M: FloatArray,
        sample_rate: int = mel_patches.SAMPLE_RATE,
    ) -> None:
        """Take a codebook: centres in feature space, mean log-mel patches, and the average voice's mean spectrum.

        Args:
            sample_rate: In Hz, 22,050 or 16,000: the rate at which audio is heard.
        """
        self._sample_rate = sample_rate
        self._centres_KE = centres_KE.astype(np.float32)
        self._patches_KPM = patches_KPM.astype(np.float32)
        self._voice_M = voice_M.astype(np.float32)
        # Distances in float64: the nearest code must not hang on the order in which a matrix product adds up.
        self._wide_KE = self._centres_KE.astype(np.float64)
        self._squares_K = (self._wide_KE**2).sum(axis=1)
        self._digest = self._compute_digest()

    @property
    def frame_rate(self) -> float:
        """Codes per second."""
        return mel_patches.FRAME_RATE

    @property
    def sample_rate(self) -> int:
        """Rate in Hz at which :meth:`encode` needs no resampling."""
        return self._sample_rate

    @property
    def vocabulary_size(self) -> int:
        """Number of codes."""
        return len(self._centres_KE)

    @property
    def digest(self) -> str:
        """SHA-256 of the codebook and of everything that decides the features."""
        return self._digest

    def encode(self, waveform: FloatArray, sample_rate: int) -> list[int]:
        """The codes of a waveform, one per 80 ms begun.

        Args:
            waveform: mono, of shape (samples,), in [-1, 1].
            sample_rate: in Hz; at the tokenizer's own nothing is resampled.

        Raises:
            TokenizerError: if the waveform is not mono, is empty or has a sample that is no finite number.
        """
        features_NE = features(
            in_voice(log_mel_patches(waveform, sample_rate, self._sample_rate), self._voice_M)
        )
        distances_NK = self._squares_K - 2 * features_NE @ self._wide_KE.T
        codes: list[int] = distances_NK.argmin(axis=1).tolist()
        return codes

    def decode(self, codes: Sequence[int]) -> NDArray[np.float32]:
        """A waveform of shape (len(codes) × 1764,) at 22,050 Hz.

        Raises:
            TokenizerError: for a code outside the codebook.
        """
        if not len(codes):
            return np.zeros(0, dtype=np.float32)
        if strangers := [code for code in codes if not 0 <= code < self.vocabulary_size]:
            raise TokenizerError(
                f"there is no code {strangers[0]}: the codebook ends at {self.vocabulary_size - 1}"
            )
        return waveform_of(self._patches_KPM[np.asarray(codes)])

    @classmethod
    def train(
        cls,
        waveforms: Iterable[tuple[FloatArray, int]],
        *,
        codes: int,
        iterations: int,
        seed: int,
        sample_rate: int = mel_patches.SAMPLE_RATE,
    ) -> MelKmeansTokenizer:
        """Cluster the patches of ``waveforms``: the same codebook for the same audio, in whatever number of threads.

        Args:
            waveforms: mono waveforms with their sample rates in Hz. 1,000 s of audio take 30 MB.
            codes: size of the codebook.
            iterations: of k-means at most.
            seed: of the first centres.
            sample_rate: in Hz, 22,050 or 16,000, at which audio is heard.

        Raises:
            TokenizerError: if there are fewer different patches than codes.
        """
        # Not needed to encode, and its import takes a second; before the limit, which holds for what is loaded by then.
        from sklearn.cluster import KMeans

        found = [
            log_mel_patches(waveform, rate, sample_rate).astype(np.float32) for waveform, rate in waveforms
        ]
        voices = [voice_of(patches) for patches in found if is_audible(patches)]
        voice_M = np.mean(voices, axis=0) if voices else np.full(mel_patches.BANDS, -RANGE)
        empty_NE = np.zeros((0, TIME_COEFFICIENTS * BAND_COEFFICIENTS))
        features_NE = np.concatenate([empty_NE, *(features(in_voice(patches, voice_M)) for patches in found)])
        different = len(np.unique(features_NE, axis=0))
        if different < codes:
            raise TokenizerError(
                f"{codes} codes need at least as many different patches of 80 ms, but the {len(found)} recordings "
                f"have {different}"
            )
        # Threads would add up in an order of their own.
        with threadpool_limits(limits=1):
            init = "k-means++" if codes <= MOST_CAREFUL_CODES else "random"
            means = KMeans(codes, init=init, n_init=1, max_iter=iterations, random_state=seed)
            means.fit(features_NE)
        patches_KPM = np.zeros((codes, mel_patches.FRAMES, mel_patches.BANDS))
        borders = np.cumsum([len(patches) for patches in found])[:-1]
        for patches, labels in zip(found, np.split(means.labels_, borders), strict=True):
            np.add.at(patches_KPM, labels, in_voice(patches, voice_M))
        patches_KPM /= np.bincount(means.labels_, minlength=codes)[:, None, None]
        return cls(means.cluster_centers_, patches_KPM, voice_M, sample_rate)

    def save(self, directory: str | Path) -> None:
        """Write ``config.json`` and the codebook; whoever needs it atomic gives a temporary directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        # save_file makes a file that only its owner may read.
        (directory / CODES_FILE).write_bytes(save(self._tensors()))
        text = json.dumps(self._config(), indent=1, sort_keys=True)
        (directory / CONFIG_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> MelKmeansTokenizer:
        """Read what :meth:`save` wrote.

        Raises:
            TokenizerError: if the directory does not hold it, or the features have changed since.
        """
        config = read_tokenizer_config(directory)
        path = Path(directory) / CODES_FILE
        try:
            tensors = load_file(path)
            # Another rate is one of another version, which the comparison below refuses.
            rate = config["sample_rate"] if config.get("sample_rate") in mel_patches.RATES else None
            tensors_of = (tensors["centres"], tensors["patches"], tensors["voice"])
            tokenizer = cls(*tensors_of) if rate is None else cls(*tensors_of, rate)
        except (OSError, SafetensorError, KeyError) as error:
            raise TokenizerError(f"{directory} holds no {KIND} tokenizer: {error}") from error
        expected = tokenizer._config()
        if differing := sorted(key for key in expected if config.get(key) != expected[key]):
            key = differing[0]
            raise TokenizerError(
                f"{Path(directory) / CONFIG_FILE}: {key} is {config.get(key)!r}, this version has {expected[key]!r}; "
                "train the tokenizer again"
            )
        return tokenizer

    def _tensors(self) -> dict[str, NDArray[np.float32]]:
        return {"centres": self._centres_KE, "patches": self._patches_KPM, "voice": self._voice_M}

    def _config(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "version": VERSION,
            "features": _FEATURE_CONSTANTS,
            "codes": self.vocabulary_size,
            "frame_rate": self.frame_rate,
            "sample_rate": self.sample_rate,
        }

    def _compute_digest(self) -> str:
        state = hashlib.sha256(json.dumps(self._config(), sort_keys=True).encode())
        for _, tensor in sorted(self._tensors().items()):
            state.update(np.ascontiguousarray(tensor).tobytes())
        return state.hexdigest()


def is_audible(patches_NPM: FloatArray) -> bool:
    """Whether the utterance was loud enough to be raised to the common level."""
    return bool(patches_NPM.max() >= 0)


def voice_of(patches_NPM: FloatArray) -> NDArray[np.float64]:
    """The mean log spectrum, of shape (M,), of an utterance's frames without its pauses."""
    frames_TM = patches_NPM.reshape(-1, patches_NPM.shape[-1]).astype(np.float64)
    levels_T = frames_TM.mean(axis=1)
    mean_M: NDArray[np.float64] = frames_TM[levels_T >= np.quantile(levels_T, PAUSES)].mean(axis=0)
    return mean_M


def in_voice(patches_NPM: FloatArray, voice_M: FloatArray) -> NDArray[np.float64]:
    """One utterance's patches moved towards the average voice; silence stays silence."""
    patches = patches_NPM.astype(np.float64)
    if not is_audible(patches):
        return patches
    moved_NPM: NDArray[np.float64] = patches - NORMALISATION * (voice_of(patches) - voice_M)
    moved_NPM[(patches <= -RANGE) | (moved_NPM < -RANGE)] = -RANGE
    return moved_NPM


def features(patches_NPM: FloatArray) -> NDArray[np.float64]:
    """What the clustering sees of log-mel patches: weighted low cosine coefficients, of shape (N, E)."""
    telephone_NPM = patches_NPM[:, :, :CLUSTERED_BANDS].astype(np.float64)
    bands_NPE = scipy.fft.dct(telephone_NPM, axis=2, norm="ortho")[:, :, :BAND_COEFFICIENTS]
    both_NPE = scipy.fft.dct(bands_NPE, axis=1, norm="ortho")[:, :TIME_COEFFICIENTS]
    weights_PE = np.repeat(TIME_DECAY ** np.arange(TIME_COEFFICIENTS)[:, None], BAND_COEFFICIENTS, axis=1)
    weights_PE[:, 0] *= LEVEL_WEIGHT
    weighted_NPE = both_NPE * weights_PE
    flat_NE: NDArray[np.float64] = weighted_NPE.reshape(
        len(patches_NPM), TIME_COEFFICIENTS * BAND_COEFFICIENTS
    )
    return flat_NE
