"""The one place that makes boto3 clients."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from minimoto import __version__
from minimoto.aws.session import DUMMY, check_loopback
from minimoto.config import Config
from minimoto.errors import CloudError

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config as ClientConfig
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

CONNECT_SECONDS = 5
READ_SECONDS = 60
"""Longer than the longest poll of a queue (20 s)."""

_lock = threading.Lock()
_made: WeakKeyDictionary[boto3.session.Session, dict[tuple[str, str, str], Any]] = WeakKeyDictionary()


@overload
def client(session: boto3.session.Session, config: Config, service: Literal["autoscaling"]) -> AutoScalingClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["cloudwatch"]) -> CloudWatchClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["ec2"]) -> EC2Client: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["iam"]) -> IAMClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["s3"]) -> S3Client: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["sns"]) -> SNSClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["ssm"]) -> SSMClient: ...
@overload
def client(session: boto3.session.Session, config: Config, service: Literal["sts"]) -> STSClient: ...


def client(session: boto3.session.Session, config: Config, service: str) -> Any:
    """The client of a service, made once for each session (making one takes tens of milliseconds).

    Clients may be used from many threads.

    Raises:
        ConfigError: ``config.endpoint_url`` is not on this computer.
        CloudError: the embedded AWS does not answer.
    """
    key = (service, config.endpoint_url, config.region)
    with _lock:
        made = _made.setdefault(session, {})
        if key not in made:
            made[key] = _make(session, config, service)
        return made[key]


def _make(session: boto3.session.Session, config: Config, service: Any) -> Any:
    region = config.region or None
    if not config.endpoint_url:
        return session.client(service, region_name=region, config=_settings())
    check_loopback(config.endpoint_url)
    _check_running(config.endpoint_url)
    return session.client(
        service,
        region_name=region,
        endpoint_url=config.endpoint_url,
        config=_settings().merge(_embedded_settings()),
        **_embedded_credentials(session),
    )


def _embedded_credentials(session: boto3.session.Session) -> dict[str, Any]:
    """Made-up ones unless the session was handed its own (a role of the embedded IAM): found ones are never sent."""
    credentials = session.get_credentials()
    if credentials is not None and credentials.method == "explicit":
        return {}
    return {"aws_access_key_id": DUMMY, "aws_secret_access_key": DUMMY}


def _settings() -> ClientConfig:
    from botocore.config import Config as ClientConfig

    return ClientConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "adaptive", "total_max_attempts": 6},
        max_pool_connections=50,
        tcp_keepalive=True,
        user_agent_extra=f"minimoto/{__version__}",
    )


def _embedded_settings() -> ClientConfig:
    from botocore.config import Config as ClientConfig

    return ClientConfig(
        # botocore's own is put together anew for every call: a sixth of our part of a call's time.
        user_agent=f"minimoto/{__version__}",
        # Neither a proxy nor a FIPS endpoint named in the environment is for an address of this computer.
        proxies={},
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    )


def _check_running(endpoint_url: str) -> None:
    """One try, at once: botocore would try again for many seconds where nobody listens."""
    parts = urlsplit(endpoint_url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise CloudError(
            f"the embedded AWS at {endpoint_url} does not answer ({error.strerror or error}): minimoto local start"
        ) from None
