"""A write that fails is an error of the store, whatever it fails at: a reader would take others for a bad recording."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from validation.object_writer import ObjectWriter
from validation.remote import ObjectError, RemoteSettings, StoreError

_LARGE = b"x" * (6 << 20)


@dataclass
class _Store:
    """What a writer asks of a store; ``gone`` are the requests to which it knows no such upload."""

    gone: tuple[str, ...] = ()
    kept: str | None = None
    settings: RemoteSettings = field(default_factory=lambda: RemoteSettings(part_mib=5, attempts=1))

    def call_s3(self, method: str, **options: Any) -> dict[str, Any]:
        if method in self.gone:
            raise FileNotFoundError("s3://b/k does not exist")
        if method in ("put_object", "upload_part"):
            return {"ETag": self.kept or hashlib.md5(options["Body"]).hexdigest()}
        return {"UploadId": "u"}

    def head(self, _path: str) -> dict[str, Any] | None:
        raise ObjectError("s3://b/k: access is refused")

    def remove(self, _path: str) -> None:
        raise ObjectError("s3://b/k: access is refused")

    def abort(self, *_: str) -> None:
        """There is nothing to end."""


@pytest.mark.parametrize(
    ("store", "data", "told"),
    [
        (_Store(gone=("upload_part",)), _LARGE, "s3://b/k: its upload was ended by somebody else"),
        (
            _Store(gone=("complete_multipart_upload",)),
            _LARGE,
            "cannot be written: s3://b/k: access is refused",
        ),
        (_Store(), _LARGE, "cannot be written: s3://b/k: access is refused"),
        (_Store(kept="another"), b"x", "cannot be written: s3://b/k: access is refused"),
    ],
)
def test_whatever_a_write_fails_at_is_an_error_of_the_store(store, data, told):
    with pytest.raises(StoreError, match=told), ObjectWriter(store, "b", "k") as stream:
        stream.write(data)
