"""The one translation of what botocore raises into minimoto's errors, one clear line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minimoto.errors import CloudError, Conflict, MinimotoError, NotFound

MAKE_AGAIN = "minimoto_setup.py makes what is missing"
LOG_IN = "log in again (such as: aws sso login), or name another profile with --profile"

_ABSENT = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchKey",
        "NotFound",
        "ParameterNotFound",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_OURS = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException"})
"""What is said of a queue or a table: those that setup made."""
_LOST = frozenset({"ConditionalCheckFailedException"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN = frozenset({"AuthFailure", "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"})


@contextmanager
def aws_call(what: str) -> Iterator[None]:
    """Runs calls to AWS; what botocore, boto3 and s3transfer raise leaves as one of ours.

    Parameters:
        what: what is being done and to which resource, such as ``queue https://…/trip: receiving``.

    Raises:
        NotFound: the resource is not there.
        Conflict: a condition of a write was not met.
        CloudError: anything else that AWS, the network or the credentials refuse.
    """
    try:
        yield
    except MinimotoError:
        raise
    except Exception as error:
        translated = translate(error, what)
        if translated is None:
            raise
        raise translated from error


def translate(error: Exception, what: str) -> MinimotoError | None:
    """Our error for one of botocore, boto3 or s3transfer; ``None`` for any other."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    # s3transfer and boto3 wrap the error that says why.
    cause = error.__cause__ or error.__context__
    if isinstance(error, Boto3Error) and isinstance(cause, ClientError | BotoCoreError):
        error = cause
    if isinstance(error, ClientError):
        return _refused(error, what)
    # The last is what a proxy that answers in AWS's place causes.
    if isinstance(error, BotoCoreError | Boto3Error | ResponseParserError):
        return CloudError(f"{what}: {_unreachable(error)}")
    return None


def code_of(error: BaseException) -> str:
    """AWS's code of a ``ClientError``, such as ``AccessDenied``; empty for any other exception."""
    response: Any = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if isinstance(response, dict) and "Error" in response else ""


def _refused(error: Any, what: str) -> MinimotoError:
    code = code_of(error)
    reason = _one_line(error.response["Error"].get("Message", "")) or "no reason given"
    line = f"{what}: {reason} ({code})"
    if code in _LOST:
        return Conflict(line)
    if code in _ABSENT or code.endswith(".NotFound"):
        again = f" ({MAKE_AGAIN})" if code in _OURS else ""
        return NotFound(f"{what}: there is no such thing{again}, says AWS: {reason} ({code})")
    if reason.lower().startswith("<!doctype"):
        # What the embedded AWS says of itself, or a proxy, is a page.
        return CloudError(f"{what}: it failed with a page instead of an answer ({code})", code=code)
    if code in _EXPIRED:
        return CloudError(f"{what}: the AWS credentials have expired: {LOG_IN} ({code})", code=code)
    if code in _UNKNOWN:
        return CloudError(f"{what}: AWS does not know these credentials: {LOG_IN} ({code})", code=code)
    return CloudError(line, code=code)


def _unreachable(error: Exception) -> str:
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "there are no AWS credentials: run aws configure or aws sso login, or name a profile with --profile"
    expired = (
        exceptions.CredentialRetrievalError,
        exceptions.SSOError,
        exceptions.TokenRetrievalError,
        exceptions.UnauthorizedSSOTokenError,
    )
    if isinstance(error, expired):
        return f"the AWS credentials could not be used: {_one_line(error)}; {LOG_IN}"
    return _one_line(error)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:500]
