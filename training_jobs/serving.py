"""Answers requests with a registered model: an audio file or a text in, text and speech out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soundfile

from models import AudioTokenizer, load_audio_tokenizer
from models.tokenizers.interface import TokenizerError
from training_jobs.dialogue import Reply, SpeechModel
from training_jobs.rows import AUDIO_MARKER
from training_jobs.spec import MODES, Mode
from validation.errors import UserError
from validation.schemas import STORED_RATE_HZ

ServingTask = Literal["asr", "sqa", "tts"]


class RequestError(UserError):
    """A request that cannot be answered as it stands; names the row, the value and what is allowed."""


@dataclass(frozen=True)
class ServingParams:
    """How to answer.

    Attributes:
        task: ``asr`` transcribes the audio, ``sqa`` answers the question spoken in it, ``tts`` reads a text aloud.
        mode: decode mode.
        max_new_tokens: limit of each reply.
        speak: for ``asr``, read the transcript aloud too; the other tasks speak by themselves.
    """

    task: ServingTask = "asr"
    mode: Mode = "boost"
    max_new_tokens: int = 512
    speak: bool = True

    @classmethod
    def parse(cls, params: Mapping[str, Any] | None) -> ServingParams:
        """From MLflow's ``params``.

        Raises:
            RequestError: naming the parameter, its value and what is allowed.
        """
        given = dict(params or {})
        names = [field.name for field in fields(cls)]
        if unknown := sorted(set(given) - set(names)):
            raise RequestError(f"unknown parameters {unknown}; allowed are {', '.join(names)}")
        known = cls(**given)
        for name, allowed in (("task", get_args(ServingTask)), ("mode", MODES)):
            if getattr(known, name) not in allowed:
                raise RequestError(f"{name} is {getattr(known, name)!r}; allowed are {', '.join(allowed)}")
        if known.max_new_tokens < 1:
            raise RequestError(f"max_new_tokens is {known.max_new_tokens}, but must be at least 1")
        return known


@dataclass(frozen=True)
class Answer:
    """One request's answer.

    Attributes:
        text: transcript, answer, or the text among a spoken reply.
        audio_wav: the bytes of a WAV file (22,050 Hz, mono, PCM16); empty without speech.
        note: what there is to know, such as why there is no speech; empty where all is well.
    """

    text: str
    audio_wav: bytes
    note: str


class SpeechService:
    """A checkpoint and the audio tokenizer it was trained with."""

    def __init__(self, model: SpeechModel, audio_tokenizer: AudioTokenizer) -> None:
        self._model = model
        self._audio_tokenizer = audio_tokenizer

    @classmethod
    def load(cls, checkpoint: Path, tokenizer: Path, device: str) -> SpeechService:
        """From a stage's ``model/`` directory and an audio tokenizer's."""
        return cls(SpeechModel.load(checkpoint, device), load_audio_tokenizer(tokenizer))

    def answer(self, requests: Sequence[str], params: ServingParams) -> list[Answer]:
        """Answer each request: paths of audio files, or texts where the task is ``tts``.

        Raises:
            RequestError: naming the row, and the file that is missing or is no audio, or the empty text.
        """
        return [self._answer(row, request, params) for row, request in enumerate(requests)]

    def _answer(self, row: int, request: str, params: ServingParams) -> Answer:
        mode, limit = params.mode, params.max_new_tokens
        if params.task == "tts":
            if not request.strip():
                raise RequestError(f"row {row}: the text to speak is empty")
            spoken = self._model.speak(request, mode, limit)
            return self._assemble(spoken.text, spoken, [spoken], params)
        audio_tokens = self._encode(row, request)
        if params.task == "sqa":
            question = [{"role": "user", "content": AUDIO_MARKER}]
            reply = self._model.reply(question, [audio_tokens], mode, limit)
            return self._assemble(reply.text, reply, [reply], params)
        heard = self._model.transcribe(audio_tokens, mode, limit)
        spoken_back = self._model.speak(heard.text, mode, limit) if params.speak and heard.text else None
        replies = [heard, spoken_back] if spoken_back is not None else [heard]
        return self._assemble(heard.text, spoken_back, replies, params)

    def _assemble(
        self,
        text: str,
        spoken: Reply | None,
        replies: Sequence[Reply],
        params: ServingParams,
    ) -> Answer:
        notes = []
        if any(not reply.ended for reply in replies):
            longest = max(len(reply.token_ids) for reply in replies if not reply.ended)
            notes.append(f"a reply was cut at {longest} tokens")
        if not text:
            notes.append("the reply has no text")
        if spoken is None or not spoken.audio_tokens:
            is_wanted = params.task != "asr" or params.speak
            return Answer(text, b"", "; ".join([*notes, *(["the reply has no speech"] if is_wanted else [])]))
        try:
            wav = _wav(self._audio_tokenizer.decode(spoken.audio_tokens))
        except TokenizerError as error:
            # Some tokenizers only listen.
            return Answer(text, b"", "; ".join([*notes, str(error)]))
        return Answer(text, wav, "; ".join(notes))

    def _encode(self, row: int, request: str) -> list[int]:
        path = Path(request)
        if not path.is_file():
            raise RequestError(f"row {row}: there is no file {request!r}")
        try:
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise RequestError(f"row {row}: {request!r} is no audio that can be read: {error}") from error
        if not len(samples):
            raise RequestError(f"row {row}: {request!r} holds no sample")
        try:
            return self._audio_tokenizer.encode(samples.mean(axis=1), rate_hz)
        except TokenizerError as error:
            raise RequestError(f"row {row}: {request!r}: {error}") from error


def _wav(waveform: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, waveform.clip(-1.0, 1.0), STORED_RATE_HZ, format="WAV", subtype="PCM_16")
    return target.getvalue()
