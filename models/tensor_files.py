"""Safetensors files by their headers alone: which tensors they hold and where, without torch and without reading them.

A file is a length (8 bytes, little endian), as much JSON, then the tensors' bytes one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
METADATA = {"format": "pt"}
_LARGEST_HEADER = 100 << 20  # bytes; the format's own limit
_BLOCK = 1 << 20
# Bytes of a value; what else the format knows is refused.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        file: the safetensors file.
        dtype: as the format names it: ``BF16``, ``F32``, …
        begin: its first byte in the file.
        size: in bytes.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    size: int


def stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    """All tensors of a checkpoint, which is one file or several with an index.

    Raises:
        CheckpointError: naming the file that is missing, cut short or none, or the tensor that the index and the
            files do not agree on.
    """
    index = directory / INDEX_FILE
    if not index.is_file():
        single = directory / SINGLE_FILE
        if not single.is_file():
            raise CheckpointError(
                f"{directory} has neither {SINGLE_FILE} nor {INDEX_FILE}; weights in other formats are not read"
            )
        return _tensors_of(single)
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(_is_file_name(value) for value in places.values()):
        raise CheckpointError(f"{index}: weight_map is no object of tensors to names of files beside it")
    tensors: dict[str, StoredTensor] = {}
    for name in sorted(set(places.values())):
        if not (directory / name).is_file():
            raise CheckpointError(f"{index} names {name}, which is not there")
        tensors |= _tensors_of(directory / name)
    for tensor, name in places.items():
        if tensor not in tensors or tensors[tensor].file.name != name:
            raise CheckpointError(f"{index} says that {tensor} is in {name}, which does not hold it")
    return tensors


def copy_tensors(tensors: Mapping[str, StoredTensor], path: Path) -> None:
    """Write a file of these tensors, byte for byte as they are stored, in blocks of 1 MiB.

    Raises:
        CheckpointError: if a file has become shorter meanwhile.
    """
    header: dict[str, Any] = {"__metadata__": METADATA}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.size
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    with path.open("wb") as target:
        target.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in tensors.items():
            with tensor.file.open("rb") as source:
                source.seek(tensor.begin)
                _copy(source, target, tensor.size, f"{tensor.file}: {name}")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: if it cannot be read, is not JSON, or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {value!r:.80}, not an object")
    return value


def _tensors_of(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        if start == b"version ":
            raise CheckpointError(
                f"{path} is a pointer of Git LFS, {size} bytes: fetch the weights with git lfs pull"
            )
        length = int.from_bytes(start, "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise CheckpointError(
                f"{path} is no whole safetensors file: it has {size} bytes, and its header would take {length}"
            )
        text = stream.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {name: _place(path, 8 + length, entry) for name, entry in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its header cannot be read: {error!r}") from error
    end = max((tensor.begin + tensor.size for tensor in tensors.values()), default=8 + length)
    if end != size:
        raise CheckpointError(f"{path} has {size} bytes, but its header speaks of {end}: it is not whole")
    return tensors


def _place(path: Path, offset: int, entry: Mapping[str, Any]) -> StoredTensor:
    begin, end = entry["data_offsets"]
    shape = tuple(int(length) for length in entry["shape"])
    size = math.prod(shape) * _BYTES[entry["dtype"]]
    if not 0 <= begin <= end or end - begin != size:
        raise ValueError(f"{end - begin} bytes for shape {shape} of {entry['dtype']}")
    return StoredTensor(path, entry["dtype"], shape, offset + begin, size)


def _copy(source: BinaryIO, target: BinaryIO, size: int, what: str) -> None:
    left = size
    while left:
        block = source.read(min(left, _BLOCK))
        if not block:
            raise CheckpointError(f"{what}: {left} of {size} bytes are gone")
        target.write(block)
        left -= len(block)


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and value == Path(value).name and value.endswith(".safetensors")
