"""Causal attention over packed rows: who may look at whom, in the form that each implementation takes.

| implementation | takes | where |
|---|---|---|
| `eager`, `sdpa` | a 4-D mask | anywhere; memory grows with the square of the row |
| `windowed` | windows of whole samples | anywhere |
| `varlen` | where samples begin; PyTorch's own kernel | GPU, half precision |
| `flash_attention_2` | the same; package flash-attn | GPU, half precision |
| `flex_attention` | a function of two places, compiled | GPU |

Shapes: B rows, T tokens of a row, A attention heads, K key heads, E width of a head.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import is_flash_attn_2_available

from models.errors import ModelError
from models.windowed_attention import WINDOWED, windows_of

VARLEN, FLASH, FLEX = "varlen", "flash_attention_2", "flex_attention"
ANYWHERE = ("eager", "sdpa", WINDOWED)
# On a CPU flex attention has no backward pass, and the others have no kernel.
GPU_ONLY = (VARLEN, FLASH, FLEX)
_HALF_ONLY = (VARLEN, FLASH)
_HALF = (torch.bfloat16, torch.float16)


def choose(device: torch.device, dtype: torch.dtype, asked: str = "auto") -> str:
    """The implementation to train with, under the name that ``set_attn_implementation`` takes.

    Args:
        device: that the model is on.
        dtype: of its parameters.
        asked: an implementation's name (``flex`` for short), or ``auto``: ``varlen`` on a GPU in half precision, else
            ``windowed``.

    Raises:
        ModelError: if there is no such implementation, or not on this device, for this type or without a package.
    """
    if asked == "auto":
        return VARLEN if device.type == "cuda" and dtype in _HALF else WINDOWED
    name = FLEX if asked == "flex" else asked
    check(name, device, dtype)
    if name == FLASH and not is_flash_attn_2_available():
        raise ModelError(
            f"attention implementation {name!r} needs the package flash-attn, which is not there"
        )
    return name


def check(name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse an implementation that cannot keep packed samples apart on this device and in this type.

    Raises:
        ModelError: naming the implementation, what it lacks, and those that there are.
    """
    if name not in (*ANYWHERE, *GPU_ONLY):
        problem = "is not supported"
    elif name in GPU_ONLY and device.type != "cuda":
        problem = f"needs a GPU, and the model is on {device.type!r}"
    elif name in _HALF_ONLY and dtype not in _HALF:
        problem = f"takes bfloat16 or float16, and the model has {dtype}"
    else:
        return
    raise ModelError(
        f"attention implementation {name!r} {problem}: samples packed into one row are kept apart by "
        f"{list(ANYWHERE)} anywhere, and by {list(GPU_ONLY)} on a GPU"
    )


def attention_arguments(segments_BT: Tensor, implementation: str, dtype: torch.dtype) -> dict[str, Any]:
    """What to call each decoder layer with, so that every sample sees itself only, and nothing ahead.

    The same serves the backbone and all modules. Module k's row t stands for the hidden state at t and the token at
    t+k+1. Where those two lie in different samples the row is meaningless, but such rows are the last k+1 of their
    sample, so the causal order already hides them from every row that counts.

    Raises:
        ModelError: for an implementation that cannot.
    """
    check(implementation, segments_BT.device, dtype)
    if implementation in (VARLEN, FLASH):
        return {"attention_mask": None, **sample_bounds(segments_BT)}
    if implementation == WINDOWED:
        return {"attention_mask": windows_of(segments_BT)}
    if implementation == FLEX:
        return {"attention_mask": _block_mask(segments_BT)}
    if implementation == "sdpa" and bool((segments_BT == segments_BT[:, :1]).all()):
        return {"attention_mask": None}  # plainly causal
    visible_B1TT = visible(segments_BT)
    if implementation == "sdpa":
        return {"attention_mask": visible_B1TT}
    scores = torch.zeros(visible_B1TT.shape, dtype=dtype, device=visible_B1TT.device)
    return {"attention_mask": scores.masked_fill_(~visible_B1TT, torch.finfo(dtype).min)}


def visible(segments_BT: Tensor) -> Tensor:
    """Booleans of shape (B, 1, T, T): True where the third's token may look at the fourth's."""
    tokens = segments_BT.shape[1]
    causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=segments_BT.device).tril()
    return (segments_BT[:, None, :, None] == segments_BT[:, None, None, :]) & causal_TT


def sample_bounds(segments_BT: Tensor) -> dict[str, Any]:
    """Where samples begin once all rows are laid end to end, and how long the longest is.

    Returns:
        transformers' arguments for it: ``cu_seq_lens_q`` and ``_k``, the same int32 tensor with the end of the last
        sample behind all beginnings; ``max_length_q`` and ``_k``.
    """
    tokens = segments_BT.shape[1]
    starts_BT = torch.ones_like(segments_BT, dtype=torch.bool)
    starts_BT[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    starts = starts_BT.flatten().nonzero().flatten()
    bounds = torch.cat((starts, starts.new_tensor([len(segments_BT) * tokens]))).to(torch.int32)
    longest = int(bounds.diff().max())
    return {
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def varlen_attention(
    module: nn.Module,
    query_BATE: Tensor,
    key_BKTE: Tensor,
    value_BKTE: Tensor,
    attention_mask: None,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each sample by PyTorch's kernel, in the form transformers calls attention functions.

    Returns:
        Values of shape (B, T, A, E), and no weights.
    """
    rows, heads, tokens, width = query_BATE.shape
    query, key, value = (
        states.transpose(1, 2).flatten(0, 1) for states in (query_BATE, key_BKTE, value_BKTE)
    )
    values = varlen_attn(
        query,
        key,
        value,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=heads != key_BKTE.shape[1],
    )
    assert isinstance(values, Tensor)
    return values.view(rows, tokens, heads, width), None


@cache
def _mask_maker(is_compiled: bool) -> Any:
    # Imported here, as it takes a second and most runs do without.
    from torch.nn.attention.flex_attention import create_block_mask

    return torch.compile(create_block_mask) if is_compiled else create_block_mask


def _block_mask(segments_BT: Tensor) -> Any:
    rows, tokens = segments_BT.shape

    def may_look(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (segments_BT[row, query] == segments_BT[row, key])

    # Compiled, it never holds the T x T booleans; a CPU, which only tests see, would need a compiler for that.
    make = _mask_maker(is_compiled=segments_BT.is_cuda)
    return make(may_look, rows, None, tokens, tokens, device=segments_BT.device)


ALL_ATTENTION_FUNCTIONS.register(VARLEN, varlen_attention)
