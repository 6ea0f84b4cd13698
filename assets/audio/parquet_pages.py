"""How large the pages of a Parquet column become when they are read, asked of their headers before one is.

A page is decompressed as a whole, into as many bytes as its own header says: kilobytes of it may become gigabytes. The
header is a struct in Thrift's compact protocol (parquet-format, PageHeader): 2 is its size uncompressed, 3 compressed.
"""

from __future__ import annotations

from typing import IO, Any

from assets.audio.problem import fault

MOST_PAGE_BYTES = 1 << 29  # three times that is held while its values are taken out
_UNCOMPRESSED, _COMPRESSED = 2, 3
_HEADER_BYTES = (1 << 8, 1 << 16)  # usually, and at most: real ones have some dozens
_DEEPEST = 8
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_LONG_LIST = 15


def refuse_large_pages(stream: IO[bytes], chunk: Any) -> int:
    """Go through the headers of a column chunk (:class:`pyarrow.parquet.ColumnChunkMetaData`).

    Returns:
        Bytes of its largest page, and so of no value more.

    Raises:
        AudioFaultError: ``decode_error``, where one is none, or states more than :data:`MOST_PAGE_BYTES`.
    """
    first = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        first = min(first, chunk.dictionary_page_offset)
    position, end = first, first + chunk.total_compressed_size
    largest = 0
    while position < end:
        length, sizes = _header(stream, position)
        size = sizes.get(_UNCOMPRESSED, -1)
        if size > MOST_PAGE_BYTES:
            detail = (
                f"has a page of {size} bytes at byte {position}; allowed are {MOST_PAGE_BYTES}: written with fewer "
                "rows in a row group, it has smaller ones"
            )
            raise fault("decode_error", detail, float(size), float(MOST_PAGE_BYTES))
        if min(size, sizes.get(_COMPRESSED, -1)) < 0:
            raise _no_header(position)
        largest = max(largest, size)
        position += length + sizes[_COMPRESSED]
    return largest


def _header(stream: IO[bytes], position: int) -> tuple[int, dict[int, int]]:
    """Bytes of the header at ``position``, and its integers by their number."""
    for most in _HEADER_BYTES:
        stream.seek(position)
        reader = _Compact(stream.read(most))
        try:
            return reader.struct_end(), reader.integers
        except IndexError:  # cut off, where there is more to read
            continue
    raise _no_header(position)


def _no_header(position: int) -> Exception:
    return fault("decode_error", f"has no header of a page at byte {position}, where one should be")


class _Compact:
    """Thrift's compact protocol, of which only the integers of the outermost struct are kept."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.integers: dict[int, int] = {}

    def struct_end(self, depth: int = 0) -> int:
        """Read a struct; gives where it ends."""
        if depth > _DEEPEST:
            raise IndexError
        number = 0
        while (head := self._byte()) & 15 != _STOP:
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._integer()
            if kind in _INTEGERS and not depth:
                self.integers[number] = self._integer()
            elif kind not in (_TRUE, _FALSE):
                self._skip(kind, depth)
        return self._at

    def _skip(self, kind: int, depth: int) -> None:
        if kind in _INTEGERS:
            self._integer()
        elif kind in (_TRUE, _FALSE, _BYTE):
            self._byte()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _BINARY:
            length = self._unsigned()
            self._at += length
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = self._unsigned() if head >> 4 == _LONG_LIST else head >> 4
            for _ in range(count):
                self._skip(head & 15, depth + 1)
        elif kind == _STRUCT:
            self.struct_end(depth + 1)
        else:  # page headers have no maps
            raise IndexError

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        coded = self._unsigned()
        return coded >> 1 ^ -(coded & 1)
