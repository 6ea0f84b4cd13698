"""A checkpoint on the bench: everything that is measured at one length of prompt."""

from __future__ import annotations

from collections.abc import Sequence

from models import load_audio_tokenizer
from training_jobs.benchmark_prompts import Recordings, spoken_prompts
from training_jobs.dialogue import SpeechModel
from training_jobs.evaluation_rows import held_out_rows
from training_jobs.jobs import BenchmarkJob
from training_jobs.latency import first_chunk_positions
from training_jobs.latency_figures import (
    MaybeSpread,
    NotMeasured,
    PromptFigures,
    Times,
    milliseconds,
    summarise,
)
from training_jobs.latency_parts import peak_memories, time_encoder, time_first_chunks
from training_jobs.run_check import tokens_to_first_chunk
from training_jobs.spec import MODES
from training_jobs.timing import synchroniser, time_models
from validation.errors import ConfigurationError
from validation.lake import Lake

_SEED = 0  # of the choice of rows for prompts
_MODEL = "checkpoint"


class LatencyBench:
    """A model, its audio tokenizer and the held-out rows.

    Attributes:
        positions: that the model has.

    Raises:
        ConfigurationError: if ``new_tokens`` are too few for a first chunk.
        training_jobs.evaluation_rows.EvaluationError: if no row is held out.
    """

    def __init__(self, job: BenchmarkJob, device: str) -> None:
        self._settings, self._device = job.settings, device
        self._chunk_after = tokens_to_first_chunk(job.ratio)
        if self._chunk_after > job.settings.new_tokens:
            raise ConfigurationError(
                f"benchmark.new_tokens is {job.settings.new_tokens}, but with ratio {list(job.ratio)} the first audio "
                f"chunk is complete after {self._chunk_after} tokens"
            )
        lake = Lake(job.lake)
        self._model = SpeechModel.load(job.model_dir, device, job.ratio, job.decoding)
        self._tokenizer = load_audio_tokenizer(job.tokenizer_dir)
        self._rows = held_out_rows(
            lake,
            job.corpora,
            self._tokenizer.digest,
            max_rows_per_slice=max(job.settings.repeats),
            seed=_SEED,
        ).rows
        self._recordings = Recordings(lake, job.corpora, self._tokenizer.sample_rate)
        # The last pair repeats; its audio count includes the two markers.
        text_count, audio_count = job.ratio[-2:]
        audio_share = (audio_count - 2) / (text_count + audio_count)
        self._speech_s_per_token = audio_share / self._tokenizer.frame_rate
        self.positions: int = self._model.engine.config.max_position_embeddings

    def measure(self, length: int, repeats: int) -> tuple[PromptFigures, Times]:
        """Everything for prompts of ``length`` tokens, each mode ``repeats`` times.

        Raises:
            ConfigurationError: if the length is too short for audio, or no held-out row has any.
        """
        settings, model, tokenizer = self._settings, self._model, self._tokenizer
        prompts = spoken_prompts(model, self._rows, length, repeats)
        timings = time_models(
            {_MODEL: model},
            {_MODEL: [prompt.token_ids for prompt in prompts]},
            MODES,
            settings.new_tokens,
            settings.warmup,
            repeats,
            self._device,
        )[_MODEL]
        basis, positions = first_chunk_positions(timings, model.is_audio, self._chunk_after - 1)
        synchronise = synchroniser(self._device)
        encoder_s = time_encoder(tokenizer, self._recordings, prompts, settings.warmup, repeats, synchronise)
        # The decoder does the same work for eight tokens of any mode: Vanilla's stand for all.
        replies = timings["vanilla"]
        decoder_s = time_first_chunks(tokenizer, model, replies, basis, prompts[0], synchronise)
        memory = peak_memories(model, prompts[0], MODES, settings.new_tokens, self._device)
        peaks = {mode: peak.peak_bytes for mode, peak in memory.items()}
        times = Times(timings, basis, positions, encoder_s, decoder_s, peaks)
        figures = PromptFigures(
            prompt_tokens=length,
            audio_seconds=len(prompts[0].audio_tokens) / tokenizer.frame_rate,
            prompts=len(prompts),
            repeats=repeats,
            warmup=settings.warmup,
            first_chunk_basis=basis,
            memory=memory[MODES[0]].how,
            audio_encoder_ms=_spread(encoder_s),
            chunk_decoder_ms=_spread(decoder_s),
            modes=summarise(times, model.is_text, self._speech_s_per_token),
        )
        return figures, times


def _spread(seconds: Sequence[float] | NotMeasured) -> MaybeSpread:
    return seconds if isinstance(seconds, NotMeasured) else milliseconds(seconds)
