"""Verified decoding: modules draft, the backbone reads the drafts in one pass and keeps those it would have chosen.

Speculative decoding (Leviathan et al., arXiv 2211.17192) for greedy choices: the answer is Vanilla's. A round drafts,
reads the newest token and all drafts, keeps the drafts up to the first that the backbone would not have chosen, and
adds the backbone's own choice there.

Shapes: N rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.decoding import Decoder


@dataclass
class Acceptance:
    """What became of the drafts, counted while a generation, or several after one another, goes on.

    Attributes:
        rounds: in which something was drafted.
        drafted: tokens.
        accepted: of these, the ones that were given.
    """

    rounds: int = 0
    drafted: int = 0
    accepted: int = 0

    @property
    def mean_length(self) -> float | None:
        """Tokens that one pass of the backbone decides: the drafts it keeps and its own choice; ``None`` before any."""
        return 1 + self.accepted / self.rounds if self.rounds else None


class VerifiedDecoder(Decoder):
    """A sequence whose newest tokens can be taken back."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What each module has read in this round: rows that it may have to read once more.
        self._read: list[list[Tensor]] = [[] for _ in range(self.memory.modules)]

    def take_unread(self, index: int) -> Tensor:
        """As every decoder's."""
        states_ND = super().take_unread(index)
        self._read[index] = [states_ND]
        return states_ND

    @torch.inference_mode()
    def round(self, drafts: int) -> list[int]:
        """Draft that many tokens, keep the right ones, and append the backbone's choice for the next.

        Returns:
            The new tokens: 1 to ``drafts`` + 1 of them.
        """
        newest = len(self.tokens) - 1
        assert self.backbone_rows == newest, "the backbone has read all but the newest token"
        drafted = [self.module_step(index) for index in range(drafts)]
        choices = self.weights.head.greedy(self.read_backbone())
        right = 0
        while right < drafts and drafted[right] == choices[right]:
            right += 1
        self._keep(newest + 1 + right)
        self.append(choices[right])
        return choices[: right + 1]

    def _keep(self, count: int) -> None:
        """Take back all tokens but the first ``count``, and what was computed from them.

        Row t of module k comes from token t+k+1: its first count-k-1 rows stay. Of what the level below found, the
        module then has yet to read the rows that stay there and do not stay here. They were read in this round: in
        the round before, one token less was kept at least.
        """
        if count < len(self.tokens):
            del self.tokens[count:]
            below = self.backbone_rows = count
            for index, rows in enumerate(self.module_rows):
                start = rows - sum(map(len, self._read[index]))
                stay = min(rows, max(0, count - index - 1))
                assert start <= stay <= below, (start, stay, below)
                states = self._read[index] + self.unread[index]
                self.unread[index] = [torch.cat(states)[stay - start : below - start]] if stay < below else []
                self.module_rows[index] = below = stay
        for read in self._read:
            read.clear()


def decide_verified(
    decoder: VerifiedDecoder,
    drafts: int,
    max_new_tokens: int,
    stops: frozenset[int],
    acceptance: Acceptance,
) -> Iterator[int]:
    """Rounds until the limit or a stop; the first token is the backbone's alone."""
    new = [decoder.backbone_step()]
    decided = 0
    while True:
        for token in new:
            yield token
            decided += 1
            if decided == max_new_tokens or token in stops:
                return
        # One less than may still come: the last is the backbone's.
        count = min(drafts, max_new_tokens - decided - 1)
        new = decoder.round(count)
        if count:
            acceptance.rounds += 1
            acceptance.drafted += count
            last = next((place for place, token in enumerate(new) if token in stops), len(new))
            acceptance.accepted += min(last + 1, len(new) - 1)
