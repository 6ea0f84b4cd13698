"""Object storage: where a URL lies, and the one place that says how a store is connected to.

Credentials, endpoint and region come from the environment as every S3 program reads it (``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, ``AWS_REGION``, …), or from the
machine's role. They are never an argument, a setting or a part of a URL here, so that none ends in a file or a log.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import fsspec
from pydantic import Field, ValidationError

from validation.digests import digest_value
from validation.errors import ConfigurationError, UserError
from validation.strict import Strict, explain

if TYPE_CHECKING:
    from validation.object_store import ObjectStore, SharedStore

_SCHEMES = ("s3://", "s3a://")
_VARIABLE = "VOXLINE_S3_"
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# What a store must take at the least of a body that is sent to it, beyond the timeouts.
SLOWEST_BYTES_PER_S = 1 << 18
# Of any pause before one more attempt, as botocore's standard mode has it.
_LONGEST_PAUSE_S = 20.0


class StoreError(UserError):
    """An object store that cannot be used at all: no answer, no bucket, no valid credentials; or a failed write."""


class ObjectError(UserError, OSError):
    """One object that cannot be had now: refused, changed while it was read, or cut short at every attempt."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.errno = errno.EIO  # libraries tell a failing device from bad content by there being a number
        self._text = text

    def __str__(self) -> str:
        return self._text


class RemoteSettings(Strict):
    """How an object store is talked to; each value is set by the variable ``VOXLINE_S3_`` + its name in capitals.

    Attributes:
        connect_timeout_s: For a connection to be made, in seconds.
        read_timeout_s: Between two bytes of an answer, in seconds.
        attempts: How often a request is made before it has failed; pauses between them grow, up to 20 s.
        connections: Open at once, per process.
        part_mib: Size of the parts of large objects, in MiB; smaller objects are written by one request.
        addressing: Whether the bucket stands in the ``path`` or is a part of the host (``virtual``); ``auto``: in the
            path where there is an endpoint of one's own.
        workers_per_core: Processes or threads at work on recordings in a store, per core: most of the time they wait.
    """

    connect_timeout_s: float = Field(default=5.0, gt=0)
    read_timeout_s: float = Field(default=20.0, gt=0)
    attempts: int = Field(default=4, ge=1, le=20)
    connections: int = Field(default=32, ge=1)
    part_mib: int = Field(default=8, ge=5, le=512)  # S3 takes no smaller parts
    addressing: Literal["auto", "path", "virtual"] = "auto"
    workers_per_core: int = Field(default=2, ge=1, le=32)

    @classmethod
    def from_environment(cls) -> RemoteSettings:
        """The settings of this process.

        Raises:
            ConfigurationError: naming the variable, the value and what is allowed.
        """
        values = {
            name: os.environ[_VARIABLE + name.upper()]
            for name in cls.model_fields
            if _VARIABLE + name.upper() in os.environ
        }
        known = {_VARIABLE + name.upper() for name in cls.model_fields}
        if unknown := sorted(name for name in os.environ if name.startswith(_VARIABLE) and name not in known):
            raise ConfigurationError(
                f"the environment sets {unknown[0]}; known are {', '.join(sorted(known))}"
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(f"the environment's {_VARIABLE}…: {explain(error)}") from error

    def longest_s(self, sent_bytes: int = 0) -> float:
        """The longest that a request can take until it has failed, all attempts and pauses included, in seconds."""
        attempt_s = self.connect_timeout_s + self.read_timeout_s + sent_bytes / SLOWEST_BYTES_PER_S
        return self.attempts * attempt_s + sum(longest_pause_s(retry) for retry in range(1, self.attempts))


def longest_pause_s(retry: int) -> float:
    """The longest pause before the retry of that number, from 1, in seconds."""
    return min(2.0 ** (retry - 1), _LONGEST_PAUSE_S)


def is_s3(url: str) -> bool:
    """Whether the URL lies in an S3 store."""
    return url.startswith(_SCHEMES)


def filesystem_of(url: str) -> tuple[Any, str]:
    """The fsspec file system of a directory or URL, and the path of it there.

    Raises:
        ConfigurationError: for an S3 URL without a bucket, or with credentials in it.
    """
    if not is_s3(url):
        # Not by fsspec's own parsing, to which "::" in a name begins another URL.
        kind = fsspec.get_filesystem_class(url.partition("://")[0] if "://" in url else "file")
        return kind(**kind._get_kwargs_from_urls(url)), kind._strip_protocol(url)
    path = url.partition("://")[2].rstrip("/")
    bucket = path.partition("/")[0]
    if not bucket or "@" in bucket or ":" in bucket:
        shown = f"{url.partition('://')[0]}://…" if "@" in bucket else url
        raise ConfigurationError(
            f"{shown}: wanted is s3://bucket/prefix, and credentials in the environment only"
        )
    return object_store(), path


def at_once(*urls: str) -> int:
    """How many workers to have on what lies at these URLs: one per core, and more where they wait for a store."""
    cores = len(os.sched_getaffinity(0))
    return cores * (RemoteSettings.from_environment().workers_per_core if any(map(is_s3, urls)) else 1)


def open_url(url: str) -> Any:
    """A context manager of the URL's bytes, to read and seek in."""
    store, path = filesystem_of(url)
    stream: IO[bytes] = store.open(path, "rb")
    return stream


def object_store() -> ObjectStore:
    """This process's connection to the store that the environment names; a forked process gets one of its own."""
    return _object_store(*_connection())


def shared_store() -> SharedStore:
    """The same for a library whose threads seek and read in one open file: DuckDB."""
    return _shared_store(*_connection())


def _connection() -> tuple[int, RemoteSettings, str]:
    """What a connection stays one for: the process, its settings and its credentials."""
    aws = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    return os.getpid(), RemoteSettings.from_environment(), digest_value(aws)


# Imported only where it is needed: the client takes most of a second.
@lru_cache(maxsize=8)
def _object_store(_process: int, settings: RemoteSettings, _environment: str) -> ObjectStore:
    from validation.object_store import ObjectStore

    return ObjectStore(settings)


@lru_cache(maxsize=8)
def _shared_store(_process: int, settings: RemoteSettings, _environment: str) -> SharedStore:
    from validation.object_store import SharedStore

    return SharedStore(settings)


def endpoint() -> str | None:
    """The endpoint that the environment names; ``None``: that of AWS, or of a profile."""
    return next((value for name in _ENDPOINT_VARIABLES if (value := os.environ.get(name))), None)


def endpoint_name() -> str:
    """The endpoint for a message: without a user or password that its URL may hold."""
    url = endpoint()
    if url is None:
        return "AWS S3 (AWS_ENDPOINT_URL is not set)"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "AWS_ENDPOINT_URL"
