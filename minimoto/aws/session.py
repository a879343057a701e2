"""boto3 sessions: the caller's own credentials for AWS, made-up ones for the embedded AWS."""

from __future__ import annotations

import ipaddress
import os
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minimoto.aws.calls import aws_call
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError

if TYPE_CHECKING:
    import boto3

DUMMY = "embedded"
"""Access key and secret for the embedded AWS, which takes any. Real ones are never sent to it."""


def open_session(config: Config) -> boto3.session.Session:
    """A session for a deployment.

    Credentials come from boto3's own chain (``config.profile`` if it is named, environment, SSO, role); with
    ``config.endpoint_url`` neither they nor ``~/.aws`` are looked at.

    Raises:
        ConfigError: ``endpoint_url`` is not on this computer.
        CloudError: the profile does not exist, or there are no credentials.
    """
    import boto3

    if config.endpoint_url:
        check_loopback(config.endpoint_url)
        return _embedded_session(config.region)
    with aws_call("AWS credentials"):
        session = boto3.session.Session(profile_name=config.profile or None, region_name=config.region or None)
        if session.get_credentials() is None:
            raise CloudError(
                "there are no AWS credentials: run aws configure or aws sso login, or name a profile with --profile"
            )
    return session


@cache
def _embedded_session(region: str) -> boto3.session.Session:
    """One for all: it holds nothing of anybody's, and its clients need not be made anew."""
    import boto3
    import botocore.session

    # A profile named in the environment must not be looked for: nothing of ~/.aws takes part.
    alone = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.session.Session(
        aws_access_key_id=DUMMY,
        aws_secret_access_key=DUMMY,
        region_name=region,
        botocore_session=botocore.session.Session(session_vars=alone),
    )


def check_loopback(endpoint_url: str) -> None:
    """Raises ``ConfigError`` unless the endpoint is an address of this computer's own."""
    try:
        parts = urlsplit(endpoint_url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"endpoint_url = {endpoint_url}: {error}") from None
    if parts.scheme not in ("http", "https") or not port or not _is_loopback(host):
        raise ConfigError(
            f"endpoint_url = {endpoint_url}: this must be an address of this computer, such as "
            "http://127.0.0.1:5599; leave it empty to use AWS"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
