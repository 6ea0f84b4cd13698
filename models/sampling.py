"""How the next token is chosen from the head's logits: the highest, or drawn at random from a filtered distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from models.errors import ModelError


@dataclass(frozen=True)
class Sampling:
    """What transformers' ``generate`` calls the same, applied in its order.

    Attributes:
        temperature: divides the logits; 0 takes the highest.
        top_k: how many of the likeliest tokens stay; 0 keeps all.
        top_p: the likeliest tokens stay that have this much probability together; 1 keeps all.
        repetition_penalty: divides positive and multiplies negative logits of tokens that were there before, the
            prompt's too (Keskar et al., arXiv 1909.05858); 1 changes nothing.
        seed: of the generator of this one generation.

    Raises:
        ModelError: for a value outside these ranges.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed, holds in (
            ("temperature", "at least 0", self.temperature >= 0),
            ("top_k", "at least 0", self.top_k >= 0),
            ("top_p", "above 0 and at most 1", 0 < self.top_p <= 1),
            ("repetition_penalty", "above 0", self.repetition_penalty > 0),
        ):
            if not holds:
                raise ModelError(f"{name} is {getattr(self, name)}, but must be {allowed}")


class Chooser:
    """Chooses the tokens of one generation."""

    def __init__(self, sampling: Sampling | None, device: torch.device) -> None:
        """Greedy without ``sampling``."""
        self._draws = sampling is not None and sampling.temperature > 0
        self._filters = LogitsProcessorList()
        self.is_plain = sampling is None
        if sampling is None:
            return
        if sampling.repetition_penalty != 1:
            self._filters.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if self._draws:
            if sampling.temperature != 1:
                self._filters.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_k:
                self._filters.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self._filters.append(TopPLogitsWarper(sampling.top_p))
            self._generator = torch.Generator(device).manual_seed(sampling.seed)

    def __call__(self, logits_V: Tensor, tokens: Sequence[int]) -> int:
        """The next token.

        Args:
            logits_V: over the whole vocabulary; -inf where a token is not allowed.
            tokens: all before it, the prompt's too.
        """
        if self.is_plain:
            return int(logits_V.argmax())
        ids_1T = torch.tensor([list(tokens)], device=logits_V.device)
        scores_1V = self._filters(ids_1T, logits_V.float()[None])
        if not self._draws:
            return int(scores_1V.argmax())
        shares_1V = scores_1V.softmax(dim=-1)
        return int(torch.multinomial(shares_1V, 1, generator=self._generator))
