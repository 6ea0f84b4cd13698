"""Replies that come while they are decoded, for one request or turn by turn in a conversation."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress

from transformers import PreTrainedTokenizerFast

from models import (
    SCHEDULES,
    AudioTokenizer,
    Conversation,
    Event,
    Sampling,
    SpeechVocabulary,
    stream_events,
)
from models.tokenizers.interface import NoDecoderError
from training_jobs.dialogue import Messages, SpeechModel, refuse_empty_audio
from training_jobs.rows import encode_prompt, encode_turns, joined, vocabulary_of
from training_jobs.spec import Mode


class Streamer:
    """Streams a speech model's replies as typed events: text, audio segments, the end.

    Args:
        model: what replies.
        audio_tokenizer: the one it was trained with.
    """

    def __init__(self, model: SpeechModel, audio_tokenizer: AudioTokenizer) -> None:
        self.model = model
        self.vocabulary = speech_vocabulary(model.tokenizer)
        self.engine = model.engine
        self._audio_tokenizer = audio_tokenizer
        self._decode_text = text_decoder(model.tokenizer)
        # The first decoding loads libraries for seconds, which the first reply would wait for.
        with suppress(NoDecoderError):
            audio_tokenizer.decode([0])

    def reply(
        self,
        messages: Messages,
        audio_tokens: Sequence[Sequence[int]],
        mode: Mode,
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        constrained: bool | None = None,
        since_s: float | None = None,
    ) -> Generator[Event, None, None]:
        """What :meth:`training_jobs.dialogue.SpeechModel.reply` answers, as it comes.

        Closing it frees what the decoding holds.

        Args:
            messages: the turns given.
            audio_tokens: one list of numbers per ``<|audio|>`` marker in them.
            mode: decode mode.
            max_new_tokens: limit of the reply.
            sampling: how tokens are drawn; ``None`` takes the likeliest.
            constrained: let MCTP steps say audio words only; ``None``: as the model's ``decoding`` has it.
            since_s: the time of the request by ``time.perf_counter``; without it that of this call.

        Raises:
            training_jobs.rows.RowError, training_jobs.dialogue.PromptTooLongError, models.errors.ModelError: at the
                call, as :meth:`training_jobs.dialogue.SpeechModel.reply`; and while iterating, as
                :func:`models.streaming.stream_events`.
        """
        since_s = time.perf_counter() if since_s is None else since_s
        prompt, limit = self.model.prompt(messages, audio_tokens, max_new_tokens)
        tokens = self.engine.stream(
            prompt,
            SCHEDULES[mode],
            limit,
            self.vocabulary.end_of_turn,
            sampling=sampling,
            constrained=self.model.is_constrained(constrained),
        )
        return self.events(tokens, since_s)

    def events(self, tokens: Iterable[int], since_s: float) -> Generator[Event, None, None]:
        """Of a reply's ids; see :func:`models.streaming.stream_events`."""
        return stream_events(
            tokens, self.vocabulary, self._decode_text, self._audio_tokenizer, since_s=since_s
        )


class LiveConversation:
    """Talks turn by turn; what was read and said before is not read again.

    The ids of all turns together are those of :func:`training_jobs.rows.encode_prompt` for the whole conversation,
    where replies are what the model said, token for token, and not laid out anew by the ratio. Old turns are discarded
    when the window is full (:class:`models.conversation.Conversation`).

    Args:
        streamer: of the model; several conversations may share it.
        system: content of the system message; empty for none.
        mode: decode mode of turns that do not say another.
        max_new_tokens: limit of each reply.
        max_tokens: of the window; without it all positions of the model.

    Raises:
        models.errors.ModelError: if the window exceeds the model's positions, or the system message the window.
    """

    def __init__(
        self,
        streamer: Streamer,
        *,
        system: str = "",
        mode: Mode = "boost",
        max_new_tokens: int = 512,
        max_tokens: int | None = None,
    ) -> None:
        self._streamer, self._mode, self._max_new_tokens = streamer, mode, max_new_tokens
        self._tokenizer, self._ratio = streamer.model.tokenizer, streamer.model.ratio
        messages = [{"role": "system", "content": system}] if system else []
        system_ids, _ = joined(encode_turns(messages, [], self._tokenizer, self._ratio))
        self.conversation = Conversation(
            streamer.engine, streamer.vocabulary, system_ids=system_ids, max_tokens=max_tokens
        )

    def say(
        self,
        content: str,
        audio_tokens: Sequence[Sequence[int]] = (),
        *,
        mode: Mode | None = None,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        constrained: bool | None = None,
    ) -> Generator[Event, None, None]:
        """Take the user's message and give the reply's events.

        A reply may be left in the middle, by closing it or by saying the next turn: what was decided so far stays in
        the conversation, which goes on from there.

        Args:
            content: text, with an ``<|audio|>`` marker where audio stands.
            audio_tokens: one list of numbers per marker.
            mode: decode mode of this reply.
            max_new_tokens: limit of this reply.
            sampling: how tokens are drawn; ``None`` takes the likeliest.
            constrained: as :meth:`Streamer.reply` has it.

        Raises:
            training_jobs.rows.RowError: at the call, for a marker without an audio, an empty audio, or an audio token
                out of range.
            models.errors.ModelError: at the call, for a message that does not fit into the window or a mode that takes
                more modules than there are; and while iterating, as :func:`models.streaming.stream_events`.
        """
        since_s = time.perf_counter()
        refuse_empty_audio(audio_tokens)
        message = {"role": "user", "content": content}
        ids = encode_prompt([message], audio_tokens, self._tokenizer, self._ratio)
        tokens = self.conversation.say(
            ids,
            SCHEDULES[mode or self._mode],
            self._max_new_tokens if max_new_tokens is None else max_new_tokens,
            sampling=sampling,
            constrained=self._streamer.model.is_constrained(constrained),
        )
        return self._streamer.events(tokens, since_s)

    def close(self) -> None:
        """Let go of the caches; nothing more can be said."""
        self.conversation.close()


def speech_vocabulary(tokenizer: PreTrainedTokenizerFast) -> SpeechVocabulary:
    """What of a text tokenizer's vocabulary replies are read by.

    Raises:
        training_jobs.rows.RowError: as :func:`training_jobs.rows.vocabulary_of`.
    """
    words = vocabulary_of(tokenizer)
    return SpeechVocabulary(
        first_audio=words.first_audio,
        audio_codes=words.audio_codes,
        begin_of_audio=words.begin_of_audio,
        end_of_audio=words.end_of_audio,
        end_of_turn=words.im_end,
        after_turn=words.newline,
    )


def text_decoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[list[int]], str]:
    """The text of ids, as :meth:`training_jobs.dialogue.SpeechModel.read` has it, but for space at its ends."""
    known, added = len(tokenizer), frozenset(tokenizer.added_tokens_decoder)

    def decode(ids: list[int]) -> str:
        # Ids past the tokenizer's own are the embedding's padding.
        text = [token for token in ids if token < known and token not in added]
        return str(tokenizer.decode(text, clean_up_tokenization_spaces=False))

    return decode
