"""The ids that a reply's text, audio and end are told apart by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SpeechVocabulary:
    """What of a text tokenizer's vocabulary matters for reading a reply.

    Attributes:
        first_audio: id of the first audio token.
        audio_codes: how many there are; their ids follow one another.
        begin_of_audio, end_of_audio: ids of the markers around a run of audio.
        end_of_turn: id after which a turn is over.
        after_turn: ids between it and the next turn, such as a newline's.
    """

    first_audio: int
    audio_codes: int
    begin_of_audio: int
    end_of_audio: int
    end_of_turn: int
    after_turn: tuple[int, ...] = ()

    def audio_number(self, token: int) -> int | None:
        """The audio token's number that an id stands for; ``None`` for every other id."""
        number = token - self.first_audio
        return number if 0 <= number < self.audio_codes else None

    def closing(self, reply_ids: Sequence[int]) -> list[int]:
        """What follows a reply, cut off or not, so that the next turn can begin: the markers it lacks."""
        if self.end_of_turn in reply_ids[-1:]:
            return list(self.after_turn)
        closing = [self.end_of_turn, *self.after_turn]
        for token in reversed(reply_ids):
            if token == self.begin_of_audio:
                return [self.end_of_audio, *closing]
            if token == self.end_of_audio:
                break
        return closing

    @property
    def longest_closing(self) -> int:
        """How many ids :meth:`closing` gives at most."""
        return 2 + len(self.after_turn)
