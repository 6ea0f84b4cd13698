"""A conversation of many turns that keeps its caches from one to the next, in a window of whole turns."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import TracebackType

from models.decoding import Decoder, Memory
from models.engine import Engine, check_prompt, decide
from models.errors import ModelError
from models.sampling import Sampling
from models.schedules import schedule_pairs
from models.speech_vocabulary import SpeechVocabulary


class Turn:
    """What was asked and what was answered, in token ids; the answer grows while it is decoded."""

    def __init__(self, asked: list[int]) -> None:
        self.asked = asked
        self.reply: list[int] = []
        # What follows the reply once it is over.
        self.closing: list[int] = []
        self.is_open = True

    @property
    def ids(self) -> list[int]:
        """All of it."""
        return self.asked + self.reply + self.closing

    def __len__(self) -> int:
        return len(self.asked) + len(self.reply) + len(self.closing)


class Conversation:
    """Turns of a user and replies of a model, over token ids.

    A reply equals, token for token, what :meth:`models.engine.Engine.generate` decodes from :attr:`context` as it
    stands when the reply begins: the system prompt, the turns that are kept, and the new one. Keys and values of what
    was read before stay where they are, for the backbone and for each module: a turn costs the reading of its own ids.
    A module that sat out some turns, because their schedules took fewer, reads what it has missed in one call.

    The memory is allocated here, for ``max_tokens`` positions, and does not grow. Where the next turn with the longest
    reply it may have does not fit any more, the oldest turns are discarded, whole ones and never the system prompt,
    until those kept take at most half of the room there is for them; system prompt and kept turns are then read anew,
    because the kept turns have seen the discarded ones. So half of the room is free then, and the next reading anew
    comes when it is full: it adds a constant share to the reading, however long the conversation is.

    A reply that is left in the middle stays as far as it came, closed by the markers it lacks, and the next turn goes
    on from there.

    Args:
        engine: decodes; its weights are shared with whatever else it generates.
        vocabulary: how turns end.
        system_ids: the system prompt's turn, whole, with its end; may be empty.
        max_tokens: positions there are, for system prompt, turns and the reply; without it the model's own.
        modules: of how many modules caches are kept; without it all there are. Schedules may take no more.

    Raises:
        ModelError: if ``max_tokens`` exceeds the model's positions, or the system prompt ``max_tokens``.
    """

    def __init__(
        self,
        engine: Engine,
        vocabulary: SpeechVocabulary,
        *,
        system_ids: Sequence[int] = (),
        max_tokens: int | None = None,
        modules: int | None = None,
    ) -> None:
        config = engine.config
        positions, there_are = config.max_position_embeddings, config.num_nextn_predict_layers
        self.max_tokens = positions if max_tokens is None else max_tokens
        self.modules = there_are if modules is None else modules
        if self.max_tokens > positions:
            raise ModelError(
                f"a window of {self.max_tokens} tokens exceeds the model's {positions} positions"
            )
        if not 0 <= self.modules <= there_are:
            raise ModelError(
                f"caches of {self.modules} modules were asked for, but the model has {there_are}"
            )
        if len(system_ids) >= self.max_tokens:
            raise ModelError(
                f"the system prompt has {len(system_ids)} tokens, but the window has {self.max_tokens}"
            )
        self.system_ids = check_prompt(system_ids, 1, config) if len(system_ids) else []
        self.engine, self.vocabulary = engine, vocabulary
        self.turns: list[Turn] = []
        self.discarded_turns = 0
        self._memory: Memory | None = Memory(engine.weights, 1, self.max_tokens, self.modules)
        # None where what the caches hold is not what the turns say, and all is to be read anew.
        self._decoder: Decoder | None = None
        # Of the newest reply. They hold the decoder, and through it the memory.
        self._steps: Generator[int, None, None] | None = None

    @property
    def context(self) -> list[int]:
        """Ids of the system prompt and of the turns that are kept."""
        return self.system_ids + [token for turn in self.turns for token in turn.ids]

    def say(
        self,
        ids: Sequence[int],
        schedule: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        constrained: bool = False,
    ) -> Generator[int, None, None]:
        """Take the user's turn, and give each id of the reply as soon as it is decided, the end of the turn too.

        The turn is part of the conversation from this call on. Whoever leaves the reply in the middle closes the
        generator, or just says the next turn: a reply that is still open is closed by that and ends there.

        Args:
            ids: the user's turn, with its end and with what comes before a reply.
            schedule: as :meth:`models.engine.Engine.stream`; it may be another one in every turn.
            max_new_tokens: after how many ids to stop.
            sampling: how tokens are drawn; ``None`` takes the likeliest.
            constrained: let MCTP steps choose among the engine's audio words only.

        Raises:
            ModelError: at the call, for a turn that is empty, has ids outside the vocabulary, or does not fit into the
                window even alone with the system prompt; and for a schedule that is malformed or takes more MCTP steps
                than there are modules. The conversation is then as it was before.
        """
        memory = self._open_memory()
        pairs = schedule_pairs(schedule, self.modules)
        asked = self._check_turn(ids, max_new_tokens)
        head = self.engine.weights.audio_head if constrained else self.engine.weights.head
        chooser = self.engine.chooser(sampling)
        self._end_reply()
        self._make_room(len(asked) + max_new_tokens + self.vocabulary.longest_closing)
        turn = Turn(asked)
        self.turns.append(turn)
        if self._decoder is None:
            self._decoder = Decoder(memory, 0, self.context, chooser)
        else:
            self._decoder.extend(asked)
        self._decoder.chooser, self._decoder.module_head = chooser, head
        stops = frozenset({self.vocabulary.end_of_turn})
        self._steps = decide(self._decoder, pairs, max_new_tokens, stops)
        return self._reply(turn, self._steps)

    def close(self) -> None:
        """Let go of the caches; a reply that is still open ends, and nothing more can be said."""
        self._end_reply()
        self._memory = self._decoder = None

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_memory(self) -> Memory:
        if self._memory is None:
            raise ModelError("the conversation is closed: its caches are gone")
        return self._memory

    def _check_turn(self, ids: Sequence[int], max_new_tokens: int) -> list[int]:
        if not len(ids):
            raise ModelError("the turn is empty: there is nothing to answer")
        reserved = max_new_tokens + self.vocabulary.longest_closing
        if len(self.system_ids) + len(ids) + reserved > self.max_tokens:
            raise ModelError(
                f"a turn of {len(ids)} tokens, with {len(self.system_ids)} of the system prompt before it and "
                f"{reserved} for the reply and its end, exceeds the window of {self.max_tokens} tokens"
            )
        return check_prompt(ids, max_new_tokens, self.engine.config)

    def _make_room(self, tokens: int) -> None:
        room = self.max_tokens - len(self.system_ids) - tokens
        kept = sum(map(len, self.turns))
        if kept <= room:
            return
        oldest = 0
        while kept > room // 2:
            kept -= len(self.turns[oldest])
            oldest += 1
        del self.turns[:oldest]
        self.discarded_turns += oldest
        self._decoder = None

    def _reply(self, turn: Turn, steps: Generator[int, None, None]) -> Generator[int, None, None]:
        # The turn is closed by the next one, by the end of the conversation, or here.
        try:
            while turn.is_open and (token := self._next(steps)) is not None:
                turn.reply.append(token)
                yield token
        finally:
            if turn.is_open:
                self._end_reply()

    def _next(self, steps: Generator[int, None, None]) -> int | None:
        try:
            return next(steps, None)
        except BaseException:
            # A step that broke off leaves caches of which nobody knows how far they are.
            self._decoder = None
            raise

    def _end_reply(self) -> None:
        """End the newest turn's reply, unless it has ended."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if not self.turns or not self.turns[-1].is_open:
            return
        turn = self.turns[-1]
        turn.is_open, turn.closing = False, self.vocabulary.closing(turn.reply)
        if turn.closing and self._decoder is not None:
            self._decoder.extend(turn.closing)
