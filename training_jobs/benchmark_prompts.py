"""What the latency benchmark asks: spoken questions of an exact length, and the recordings that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training_jobs.dialogue import SpeechModel
from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.heard_audio import heard_path
from training_jobs.lake_audio import Waveform, read_waveform
from training_jobs.rows import AUDIO_MARKER, encode_prompt
from validation.batches import database, files_of
from validation.errors import ConfigurationError, UserError
from validation.lake import Lake

_TURN = [{"role": "user", "content": AUDIO_MARKER}]


class NoRecordingError(UserError):
    """A held-out row whose recording the lake does not hold; names the row."""


@dataclass(frozen=True)
class Source:
    """One audio of a held-out row: the row, and which of its markers."""

    corpus: str
    row_id: str
    marker: int


@dataclass(frozen=True)
class SpokenPrompt:
    """A spoken question.

    Attributes:
        token_ids: of the whole prompt.
        audio_tokens: the token numbers of the audio in it.
        sources: whose audios they are: one that is cut, or several in a row, over and over where they are too short.
    """

    token_ids: list[int]
    audio_tokens: list[int]
    sources: tuple[Source, ...]


def make_prompts(
    model: SpeechModel, rows: Sequence[EvaluationRow], length: int, count: int
) -> list[list[int]]:
    """The ids of :func:`spoken_prompts`."""
    return [prompt.token_ids for prompt in spoken_prompts(model, rows, length, count)]


def spoken_prompts(
    model: SpeechModel, rows: Sequence[EvaluationRow], length: int, count: int
) -> list[SpokenPrompt]:
    """``count`` spoken questions, or as many as there are rows, of exactly ``length`` tokens each.

    Questions of conversations come first, then other rows with audio.

    Raises:
        ConfigurationError: if the framing alone is as long as that, or no row has audio in its prompt.
    """
    frame = len(encode_prompt(_TURN, [[]], model.tokenizer))
    needed = length - frame
    if needed < 1:
        raise ConfigurationError(
            f"benchmark.prompt_tokens has {length}, but a prompt with one audio token takes {frame + 1}"
        )
    ranked = sorted(rows, key=lambda row: row.task != "sqa")
    audios = [
        (audio, Source(row.corpus, row.row_id, marker))
        for row in ranked
        for marker, audio in enumerate(row.audio_tokens)
        if audio
    ]
    if not audios:
        raise ConfigurationError(
            "the latency benchmark needs a held-out row with audio in its prompt; there is none"
        )
    chosen: list[tuple[list[int], tuple[Source, ...]]]
    chosen = [(audio, (source,)) for audio, source in audios if len(audio) >= needed]
    chosen = chosen or [_joined(audios, needed)]
    return [
        SpokenPrompt(encode_prompt(_TURN, [audio[:needed]], model.tokenizer), audio[:needed], sources)
        for audio, sources in chosen[:count]
    ]


def _joined(audios: Sequence[tuple[list[int], Source]], needed: int) -> tuple[list[int], tuple[Source, ...]]:
    tokens = [token for audio, _ in audios for token in audio]
    return tokens * -(-needed // len(tokens)), tuple(source for _, source in audios)


class Recordings:
    """The sound of prompts, as an audio tokenizer of that rate hears it."""

    def __init__(self, lake: Lake, corpora: Sequence[str], rate_hz: int) -> None:
        self._lake, self._corpora, self._heard = lake, corpora, heard_path(rate_hz)

    def sound(self, prompt: SpokenPrompt, seconds: float) -> Waveform:
        """That many seconds of the prompt's recordings.

        Raises:
            NoRecordingError: if the tables do not say where a recording is, or all are empty.
            training_jobs.lake_audio.StoredAudioError: if a file is missing or no audio.
            validation.lake.MissingTableError: if a corpus has no accepted utterances.
        """
        pieces: list[Waveform] = []
        have_s = 0.0
        for path in self._paths(prompt.sources):
            samples, rate_hz = read_waveform(self._lake, path)
            pieces.append((samples, rate_hz))
            have_s += samples.size / rate_hz
            if have_s >= seconds:
                break
        if not have_s:
            raise NoRecordingError(
                f"the recordings of {prompt.sources[0]} and what follows it have no samples"
            )
        rate_hz = pieces[0][1]
        assert all(rate == rate_hz for _, rate in pieces), "one stored form has one rate"
        joined = np.concatenate([samples for samples, _ in pieces])
        # Where all together are too short, they go on from their beginning, as the prompt's tokens do.
        return np.resize(joined, max(1, round(seconds * rate_hz))), rate_hz

    def _paths(self, sources: Sequence[Source]) -> list[str]:
        with database(self._lake) as connection:
            rows = connection.execute(
                f"""SELECT corpus, row_id, audio_digests FROM {files_of(self._lake, "training_rows", self._corpora)}
                WHERE list_contains(?, row_id)""",  # noqa: S608 - the paths are quoted
                [[source.row_id for source in sources]],
            ).fetchall()
            digests = {(corpus, row_id): found for corpus, row_id, found in rows}
            wanted = [digests[source.corpus, source.row_id][source.marker] for source in sources]
            stored = dict(
                connection.execute(
                    f"""SELECT audio_digest, min({self._heard})
                    FROM {files_of(self._lake, "accepted_utterances", self._corpora)}
                    WHERE list_contains(?, audio_digest) GROUP BY audio_digest""",  # noqa: S608 - likewise
                    [wanted],
                ).fetchall()
            )
        for source, digest in zip(sources, wanted, strict=True):
            if stored.get(digest) is None:
                raise NoRecordingError(
                    f"row {source.row_id!r} of corpus {source.corpus!r}: accepted_utterances has no {self._heard} for "
                    f"its audio {digest[:12]}"
                )
        return [stored[digest] for digest in wanted]
