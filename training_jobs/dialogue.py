"""A trained checkpoint as something one can talk to: messages and audio tokens in, text and audio tokens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models import SCHEDULES, AudioWords, Engine, load_model
from training_jobs.decoding_settings import FULL_HEAD, DecodingSettings
from training_jobs.rows import (
    AUDIO_MARKER,
    INTERLEAVING_RATIO,
    SPEAK_INSTRUCTION,
    RowError,
    Vocabulary,
    encode_prompt,
    vocabulary_of,
)
from training_jobs.spec import Mode
from validation.errors import UserError

if TYPE_CHECKING:
    from models import MctpForCausalLM

TRANSCRIBE_PROMPT = f"Convert the speech to text.\n{AUDIO_MARKER}"  # DESIGN §4


class PromptTooLongError(UserError):
    """A prompt that leaves no position for a reply; names both numbers."""


Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Reply:
    """What the model said.

    Attributes:
        token_ids: all new ids, the end token left out.
        text: the text among them.
        audio_tokens: the audio token numbers among them, in order.
        ended: whether the model ended its turn, rather than running into the limit.
    """

    token_ids: list[int]
    text: str
    audio_tokens: list[int]
    ended: bool


def refuse_empty_audio(audio_tokens: Sequence[Sequence[int]]) -> None:
    """Nothing can be heard in an audio without tokens, and a model has learnt from none.

    Raises:
        training_jobs.rows.RowError: naming the audio.
    """
    for marker, numbers in enumerate(audio_tokens):
        if not len(numbers):
            raise RowError(f"audio {marker} is empty: it has no audio token, but must have at least 1")


def dtype_on(device: str) -> torch.dtype:
    """What stages train in there, and hence what is evaluated, timed and served: bfloat16 on GPUs."""
    return torch.float32 if device == "cpu" else torch.bfloat16


class SpeechModel:
    """A checkpoint's engine with its text tokenizer; decodes greedily.

    ``ratio`` is the interleaving it was trained with: earlier spoken replies in a prompt are laid out by it.
    ``decoding`` says how it decodes where a caller does not.
    """

    def __init__(
        self,
        model: MctpForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        ratio: Sequence[int],
        decoding: DecodingSettings = FULL_HEAD,
    ) -> None:
        self.ratio, self.decoding = ratio, decoding
        self.tokenizer = tokenizer
        self._vocabulary = vocabulary_of(tokenizer)
        self.engine = Engine(model, audio_words=audio_words(self._vocabulary), weights=decoding.weights)
        # Ids past the tokenizer's own are the embedding's padding, which an untrained model may well pick.
        self._text_ids = set(range(len(tokenizer))) - set(tokenizer.added_tokens_decoder)

    @classmethod
    def load(
        cls,
        directory: Path,
        device: str = "cpu",
        ratio: Sequence[int] = INTERLEAVING_RATIO,
        decoding: DecodingSettings = FULL_HEAD,
    ) -> SpeechModel:
        """Load weights and text tokenizer from a stage's ``model/`` directory, in the dtype it was trained in.

        Raises:
            models.checkpoints.CheckpointError: if the directory holds no checkpoint.
        """
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        assert isinstance(tokenizer, PreTrainedTokenizerFast), type(tokenizer)
        return cls(load_model(directory, device=device, dtype=dtype_on(device)), tokenizer, ratio, decoding)

    def reply(
        self,
        messages: Messages,
        audio_tokens: Sequence[Sequence[int]],
        mode: Mode,
        max_new_tokens: int,
        *,
        constrained: bool | None = None,
    ) -> Reply:
        """Answer the turns given; ``audio_tokens`` has one list of numbers per ``<|audio|>`` marker in them.

        ``constrained`` is that of ``decoding`` unless it is given.

        Raises:
            training_jobs.rows.RowError: for a marker without an audio, an empty audio, or an audio token out of range.
            PromptTooLongError: if the prompt fills the model's positions.
            models.errors.ModelError: if the mode takes more modules than there are.
        """
        prompt, limit = self.prompt(messages, audio_tokens, max_new_tokens)
        ids = self.engine.generate(
            prompt,
            SCHEDULES[mode],
            limit,
            self._vocabulary.im_end,
            constrained=self.is_constrained(constrained),
        )
        return self.read(ids)

    def is_constrained(self, asked: bool | None) -> bool:
        """Whether MCTP steps say audio words only: as asked, or else as ``decoding`` has it."""
        return self.decoding.constrained if asked is None else asked

    def prompt(
        self, messages: Messages, audio_tokens: Sequence[Sequence[int]], max_new_tokens: int
    ) -> tuple[list[int], int]:
        """The ids that a reply is decoded from, and how many new ones there are positions for, of those allowed.

        Raises:
            training_jobs.rows.RowError, PromptTooLongError: as :meth:`reply`.
        """
        refuse_empty_audio(audio_tokens)
        prompt = encode_prompt(messages, audio_tokens, self.tokenizer, self.ratio)
        positions = self.engine.config.max_position_embeddings
        if len(prompt) >= positions:
            raise PromptTooLongError(
                f"the prompt has {len(prompt)} tokens; with a reply it must fit into {positions} positions"
            )
        return prompt, min(max_new_tokens, positions - len(prompt))

    def transcribe(
        self, audio_tokens: Sequence[int], mode: Mode, max_new_tokens: int, *, constrained: bool | None = None
    ) -> Reply:
        """What is said in one audio."""
        turn = {"role": "user", "content": TRANSCRIBE_PROMPT}
        return self.reply([turn], [audio_tokens], mode, max_new_tokens, constrained=constrained)

    def speak(self, text: str, mode: Mode, max_new_tokens: int, *, constrained: bool | None = None) -> Reply:
        """Read ``text`` aloud."""
        turn = {"role": "user", "content": SPEAK_INSTRUCTION + text}
        return self.reply([turn], [], mode, max_new_tokens, constrained=constrained)

    def read(self, token_ids: Sequence[int]) -> Reply:
        """Split generated ids at the end of the turn, then into text and audio."""
        vocabulary = self._vocabulary
        ids = list(token_ids)
        ended = vocabulary.im_end in ids
        if ended:
            ids = ids[: ids.index(vocabulary.im_end)]
        text = self.tokenizer.decode(
            [token for token in ids if token in self._text_ids], clean_up_tokenization_spaces=False
        )
        audio = [token - vocabulary.first_audio for token in ids if self.is_audio(token)]
        return Reply(token_ids=ids, text=str(text).strip(), audio_tokens=audio, ended=ended)

    def is_audio(self, token: int) -> bool:
        """Whether a vocabulary id stands for an audio token."""
        return 0 <= token - self._vocabulary.first_audio < self._vocabulary.audio_codes

    def is_text(self, token: int) -> bool:
        """Whether a vocabulary id stands for text, rather than for audio, a marker or the embedding's padding."""
        return token in self._text_ids


def audio_words(vocabulary: Vocabulary) -> AudioWords:
    """What a spoken reply's audio slots can hold: audio tokens, the markers around them, and the end of the turn."""
    others = (vocabulary.begin_of_audio, vocabulary.end_of_audio, vocabulary.im_end)
    return AudioWords(vocabulary.first_audio, vocabulary.audio_codes, others)
