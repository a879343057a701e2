"""Credentials and endpoints: whose are used where, and what is said when there are none."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from minimoto.aws.clients import client
from minimoto.aws.session import open_session
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError

if TYPE_CHECKING:
    from minimoto.local.server import EmbeddedServer


@pytest.fixture
def real_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What somebody's shell may hold."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real-token")


def sent_by(made: Any, method: str, **arguments: Any) -> list[Any]:
    """The requests that a call would send, with their signatures."""
    sent: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        sent.append(request)
        raise ConnectionAbortedError

    made.meta.events.register("before-send", keep)
    with pytest.raises(ConnectionAbortedError):
        getattr(made, method)(**arguments)
    made.meta.events.unregister("before-send", keep)
    return sent


@pytest.mark.usefixtures("real_credentials")
@pytest.mark.parametrize("own_session", [False, True], ids=["open_session", "a session of AWS"])
def test_real_credentials_never_reach_the_embedded_aws(embedded: EmbeddedServer, own_session: bool) -> None:
    config = Config(endpoint_url=embedded.url)
    session = boto3.session.Session(region_name="us-east-1") if own_session else open_session(config)
    (request,) = sent_by(client(session, config, "sqs"), "list_queues")
    assert request.url.startswith(embedded.url)
    headers = " ".join(f"{name}: {value!r}" for name, value in request.headers.items())
    assert "Credential=embedded/" in headers
    assert "AKIA" not in headers
    assert "real-token" not in headers


def test_the_callers_environment_does_not_stop_the_embedded_aws(
    embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(Config(endpoint_url=embedded.url, region="eu-central-1"))
    monkeypatch.setenv("AWS_PROFILE", "nonesuch")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:1")
    made = client(session, Config(endpoint_url=embedded.url, region="eu-central-1"), "ssm")
    (request,) = sent_by(made, "describe_parameters")
    assert request.url.startswith(embedded.url)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://192.0.2.1:5599",
        "https://sqs.eu-central-1.amazonaws.com:443",
        "http://127.0.0.1.example.org:80",
        "http://127.0.0.1@example.org:80",
        "http://localhost",
        "ftp://localhost:21",
        "http://127.0.0.1:99999",
        "nonsense",
    ],
)
def test_an_endpoint_elsewhere_is_refused(endpoint: str) -> None:
    config = Config(endpoint_url=endpoint)
    with pytest.raises(ConfigError, match="endpoint_url"):
        open_session(config)
    with pytest.raises(ConfigError, match="endpoint_url"):
        client(boto3.session.Session("a", "b", region_name="us-east-1"), config, "sqs")


def test_an_embedded_aws_that_is_not_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = Config(endpoint_url=f"http://127.0.0.1:{port}")
    with pytest.raises(CloudError, match=r"does not answer .* minimoto local start"):
        client(open_session(config), config, "sqs")


def test_no_credentials_are_one_clear_line() -> None:
    with pytest.raises(CloudError, match=r"^there are no AWS credentials: run aws configure or aws sso login"):
        open_session(Config())


def test_an_unknown_profile_is_one_clear_line() -> None:
    with pytest.raises(CloudError, match=r"AWS credentials: .*nonesuch"):
        open_session(Config(profile="nonesuch"))


@pytest.mark.usefixtures("real_credentials")
def test_credentials_come_from_the_environment_and_region_from_the_settings() -> None:
    session = open_session(Config(region="eu-north-1"))
    assert session.get_credentials().access_key == "AKIAREALREALREALREAL"
    assert session.region_name == "eu-north-1"
    made = client(session, Config(region="eu-north-1"), "sqs")
    assert made.meta.endpoint_url == "https://sqs.eu-north-1.amazonaws.com"
    assert made.meta.config.retries["mode"] == "adaptive"
    assert made.meta.config.read_timeout > 20


@pytest.mark.usefixtures("real_credentials")
def test_a_profile_of_the_settings_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[trip]\naws_access_key_id = AKIATRIP\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert open_session(Config(profile="trip")).get_credentials().access_key == "AKIATRIP"


def test_clients_are_made_once(embedded: EmbeddedServer) -> None:
    config = Config(endpoint_url=embedded.url)
    session = open_session(config)
    assert open_session(config) is session
    assert client(session, config, "sqs") is client(session, config, "sqs")
    assert client(session, config, "sqs") is not client(
        session, Config(endpoint_url=embedded.url, region="eu-west-1"), "sqs"
    )


def test_made_up_addresses_are_caught_by_the_guard_of_the_tests() -> None:
    made = boto3.client("sqs", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b", config=ClientConfig())
    with pytest.raises(BaseException, match=r"a test tried to reach sqs\.us-east-1") as caught:
        made.list_queues()
    assert not isinstance(caught.value, Exception | ClientError)
