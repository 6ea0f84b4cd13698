"""What an object store's refusals and silences mean to whoever started the run."""

from __future__ import annotations

import os
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from validation.errors import UserError
from validation.remote import ObjectError, StoreError, endpoint_name

# What a client, or a server in between, raises where no whole answer came.
SILENCES = (
    HTTPClientError,
    IncompleteReadError,
    NoConnectionError,
    ResponseStreamingError,
    aiohttp.ClientError,
    TimeoutError,
)
# What can come of a request at all.
FAILURES = (OSError, BotoCoreError, *SILENCES)

_SERVER_FAULT = 500
_BAD_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "RequestTimeTooSkewed",
        "AuthorizationHeaderMalformed",
    }
)
_ELSEWHERE = frozenset({"PermanentRedirect", "TemporaryRedirect", "Redirect", "301", "307"})
_REFUSED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403"})
_BUSY = frozenset({"SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests"})
_MISSING = frozenset({"NoSuchKey", "404", "NoSuchUpload"})
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def code_of(error: BaseException) -> tuple[str, int, str]:
    """The store's own code, HTTP status and words; ``("", 0, "")`` where it said nothing."""
    for one in (error, error.__cause__):
        answer: Any = getattr(one, "response", None)
        if isinstance(answer, dict):
            told = answer.get("Error", {})
            status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            return str(told.get("Code", "")), status, str(told.get("Message", ""))
    return "", 0, ""


def is_silence(error: BaseException) -> bool:
    """Whether the store, not the object, is at fault: it did not answer, or said that it cannot now."""
    code, status, _ = code_of(error)
    return isinstance(error, SILENCES) or status >= _SERVER_FAULT or code in _BUSY


def explained(error: BaseException, url: str, attempts: int) -> UserError | FileNotFoundError:
    """The error as a sentence that names the URL and says what to do.

    Args:
        attempts: How often the request was made.
    """
    if isinstance(error, UserError):
        return error
    code, status, words = code_of(error)
    where = endpoint_name()
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreError(
            f"{url}: there are no credentials for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if code in _BAD_CREDENTIALS:
        return StoreError(
            f"{url}: {where} refuses the credentials ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_SESSION_TOKEN, AWS_REGION and this machine's clock"
        )
    if code == "NoSuchBucket":
        bucket = url.partition("://")[2].partition("/")[0]
        return StoreError(
            f"{url}: {where} has no bucket {bucket!r}; make it, or check the URL and AWS_ENDPOINT_URL"
        )
    if code in _ELSEWHERE:
        return StoreError(f"{url}: the bucket lies in another region ({code}); set AWS_REGION to its own")
    if code in _MISSING:
        return FileNotFoundError(f"{url} does not exist")
    if code in _REFUSED:
        return ObjectError(f"{url}: access is refused ({code}); the credentials may not read or write there")
    if is_silence(error):
        # Not the error's own words: they hold the endpoint's URL as it was given.
        found = code or (str(status) if status else type(error).__name__)
        return ObjectError(
            f"{url}: {where} gave no whole answer ({found}) at {attempts} attempts; check AWS_ENDPOINT_URL, the "
            "network and the store, and run again"
        )
    if "Invalid endpoint" in str(error):
        return StoreError(f"{url}: AWS_ENDPOINT_URL is no URL such as https://host:port")
    return ObjectError(f"{url}: {_without_secrets(words or str(error) or type(error).__name__)}")


def _without_secrets(text: str) -> str:
    for name in _SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return text
