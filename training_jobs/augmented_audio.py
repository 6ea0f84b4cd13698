"""Variants of stored recordings, made when they are wanted: none is ever stored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from training_jobs.augment import Samples, augmented
from training_jobs.heard_audio import heard_path
from training_jobs.lake_audio import StoredAudioError, Waveform, read_piece, read_waveform
from validation.augmentation.record import Augmentation, MixedNoise
from validation.batches import database, files_of
from validation.errors import UserError
from validation.lake import Lake
from validation.lake_files import LakeFiles
from validation.schemas import STORED_RATE_HZ, TableName

# A piece of noise quieter than this is a pause in it: raised to the wanted ratio, it would be the noise of 16 bit.
_PAUSE_DBFS = -70.0
_WITH_ROWS: tuple[TableName, ...] = ("training_rows", "augmentations")
_REMEMBERED = 2  # recordings: those of one audio's variants follow one another


class UnknownRowError(UserError):
    """A row of which there is no variant, or no such audio; names it, and what there is."""


class AugmentedAudio:
    """Reads recordings of a lake, as they are or as a variant."""

    def __init__(self, lake: LakeFiles) -> None:
        self._lake = lake
        self._read: OrderedDict[str, Waveform] = OrderedDict()

    def read(self, audio_path: str, augmentation: str) -> Waveform:
        """The recording at ``audio_path``, as it is where ``augmentation`` (JSON) is empty.

        Raises:
            StoredAudioError: if it, or the noise that it is mixed with, is missing or no audio.
        """
        samples, rate_hz = self._original(audio_path)
        if not augmentation:
            return samples, rate_hz
        return augmented(samples, rate_hz, Augmentation.from_json(augmentation), self._noise), rate_hz

    def _original(self, audio_path: str) -> Waveform:
        if audio_path not in self._read:
            self._read[audio_path] = read_waveform(self._lake, audio_path)
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)
        return self._read[audio_path]

    def _noise(self, noise: MixedNoise, length: int, rate_hz: int) -> Samples:
        """A piece of the noise, of that many samples; in place of a pause in it, its loudest piece."""
        samples, stored_hz = read_piece(self._lake, noise.audio_path, noise.offset_s, length / rate_hz)
        if _power(samples) < 10 ** (_PAUSE_DBFS / 10):
            samples = _loudest(read_waveform(self._lake, noise.audio_path)[0], samples.size)
        if not _power(samples):
            where = self._lake.uri(noise.audio_path)
            raise StoredAudioError(f"{where}: noise {noise.utterance_id!r} of {noise.corpus!r} is silent")
        if stored_hz != rate_hz:
            samples = np.asarray(soxr.resample(samples, stored_hz, rate_hz), dtype=np.float32)
        return np.resize(samples, length)


def _power(samples: Samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _loudest(samples: Samples, length: int) -> Samples:
    """The piece of that length with the most power, all of a shorter recording over and over."""
    if samples.size <= length:
        return np.resize(samples, length)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]


@dataclass(frozen=True)
class Rendered:
    """One audio of a row.

    Attributes:
        augmentation: JSON of what was drawn for it; empty: it is the original.
    """

    samples: Samples
    rate_hz: int
    augmentation: str


def corpus_of_row(lake: Lake, corpora: Sequence[str], row_id: str) -> str:
    """The one corpus that has a training row, or a variant, of that name.

    Raises:
        UnknownRowError: if none has, or several.
    """
    found = []
    with database(lake) as connection:
        for corpus in corpora:
            tables = [name for name in _WITH_ROWS if lake.has_table(name, corpus)]
            statements = [_of_row(files_of(lake, name, [corpus])) for name in tables]
            if statements and connection.execute(" UNION ALL ".join(statements), {"row": row_id}).fetchone():
                found.append(corpus)
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownRowError(f"the corpora {found} all have a row {row_id!r}; say which is meant")
    raise UnknownRowError(f"none of the corpora {list(corpora)} has a training row or a variant {row_id!r}")


def _of_row(files: str) -> str:
    return f"SELECT 1 FROM {files} WHERE row_id = $row"  # noqa: S608 - the paths are quoted


def render(lake: Lake, corpus: str, row_id: str, marker: int = 0, rate_hz: int = STORED_RATE_HZ) -> Rendered:
    """An audio of a training row or of a variant, the very samples that its tokens were made from.

    Args:
        row_id: Of a training row, or of its variant: ``<row>~<copy>``.
        marker: Which ``<|audio|>`` of the row.
        rate_hz: That of the tokenizer: one of 16 kHz hears the view at that rate.

    Raises:
        UnknownRowError: if there is no such row, or it has no such audio.
        StoredAudioError: if the recording, or the noise in it, is not there.
        validation.lake.MissingTableError: if the corpus has not been prepared.
    """
    utterances = files_of(lake, "accepted_utterances", [corpus])
    rows = files_of(lake, "training_rows", [corpus])
    drawn = files_of(lake, "augmentations", [corpus])
    with database(lake) as connection:
        variant = connection.execute(
            f"SELECT original, augmentation, marker FROM {drawn} WHERE row_id = ? ORDER BY marker",  # noqa: S608
            [row_id],
        ).fetchall()
        original = variant[0][0] if variant else row_id
        found = connection.execute(
            f"SELECT audio_digests FROM {rows} WHERE row_id = ?",  # noqa: S608
            [original],
        ).fetchone()
        if found is None:
            raise UnknownRowError(f"corpus {corpus!r} has no training row and no variant {row_id!r}")
        if not 0 <= marker < len(found[0]):
            raise UnknownRowError(
                f"row {row_id!r} of {corpus!r} has {len(found[0])} audios, no number {marker}"
            )
        path = connection.execute(
            f"SELECT min({heard_path(rate_hz)}) FROM {utterances} WHERE audio_digest = ?",  # noqa: S608
            [found[0][marker]],
        ).fetchone()
    if path is None or path[0] is None:
        raise UnknownRowError(
            f"row {row_id!r} of {corpus!r}: its audio {found[0][marker]} is no longer accepted, or not at {rate_hz} Hz"
        )
    augmentation = {number: text for _, text, number in variant}.get(marker, "")
    samples, rate_hz = AugmentedAudio(lake).read(path[0], augmentation)
    return Rendered(samples, rate_hz, augmentation)
