"""Audio tokens of one tokenizer, found by what they were made of; they lie on disk, only their places in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from validation.batches import read_batches
from validation.digests import digest_bytes
from validation.lake import Lake

# Of a digest: 128 of its 256 bits tell any number of recordings apart.
_KEY_BYTES = 16
_NO_TOKENS = -1
_TOKEN = np.dtype("<u2")


class TokenLookup:
    """The tokens of the corpora's audio; a context, in which they can be read.

    Args:
        folder: Where the tokens are put; whoever makes it removes it.
    """

    def __init__(self, lake: Lake, corpora: Sequence[str], tokenizer_digest: str, folder: Path) -> None:
        keys, lengths = [np.empty(0, f"S{_KEY_BYTES}")], [np.empty(0, np.int32)]
        columns = ["audio_digest", "augmentation_digest", "tokenizer_digest", "token_ids"]
        path = folder / "audio_tokens.bin"
        with path.open("wb") as stream:
            for corpus in corpora:
                for batch in read_batches(lake, "audio_tokens", corpus, columns):
                    wanted = batch.filter(pl.col("tokenizer_digest") == tokenizer_digest)
                    keys.append(_keys(wanted["audio_digest"], wanted["augmentation_digest"]))
                    lengths.append(wanted["token_ids"].list.len().to_numpy().astype(np.int32))
                    tokens = wanted["token_ids"].explode().drop_nulls()
                    stream.write(tokens.to_numpy().astype(_TOKEN).tobytes())
        all_keys, all_lengths = np.concatenate(keys), np.concatenate(lengths)
        starts = np.cumsum(all_lengths, dtype=np.int64) - all_lengths
        order = np.argsort(all_keys, kind="stable")
        self._keys, self._starts, self._lengths = all_keys[order], starts[order], all_lengths[order]
        self._stream = path.open("rb")

    def places(self, audio: Sequence[str], augmentation: Sequence[str]) -> NDArray[np.int64]:
        """Where the tokens of each audio are, for :meth:`tokens`; -1 where there are none."""
        if not len(self._keys):
            return np.full(len(audio), _NO_TOKENS, dtype=np.int64)
        wanted = _keys(audio, augmentation)
        found = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[found] == wanted, found, _NO_TOKENS)

    def tokens(self, place: int) -> list[int]:
        """The token numbers of one audio."""
        assert place != _NO_TOKENS
        start, length = (_TOKEN.itemsize * int(of[place]) for of in (self._starts, self._lengths))
        # Not mapped: in the end all of the file would be in memory.
        numbers: list[int] = np.frombuffer(os.pread(self._stream.fileno(), length, start), _TOKEN).tolist()
        return numbers

    def __enter__(self) -> TokenLookup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _keys(audio: Sequence[str] | pl.Series, augmentation: Sequence[str] | pl.Series) -> NDArray[np.bytes_]:
    # A variant's tokens are not those of the recording that it was made of.
    digests = [
        one if not other else digest_bytes(f"{one}{other}".encode())
        for one, other in zip(audio, augmentation, strict=True)
    ]
    joined = bytes.fromhex("".join(digest[-2 * _KEY_BYTES :] for digest in digests))
    return np.frombuffer(joined, dtype=f"S{_KEY_BYTES}")
