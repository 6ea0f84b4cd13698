"""A chunk's logits turned into cross entropies and gradients on a GPU, where they lie: a kernel written in Triton.

Operation by operation they would pass through memory a dozen times, most of them in float32. Here a row is read for its
largest value and its sum (Milakov and Gimelshein, arXiv 1805.02867), and once more to become its own gradient.

Imported only where there is a GPU: PyTorch brings Triton along with CUDA, and only then. Shapes: C labelled positions
of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_WORDS = 8192  # that a program has in its registers at a time
_WARPS = 16


@triton.jit  # type: ignore[untyped-decorator]
def _row(  # type: ignore[no-untyped-def]
    scores,
    targets,
    entropies,
    words,
    scale,
    wants_errors: tl.constexpr,
    tile: tl.constexpr,
):
    """A program for each row."""
    row = tl.program_id(0)
    scores += row.to(tl.int64) * words
    target = tl.load(targets + row)
    most = tl.full((), float("-inf"), dtype=tl.float32)
    total = tl.zeros((), dtype=tl.float32)
    for start in range(0, words, tile):
        at = start + tl.arange(0, tile)
        score = tl.load(scores + at, mask=at < words, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(most, tl.max(score, axis=0))
        total = total * tl.exp(most - higher) + tl.sum(tl.exp(score - higher), axis=0)
        most = higher
    at_target = tl.load(scores + target).to(tl.float32)
    tl.store(entropies + row, tl.log(total) + most - at_target)
    if wants_errors:
        tl.debug_barrier()  # the target's score has been read by all before it is written over
        for start in range(0, words, tile):
            at = start + tl.arange(0, tile)
            score = tl.load(scores + at, mask=at < words, other=float("-inf")).to(tl.float32)
            error = tl.exp(score - most) / total - tl.where(at == target, 1.0, 0.0)
            tl.store(scores + at, (error * scale).to(scores.dtype.element_ty), mask=at < words)


def entropies(scores_CV: Tensor, targets_C: Tensor, scale: float | None = None) -> Tensor:
    """Cross entropies (C,) in float32.

    Args:
        scores_CV: logits, row by row in memory.
        targets_C: the ids of the right words.
        scale: if given, ``scores_CV`` becomes so many times the entropies' gradients by the logits.
    """
    assert scores_CV.is_contiguous(), scores_CV.stride()
    rows, words = scores_CV.shape
    entropies_C = torch.empty(rows, dtype=torch.float32, device=scores_CV.device)
    if rows:
        _row[(rows,)](
            scores_CV,
            targets_C,
            entropies_C,
            words,
            0.0 if scale is None else float(scale),
            wants_errors=scale is not None,
            tile=min(_WORDS, triton.next_power_of_2(words)),
            num_warps=_WARPS,
        )
    return entropies_C
