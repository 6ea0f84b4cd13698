"""Decoding by a schedule of backbone and MCTP steps, from weights that are made ready once."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from itertools import chain, repeat

from models.batch_decoding import BatchDecoder
from models.config import MctpConfig
from models.decode_weights import DecodeWeights
from models.decoding import Decoder, Memory
from models.errors import ModelError
from models.mctp import MctpForCausalLM
from models.quantized import Weights
from models.sampling import Chooser, Sampling
from models.schedules import schedule_pairs
from models.static_decoding import StaticDecoder, StaticPool
from models.verified import Acceptance, VerifiedDecoder, decide_verified
from models.words import AudioWords

EndTokens = int | Collection[int] | None


class Engine:
    """Generates from a model.

    Every step decides one token. A backbone step first reads whatever tokens the backbone has not seen; the n-th MCTP
    step after it is module n-1, which likewise reads all rows that it has missed, in one call.

    Args:
        model: its parameters' device and type are used; mode and gradients do not matter. It is not kept: whoever lets
            go of it has its weights once. Whoever trains it on makes another engine.
        fused: copy matrices that read the same rows into one, which is faster (on a CPU in float32 in two layouts, so
            that they take twice the room); without it the weights are the model's own, and nothing is copied.
        audio_words: what MCTP steps may say in generations that are ``constrained``.
        static: steps of static shape for single generations, which a GPU replays as CUDA graphs; the memory of each
            length, and its graphs, stay with the engine. Several at a time may go on; each takes memory of its own.
        weights: what the matrices are kept in. Fewer bits are read faster, and change what is decoded.

    Raises:
        ModelError: for weights that the device has no kernel for, or whose groups do not divide the model's width.
    """

    def __init__(
        self,
        model: MctpForCausalLM,
        *,
        fused: bool = True,
        audio_words: AudioWords | None = None,
        static: bool = False,
        weights: Weights = "float",
    ) -> None:
        self.weights = DecodeWeights(model, fused, audio_words, weights)
        self._pool = StaticPool(self.weights) if static else None

    @property
    def config(self) -> MctpConfig:
        """Of the model."""
        return self.weights.config

    def generate(
        self,
        prompt_ids: Sequence[int],
        schedule: Sequence[int],
        max_new_tokens: int,
        eos_token_id: EndTokens = None,
        *,
        sampling: Sampling | None = None,
        constrained: bool = False,
    ) -> list[int]:
        """The new ids that :meth:`stream` gives, as a list."""
        given = self.stream(
            prompt_ids, schedule, max_new_tokens, eos_token_id, sampling=sampling, constrained=constrained
        )
        return list(given)

    def stream(
        self,
        prompt_ids: Sequence[int],
        schedule: Sequence[int],
        max_new_tokens: int,
        eos_token_id: EndTokens = None,
        *,
        sampling: Sampling | None = None,
        constrained: bool = False,
    ) -> Iterator[int]:
        """Decode, giving each new id as soon as it is decided. Closing the iterator frees everything.

        Args:
            prompt_ids: what stands before the answer.
            schedule: alternating counts of backbone and MCTP steps, such as ``[1, 10, 4, 10]``; the last pair repeats.
            max_new_tokens: after how many ids to stop.
            eos_token_id: id or ids after which to stop; that id is given too.
            sampling: how tokens are drawn; ``None`` takes the likeliest.
            constrained: let MCTP steps choose among the audio words only.

        Raises:
            ModelError: at the call, for an empty or over-long prompt, ids outside the vocabulary, or a schedule that is
                malformed or takes more MCTP steps than there are modules.
        """
        pairs = schedule_pairs(schedule, self.config.num_nextn_predict_layers)
        prompt = check_prompt(prompt_ids, max_new_tokens, self.config)
        stops = stop_ids(eos_token_id)
        room, modules = len(prompt) + max_new_tokens, most_modules(pairs)
        if self._pool is not None:
            return self._stream_static(
                prompt, pairs, max_new_tokens, stops, self.chooser(sampling), constrained
            )
        memory = Memory(self.weights, 1, room, modules)
        decoder = Decoder(memory, 0, prompt, self.chooser(sampling), constrained)
        return decide(decoder, pairs, max_new_tokens, stops)

    def _stream_static(
        self,
        prompt: list[int],
        pairs: list[tuple[int, int]],
        max_new_tokens: int,
        stops: frozenset[int],
        chooser: Chooser,
        constrained: bool,
    ) -> Generator[int, None, None]:
        assert self._pool is not None
        with self._pool.lent(len(prompt) + max_new_tokens, most_modules(pairs)) as steps:
            decoder = StaticDecoder(steps, prompt, chooser, constrained)
            yield from decide(decoder, pairs, max_new_tokens, stops)

    def stream_verified(
        self,
        prompt_ids: Sequence[int],
        drafts: int,
        max_new_tokens: int,
        eos_token_id: EndTokens = None,
        *,
        constrained: bool = False,
        acceptance: Acceptance | None = None,
    ) -> Iterator[int]:
        """Decode as Vanilla does, the likeliest token each time, with modules that draft and a backbone that checks.

        In float32 the ids are Vanilla's. In 16 bits the backbone's two likeliest words may tie, and one pass over
        several rows may then settle it otherwise than one row at a time, as batches may.

        Args:
            prompt_ids, max_new_tokens, eos_token_id: as :meth:`stream` has them.
            drafts: tokens that modules add before the backbone looks at them, one per module.
            constrained: draft audio words only, which is faster; the ids are the same.
            acceptance: counts what becomes of the drafts.

        Raises:
            ModelError: at the call, as :meth:`stream`, and for ``drafts`` below 1 or more than there are modules.
        """
        modules = self.config.num_nextn_predict_layers
        if not 1 <= drafts <= modules:
            raise ModelError(
                f"verified decoding with {drafts} drafts: at least 1 is needed, one module drafts one token, and the "
                f"model has {modules} modules"
            )
        prompt = check_prompt(prompt_ids, max_new_tokens, self.config)
        stops = stop_ids(eos_token_id)
        memory = Memory(self.weights, 1, len(prompt) + max_new_tokens, drafts)
        decoder = VerifiedDecoder(memory, 0, prompt, self.chooser(None), constrained)
        counted = Acceptance() if acceptance is None else acceptance
        return decide_verified(decoder, drafts, max_new_tokens, stops, counted)

    def generate_verified(
        self,
        prompt_ids: Sequence[int],
        drafts: int,
        max_new_tokens: int,
        eos_token_id: EndTokens = None,
        *,
        constrained: bool = False,
        acceptance: Acceptance | None = None,
    ) -> list[int]:
        """The new ids that :meth:`stream_verified` gives, as a list."""
        given = self.stream_verified(
            prompt_ids, drafts, max_new_tokens, eos_token_id, constrained=constrained, acceptance=acceptance
        )
        return list(given)

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        schedule: Sequence[int],
        max_new_tokens: int,
        eos_token_id: EndTokens = None,
        *,
        sampling: Sampling | Sequence[Sampling | None] | None = None,
        constrained: bool = False,
    ) -> list[list[int]]:
        """What :meth:`generate` gives for each prompt, decoded side by side; each ends on its own.

        Args:
            prompts: of any lengths.
            sampling: the same for all, or one for each.

        Raises:
            ModelError: as :meth:`stream`, naming the prompt by its number.
        """
        pairs = schedule_pairs(schedule, self.config.num_nextn_predict_layers)
        checked = []
        for number, prompt_ids in enumerate(prompts):
            try:
                checked.append(check_prompt(prompt_ids, max_new_tokens, self.config))
            except ModelError as error:
                raise ModelError(f"prompt {number}: {error}") from error
        if sampling is None or isinstance(sampling, Sampling):
            sampling = [sampling] * len(checked)
        if len(sampling) != len(checked):
            raise ModelError(f"{len(sampling)} samplings for {len(checked)} prompts")
        if not checked:
            return []
        capacity = max(map(len, checked)) + max_new_tokens
        memory = Memory(self.weights, len(checked), capacity, most_modules(pairs))
        decoders = [
            Decoder(memory, number, prompt, self.chooser(one), constrained)
            for number, (prompt, one) in enumerate(zip(checked, sampling, strict=True))
        ]
        BatchDecoder(memory, decoders).run(pairs, max_new_tokens, stop_ids(eos_token_id))
        return [decoder.tokens[len(prompt) :] for decoder, prompt in zip(decoders, checked, strict=True)]

    def chooser(self, sampling: Sampling | None) -> Chooser:
        """For one generation on this engine's device."""
        return Chooser(sampling, self.weights.embedding_VD.device)


def decide(
    decoder: Decoder, pairs: list[tuple[int, int]], max_new_tokens: int, stops: frozenset[int]
) -> Generator[int, None, None]:
    """Steps by the schedule until the limit or a stop."""
    left = max_new_tokens
    for backbone_steps, mctp_steps in chain(pairs, repeat(pairs[-1])):
        for token in decoder.steps(backbone_steps, min(mctp_steps, max(0, left - backbone_steps))):
            yield token
            left -= 1
            if not left or token in stops:
                return


def most_modules(pairs: Sequence[tuple[int, int]]) -> int:
    """How many modules a schedule uses."""
    return max(mctp for _, mctp in pairs)


def stop_ids(eos_token_id: EndTokens) -> frozenset[int]:
    """As a set."""
    if eos_token_id is None:
        return frozenset()
    return frozenset({eos_token_id} if isinstance(eos_token_id, int) else eos_token_id)


def check_prompt(prompt_ids: Sequence[int], max_new_tokens: int, config: MctpConfig) -> list[int]:
    """The prompt as plain numbers.

    Raises:
        ModelError: if it is empty, has ids outside the vocabulary, or leaves no room for the answer.
    """
    prompt = [int(token) for token in prompt_ids]
    vocabulary, limit = config.vocab_size, config.max_position_embeddings
    if not prompt:
        raise ModelError("the prompt is empty: there is nothing to continue")
    if max_new_tokens < 1:
        raise ModelError(f"max_new_tokens is {max_new_tokens}, but must be at least 1")
    if len(prompt) + max_new_tokens > limit:
        raise ModelError(
            f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones exceed the model's {limit} positions"
        )
    if strangers := [token for token in prompt if not 0 <= token < vocabulary]:
        raise ModelError(f"the prompt has id {strangers[0]}, but the vocabulary ends at {vocabulary - 1}")
    return prompt
