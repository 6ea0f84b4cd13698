"""What the latency benchmark times beside the decoding: audio encoder, first chunk's decoder; and peak memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from models import SCHEDULES, AudioTokenizer
from models.tokenizers.interface import TokenizerError
from training_jobs.benchmark_prompts import NoRecordingError, Recordings, SpokenPrompt
from training_jobs.dialogue import SpeechModel
from training_jobs.lake_audio import StoredAudioError
from training_jobs.latency import FIRST_CHUNK_TOKENS, FirstChunkBasis, Timing, time_call
from training_jobs.latency_figures import NotMeasured
from training_jobs.peak_memory import PeakMemory, peak_memory
from training_jobs.rows import vocabulary_of
from training_jobs.spec import Mode
from training_jobs.timing import decoder_of
from validation.lake import MissingTableError

_SOUNDS = 5  # different ones at most that are held in memory; one of 2,048 tokens takes 14 MB


def time_encoder(
    tokenizer: AudioTokenizer,
    recordings: Recordings,
    prompts: Sequence[SpokenPrompt],
    warmup: int,
    repeats: int,
    synchronise: Callable[[], None],
) -> list[float] | NotMeasured:
    """Seconds that the sound of a prompt takes to become tokens; reading it from the lake is not among them."""
    try:
        sounds = [
            recordings.sound(prompt, len(prompt.audio_tokens) / tokenizer.frame_rate)
            for prompt in prompts[:_SOUNDS]
        ]
    except (NoRecordingError, StoredAudioError, MissingTableError) as error:
        return NotMeasured(str(error))
    times = [
        time_call(partial(tokenizer.encode, *sounds[number % len(sounds)]), synchronise)
        for number in range(warmup + repeats)
    ]
    return times[warmup:]


def time_first_chunks(
    tokenizer: AudioTokenizer,
    model: SpeechModel,
    replies: Sequence[Timing],
    basis: FirstChunkBasis,
    prompt: SpokenPrompt,
    synchronise: Callable[[], None],
) -> list[float] | NotMeasured:
    """Seconds that each reply's first chunk takes to become a waveform.

    Where the replies have no chunk of their own (``basis``), as many audio tokens of the prompt are taken.
    """
    spare = [int(code) for code in np.resize(prompt.audio_tokens, FIRST_CHUNK_TOKENS)]
    chunks = [_first_chunk(model, reply) if basis == "reply" else spare for reply in replies]
    try:
        tokenizer.decode(spare)  # the first time loads libraries
        return [time_call(partial(tokenizer.decode, chunk), synchronise) for chunk in chunks]
    except TokenizerError as error:
        return NotMeasured(str(error))


def peak_memories(
    model: SpeechModel, prompt: SpokenPrompt, modes: Sequence[Mode], new_tokens: int, device: str
) -> dict[str, PeakMemory]:
    """The memory that one more generation in each mode takes at most, apart from those that are timed."""

    def generate(mode: Mode) -> None:
        for _ in decoder_of(model)(prompt.token_ids, SCHEDULES[mode], new_tokens):
            pass

    gc.collect()
    return {mode: peak_memory(partial(generate, mode), device) for mode in modes}


def _first_chunk(model: SpeechModel, run: Timing) -> list[int]:
    first = vocabulary_of(model.tokenizer).first_audio
    return [token - first for token in run.token_ids if model.is_audio(token)][:FIRST_CHUNK_TOKENS]
