"""Matrices of linear layers in 8 or 4 bits, for decoding: what is read of memory per step is a quarter or an eighth.

On a CPU in 8 bits the rows are rounded too, each by its own largest value, so that oneDNN multiplies whole numbers:
what a row becomes does not depend on the rows beside it, and a batch gives what one row at a time gives, to the bit. On
a GPU the weights alone are rounded.

Shapes: N rows, I inputs, O outputs, G groups of inputs.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from models.errors import ModelError

Weights: TypeAlias = Literal["float", "int8", "int4"]
INT4_GROUP = 64  # inputs that share a scale and a zero
_INT8_MOST = 127
_INT4_MOST = 15
_INT4_MIDDLE = 8  # the code that stands for a group's zero
_INT4_OUTPUTS = 8  # the GPU's kernel takes outputs in eights
_TILES = (8, 4, 2)  # how many tiles of 16 inputs the GPU's kernel keeps together; as many as divide the width
_SMALLEST = 1e-12  # instead of the largest value of a row of zeros


def rounded_to_int8(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of -127 to 127, and for each output the float32 scale (O,) that they are to be multiplied with."""
    values_OI = weight_OI.float()
    scale_O = values_OI.abs().amax(dim=1).clamp_(min=_SMALLEST) / _INT8_MOST
    return (values_OI / scale_O[:, None]).round_().to(torch.int8), scale_O


def rounded_to_int4(weight_OI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of 0 to 15 (int32); for each output and group a scale and a zero (O, G), in the weight's type.

    A weight is about ``(code - 8) * scale + zero``.

    Raises:
        ModelError: for a width that groups do not divide.
    """
    outputs, inputs = weight_OI.shape
    if inputs % INT4_GROUP:
        raise ModelError(
            f"int4 weights have a scale for each {INT4_GROUP} inputs, which do not divide a matrix of {inputs} inputs "
            f"and {outputs} outputs: use int8 or float"
        )
    values_OGi = weight_OI.float().view(outputs, -1, INT4_GROUP)
    least_OG, most_OG = values_OGi.amin(dim=2), values_OGi.amax(dim=2)
    # What is computed with is rounded to the weight's type, so the codes are chosen for that.
    scale_OG = ((most_OG - least_OG).clamp_(min=_SMALLEST) / _INT4_MOST).to(weight_OI.dtype)
    zero_OG = (least_OG + scale_OG.float() * _INT4_MIDDLE).to(weight_OI.dtype)
    shifted_OGi = (values_OGi - zero_OG.float()[..., None]) / scale_OG.float()[..., None]
    codes_OGi = (shifted_OGi.round_() + _INT4_MIDDLE).clamp_(0, _INT4_MOST).to(torch.int32)
    return codes_OGi.view(outputs, inputs), scale_OG, zero_OG


def quantized(
    weight_OI: Tensor, bias_O: Tensor | None, weights: Weights
) -> RowsInt8 | WeightInt8 | WeightInt4:
    """A linear layer in 8 or 4 bits, by the kernel that its device has.

    Raises:
        ModelError: for a device, a type or a width without a kernel.
    """
    assert weights != "float", "packed() keeps floats"
    device = weight_OI.device.type
    if device == "cpu" and weights == "int8":
        return RowsInt8(weight_OI, bias_O)
    if device == "cuda":
        return (WeightInt8 if weights == "int8" else WeightInt4)(weight_OI, bias_O)
    raise ModelError(
        f"there is no fast kernel for {weights} weights on {device!r}: int8 runs on x86 CPUs and NVIDIA GPUs, int4 on "
        "NVIDIA GPUs"
    )


class RowsInt8:
    """Weights and rows in 8 bits, on a CPU that multiplies them (VNNI); float32 in and out."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        check_cpu()
        codes_OI, self._scale_O = rounded_to_int8(weight_OI)
        self._weight = torch.ops.onednn.qlinear_prepack(codes_OI, None)
        self._zero_O = torch.zeros(len(codes_OI), dtype=torch.int32)
        # The kernel takes rows as unsigned: 128 stands for zero.
        self._middle_1 = torch.full((1,), 128.0)
        self._bias_O = None if bias_O is None else bias_O.float()
        self._dtype = weight_OI.dtype

    def __call__(self, rows_NI: Tensor) -> Tensor:
        """(N, O)."""
        rows_NI = rows_NI.float()
        most_N1 = torch.linalg.vector_norm(rows_NI, torch.inf, dim=1, keepdim=True).clamp_(min=_SMALLEST)
        codes_NI = torch.addcdiv(self._middle_1, rows_NI, most_N1, value=_INT8_MOST).round_().to(torch.uint8)
        # By the same scale for all rows; each row's own is multiplied with afterwards.
        out_NO: Tensor = torch.ops.onednn.qlinear_pointwise.default(
            codes_NI,
            1 / _INT8_MOST,
            128,
            self._weight,
            self._scale_O,
            self._zero_O,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        if self._bias_O is None:
            return out_NO.mul_(most_N1).to(self._dtype)
        return torch.addcmul(self._bias_O, out_NO, most_N1).to(self._dtype)


class WeightInt8:
    """Weights in 8 bits on a GPU, rows as they are: :mod:`models.int8_kernel` for few rows, floats for many."""

    _FEW = 64  # rows: beyond, arithmetic takes longer than reading, and the weights are made floats again

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        from models.int8_kernel import multiply

        self._multiply = multiply
        self._codes_OI, self._scale_O = rounded_to_int8(weight_OI)
        self._bias_O = bias_O

    def __call__(self, rows_NI: Tensor) -> Tensor:
        """(N, O)."""
        if len(rows_NI) <= self._FEW:
            return self._multiply(rows_NI, self._codes_OI, self._scale_O, self._bias_O)
        weight_OI = (self._codes_OI * self._scale_O[:, None]).to(rows_NI.dtype)
        return torch.nn.functional.linear(rows_NI, weight_OI, self._bias_O)


class WeightInt4:
    """Weights in 4 bits on a GPU, rows as they are in bfloat16: PyTorch's own kernel, which torchao calls too."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        outputs, inputs = weight_OI.shape
        if weight_OI.dtype != torch.bfloat16:
            raise ModelError(f"int4 weights on a GPU need a bfloat16 model; this one is {weight_OI.dtype}")
        codes_OI, scale_OG, zero_OG = rounded_to_int4(weight_OI)
        missing = -outputs % _INT4_OUTPUTS
        pad = torch.nn.functional.pad
        codes_OI = pad(codes_OI, (0, 0, 0, missing))
        bytes_OI = (codes_OI[:, ::2] << 4 | codes_OI[:, 1::2]).to(torch.uint8)
        tiles = next(count for count in _TILES if inputs % (16 * count) == 0)
        self._weight = torch.ops.aten._convert_weight_to_int4pack(bytes_OI, tiles)
        scales_OG2 = pad(torch.stack((scale_OG, zero_OG), dim=-1), (0, 0, 0, 0, 0, missing))
        self._scales_GO2 = scales_OG2.transpose(0, 1).contiguous()
        self._outputs, self._bias_O = outputs, bias_O

    def __call__(self, rows_NI: Tensor) -> Tensor:
        """(N, O)."""
        out_NO: Tensor = torch.ops.aten._weight_int4pack_mm(
            rows_NI.contiguous(), self._weight, INT4_GROUP, self._scales_GO2
        )
        out_NO = out_NO[:, : self._outputs]
        return out_NO if self._bias_O is None else out_NO + self._bias_O


def check_cpu() -> None:
    """See that this CPU multiplies 8 bits exactly and fast.

    Raises:
        ModelError: without VNNI, where sums of 8-bit products overflow in 16 bits, or without oneDNN.
    """
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("avx512_vnni") or capabilities.get("avx_vnni")):
        name = capabilities.get("cpu_name", capabilities.get("architecture", "unknown"))
        raise ModelError(f"int8 weights on a CPU need its VNNI instructions, which this one ({name}) lacks")
    if not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        raise ModelError(f"int8 weights on a CPU need oneDNN, which PyTorch {torch.__version__} is without")
