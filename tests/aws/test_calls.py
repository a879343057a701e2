"""What AWS and botocore say, in one clear line of ours."""

from __future__ import annotations

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore import exceptions
from botocore.exceptions import ClientError

from minimoto.aws.calls import aws_call, code_of, translate
from minimoto.errors import CloudError, Conflict, LeaseLost, MinimotoError, NotFound


def refused(code: str, message: str = "No, because\n  of this.") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "SendMessage")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", CloudError),
        ("ThrottlingException", CloudError),
        ("ConditionalCheckFailedException", Conflict),
        ("NoSuchKey", NotFound),
        ("404", NotFound),
        ("ResourceNotFoundException", NotFound),
        ("AWS.SimpleQueueService.NonExistentQueue", NotFound),
        ("InvalidLaunchTemplateId.NotFound", NotFound),
    ],
)
def test_a_refusal_names_what_and_why(code: str, kind: type[MinimotoError]) -> None:
    with pytest.raises(kind) as caught, aws_call("queue trip: sending"):
        raise refused(code)
    line = str(caught.value)
    assert line.startswith("queue trip: sending: ")
    assert line.endswith(f"No, because of this. ({code})")
    if isinstance(caught.value, CloudError):
        assert caught.value.code == code


def test_what_setup_made_and_is_gone_says_how_it_comes_back() -> None:
    for code in ("ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue"):
        assert "(minimoto_setup.py makes what is missing)" in str(translate(refused(code), "queue trip"))
    assert "setup" not in str(translate(refused("NoSuchKey"), "s3://b/k"))


def test_a_page_is_no_reason() -> None:
    page = "<!doctype html>\n<html lang=en><title>500 Internal Server Error</title><h1>Internal Server Error</h1>"
    error = exceptions.ClientError({"Error": {"Code": "500", "Message": page}}, "Query")
    assert str(translate(error, "queue trip")) == "queue trip: it failed with a page instead of an answer (500)"


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
def test_expired_credentials(code: str) -> None:
    error = translate(refused(code), "queue trip")
    assert isinstance(error, CloudError)
    assert str(error) == (
        "queue trip: the AWS credentials have expired: log in again (such as: aws sso login), "
        f"or name another profile with --profile ({code})"
    )


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"])
def test_credentials_that_aws_does_not_know(code: str) -> None:
    assert "AWS does not know these credentials" in str(translate(refused(code), "x"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.NoCredentialsError(), "there are no AWS credentials"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "there are no AWS credentials"),
        (exceptions.UnauthorizedSSOTokenError(), "log in again"),
        (
            exceptions.TokenRetrievalError(provider="sso", error_msg="Token has expired"),
            "Token has expired; log in again",
        ),
        (exceptions.CredentialRetrievalError(provider="sso", error_msg="gone"), "gone; log in again"),
        (exceptions.EndpointConnectionError(endpoint_url="https://sqs"), "Could not connect to the endpoint"),
        (exceptions.ReadTimeoutError(endpoint_url="https://sqs"), "Read timeout"),
    ],
)
def test_what_never_reached_aws(error: Exception, words: str) -> None:
    translated = translate(error, "queue trip")
    assert isinstance(translated, CloudError)
    assert str(translated).startswith("queue trip: ")
    assert words in str(translated)
    assert "\n" not in str(translated)
    assert translated.code == ""


def test_the_cause_of_a_failed_transfer_is_told() -> None:
    failed = S3UploadFailedError("Failed to upload")
    failed.__cause__ = refused("NoSuchBucket")
    with pytest.raises(NotFound, match="NoSuchBucket"), aws_call("s3://in/a"):
        raise failed
    assert isinstance(translate(S3UploadFailedError("Failed"), "x"), CloudError)


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), aws_call("x"):
        raise ZeroDivisionError
    with pytest.raises(LeaseLost, match="ours"), aws_call("x"):
        raise LeaseLost("ours")
    assert translate(OSError("disk"), "x") is None
    assert code_of(ValueError()) == ""


def test_a_long_reason_is_cut() -> None:
    assert len(str(translate(refused("SignatureDoesNotMatch", "x" * 10_000), "q"))) < 600
