"""The head of decoding: logits over the whole vocabulary, or over the words that can follow in an audio slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.errors import ModelError
from models.matrices import Projection, packed
from models.quantized import Weights, quantized

_OUTPUTS = 64  # that a tile of a matrix product has


@dataclass(frozen=True)
class AudioWords:
    """What MCTP steps may say where they are constrained: audio tokens, and the ids that may come before or after.

    Attributes:
        first: id of the first audio token.
        count: of audio tokens, whose ids follow one another.
        others: ids of the markers around audio and of the end of the turn.
    """

    first: int
    count: int
    others: tuple[int, ...]

    def ids(self, vocabulary: int) -> list[int]:
        """All of them, ascending.

        Raises:
            ModelError: for one outside the ``vocabulary``.
        """
        ids = sorted({*range(self.first, self.first + self.count), *self.others})
        if not ids or ids[0] < 0 or ids[-1] >= vocabulary:
            raise ModelError(
                f"audio words reach from {ids[0] if ids else self.first} to "
                f"{ids[-1] if ids else self.first}, but the vocabulary has {vocabulary} words"
            )
        return ids


class Head:
    """Logits of hidden states, and the greedy choice."""

    def __init__(self, weight_VD: Tensor, weights: Weights = "float") -> None:
        self.vocabulary = weight_VD.shape[0]
        self._weight_VD, self._weights = weight_VD, weights
        if weights != "float":
            # One layout for any number of rows; the floats are the model's, and go with it.
            self._of_several = quantized(weight_VD, None, weights)
            del self._weight_VD

    @cached_property
    def _of_several(self) -> Projection:
        """Made when the first batch comes: on a CPU a single row is as fast on the matrix itself."""
        return packed(self._weight_VD, None)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, V)."""
        if self._weights == "float" and len(hidden_ND) == 1 and not hidden_ND.is_cuda:
            return torch.mv(self._weight_VD, hidden_ND[0])[None]
        return self._of_several(hidden_ND)

    def likeliest(self, hidden_ND: Tensor) -> Tensor:
        """The id of each row's likeliest word, (N,)."""
        return self.logits(hidden_ND).argmax(dim=-1)

    def greedy(self, hidden_ND: Tensor) -> list[int]:
        """The same as numbers."""
        words: list[int] = self.likeliest(hidden_ND).tolist()
        return words


class ConstrainedHead:
    """The same over some words only: a step reads their rows of the matrix and no others."""

    def __init__(self, weight_VD: Tensor, words: Sequence[int], weights: Weights = "float") -> None:
        self.vocabulary = weight_VD.shape[0]
        # The last word again until they are a multiple: a GPU has slow kernels only for other numbers of outputs.
        self._ids = [*words, *[words[-1]] * (-len(words) % _OUTPUTS)]
        self._ids_W = torch.tensor(self._ids, device=weight_VD.device)
        self._matrix = packed(weight_VD[self._ids_W], None, weights)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, V), with -inf for all other words."""
        some_NW = self._matrix(hidden_ND)
        full_NV = some_NW.new_full((len(hidden_ND), self.vocabulary), -torch.inf)
        full_NV[:, self._ids_W] = some_NW
        return full_NV

    def likeliest(self, hidden_ND: Tensor) -> Tensor:
        """The id of the likeliest of these words for each row, (N,)."""
        return self._ids_W[self._matrix(hidden_ND).argmax(dim=-1)]

    def greedy(self, hidden_ND: Tensor) -> list[int]:
        """The same as numbers."""
        return [self._ids[place] for place in self._matrix(hidden_ND).argmax(dim=-1).tolist()]
