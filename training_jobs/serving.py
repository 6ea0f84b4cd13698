"""Answers requests with a registered model: an audio file or a text in, text and speech out."""

from __future__ import annotations

import io
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soundfile

from models import AudioSegment, AudioTokenizer, End, Event, TextPiece, load_audio_tokenizer
from models.tokenizers.interface import TokenizerError
from training_jobs.decoding_settings import FULL_HEAD, DecodingSettings
from training_jobs.dialogue import TRANSCRIBE_PROMPT, Reply, SpeechModel
from training_jobs.live import Streamer
from training_jobs.rows import AUDIO_MARKER, SPEAK_INSTRUCTION
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
        constrained: MCTP steps say audio words only, which is faster and spoils text in their places; a registered
            version's own default is what it was evaluated with.
    """

    task: ServingTask = "asr"
    mode: Mode = "boost"
    max_new_tokens: int = 512
    speak: bool = True
    constrained: bool = False

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
        if not isinstance(known.constrained, bool):
            raise RequestError(f"constrained is {known.constrained!r}; allowed are True, False")
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
    def load(
        cls, checkpoint: Path, tokenizer: Path, device: str, decoding: DecodingSettings = FULL_HEAD
    ) -> SpeechService:
        """From a stage's ``model/`` directory and an audio tokenizer's."""
        model = SpeechModel.load(checkpoint, device, decoding=decoding)
        return cls(model, load_audio_tokenizer(tokenizer))

    def answer(self, requests: Sequence[str], params: ServingParams) -> list[Answer]:
        """Answer each request: paths of audio files, or texts where the task is ``tts``.

        Raises:
            RequestError: naming the row, and the file that is missing or is no audio, or the empty text.
        """
        return [self._answer(row, request, params) for row, request in enumerate(requests)]

    def _answer(self, row: int, request: str, params: ServingParams) -> Answer:
        mode, limit = params.mode, params.max_new_tokens
        content, audio_tokens = self._question(row, request, params)
        messages = [{"role": "user", "content": content}]
        reply = self._model.reply(messages, audio_tokens, mode, limit, constrained=params.constrained)
        if params.task != "asr":
            return self._assemble(reply.text, reply, [reply], params)
        spoken_back = (
            self._model.speak(reply.text, mode, limit, constrained=params.constrained)
            if params.speak and reply.text
            else None
        )
        replies = [reply, spoken_back] if spoken_back is not None else [reply]
        return self._assemble(reply.text, spoken_back, replies, params)

    def stream(self, request: str, params: ServingParams) -> Generator[Event, None, None]:
        """Answer one request while it is decoded: text, then or in between audio segments, then the end.

        Text and audio tokens are those of :meth:`answer`. For ``asr`` the transcript comes first and whole; the audio
        that speaks it follows. Closing the generator frees what the decoding holds.

        Args:
            request: path of an audio file, or a text where the task is ``tts``.
            params: how to answer.

        Raises:
            RequestError: at the call, as :meth:`answer`.
            training_jobs.dialogue.PromptTooLongError, models.errors.ModelError: at the call, as
                :meth:`training_jobs.dialogue.SpeechModel.reply`; while iterating, for an audio token that the audio
                tokenizer does not have.
        """
        since_s = time.perf_counter()
        content, audio_tokens = self._question(0, request, params)
        events = self._reply_events(content, audio_tokens, params, since_s)
        return self._with_transcript_spoken(events, params, since_s) if params.task == "asr" else events

    @cached_property
    def _streamer(self) -> Streamer:
        """Made for the first stream: its engine has weights of its own."""
        return Streamer(self._model, self._audio_tokenizer)

    def _reply_events(
        self, content: str, audio_tokens: Sequence[Sequence[int]], params: ServingParams, since_s: float
    ) -> Generator[Event, None, None]:
        messages = [{"role": "user", "content": content}]
        limit = params.max_new_tokens
        return self._streamer.reply(
            messages, audio_tokens, params.mode, limit, constrained=params.constrained, since_s=since_s
        )

    def _with_transcript_spoken(
        self, heard: Generator[Event, None, None], params: ServingParams, since_s: float
    ) -> Generator[Event, None, None]:
        pieces, ended = [], True
        with closing(heard):
            for event in heard:
                if isinstance(event, TextPiece):
                    pieces.append(event.text)
                    yield event
                elif isinstance(event, End):
                    ended = event.ended
        transcript = "".join(pieces).strip()
        if params.speak and transcript:
            with closing(self._reply_events(SPEAK_INSTRUCTION + transcript, [], params, since_s)) as spoken:
                for event in spoken:
                    if isinstance(event, AudioSegment):
                        yield event
                    elif isinstance(event, End):
                        ended = ended and event.ended
        yield End(ended, time.perf_counter() - since_s)

    def _question(self, row: int, request: str, params: ServingParams) -> tuple[str, Sequence[Sequence[int]]]:
        """The user's message, and an audio's token numbers for each marker in it."""
        if params.task == "tts":
            if not request.strip():
                raise RequestError(f"row {row}: the text to speak is empty")
            return SPEAK_INSTRUCTION + request, []
        return (
            TRANSCRIBE_PROMPT if params.task == "asr" else AUDIO_MARKER,
            [self._encode(row, request)],
        )

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
