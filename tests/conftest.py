"""What tests of several folders share: the embedded AWS, a deployment on it, and no way out of this computer."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from minimoto.aws.clients import client
from minimoto.aws.session import open_session
from minimoto.aws.table import table_definition, time_to_live
from minimoto.config import Config
from minimoto.memory import FakeClock
from minimoto.wiring import Cloud

if TYPE_CHECKING:
    from minimoto.local.server import EmbeddedServer

IMAGE = "ami-12c6146b"
"""One of those that moto knows."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--aws-deployment",
        metavar="FILE",
        help="run the contract suite on the deployment of this configure.ini too: a real account, real (small) cost; "
        "its queues must be empty",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--aws-deployment"):
        return
    # Nothing of the caller's account or settings may take part in a test.
    for name in list(os.environ):
        if name.startswith(("AWS_", "MINIMOTO_")) or name.upper().endswith("_PROXY"):
            del os.environ[name]


@pytest.fixture(autouse=True, scope="session")
def _stay_here(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fails whatever would reach an address that is not this computer's own."""
    if pytestconfig.getoption("--aws-deployment"):
        yield
        return
    patch = pytest.MonkeyPatch()
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def checked_connect(self: socket.socket, address: Any) -> None:
        _check_here(self.family, address)
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        _check_here(self.family, address)
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _check_here(socket.AF_INET, (host, 0))
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", checked_connect)
    patch.setattr(socket.socket, "connect_ex", checked_connect_ex)
    patch.setattr(socket, "getaddrinfo", checked_getaddrinfo)
    # Processes that tests start do not have this guard; they get no credentials and no way to ask a machine for any.
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    yield
    patch.undo()


class LeftThisComputer(BaseException):
    """Not an ``Exception``: no code under test may take it for an error of the network and go on."""


def _check_here(family: int, address: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host in (None, "", "localhost", "0.0.0.0", "::"):
        return
    try:
        here = ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        here = False
    if not here:
        raise LeftThisComputer(f"a test tried to reach {host}")


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled networks and fetched models of the user's take no part in a test, nor does a test leave any to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIMOTO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedServer]:
    """The embedded AWS of this test process."""
    from minimoto.local.server import start

    server = start()
    yield server
    server.stop()


MakeDeployment = Callable[..., Config]


@pytest.fixture(scope="session")
def make_deployment(embedded: EmbeddedServer) -> MakeDeployment:
    """Makes deployments under names of their own: ``make_deployment(lease=5.0)``."""

    def make(**settings: Any) -> Config:
        name = f"trip-{uuid.uuid4().hex[:8]}"
        given = {"bucket_input": f"{name}-in", "bucket_output": f"{name}-out", "table": name, **settings}
        return _make_resources(Config(name=name, endpoint_url=embedded.url, **given))

    return make


@pytest.fixture
def deployment(make_deployment: MakeDeployment) -> Config:
    """The least that a deployment is made of."""
    return make_deployment()


@pytest.fixture
def cloud(deployment: Config) -> Cloud:
    """The ports of that deployment."""
    return Cloud(deployment)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only moves when it is told to."""
    return FakeClock()


def _make_resources(config: Config) -> Config:
    """Queue, dead-letter queue, buckets, table, topic and launch template; setup has tests of its own."""
    session = open_session(config)
    sqs, s3, dynamodb = (
        client(session, config, "sqs"),
        client(session, config, "s3"),
        client(session, config, "dynamodb"),
    )
    dead = sqs.create_queue(QueueName=f"{config.name}-dead", Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": config.receive_limit})
    attributes = {"VisibilityTimeout": str(math.ceil(config.lease)), "RedrivePolicy": redrive}
    queue = sqs.create_queue(QueueName=config.name, Attributes=attributes)["QueueUrl"]
    for bucket in (config.bucket_input, config.bucket_output):
        s3.create_bucket(Bucket=bucket)
    dynamodb.create_table(**table_definition(config.table))
    dynamodb.update_time_to_live(TableName=config.table, TimeToLiveSpecification=time_to_live())
    template = client(session, config, "ec2").create_launch_template(
        LaunchTemplateName=config.name, LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "g5.xlarge"}
    )
    return replace(
        config,
        queue_name=config.name,
        queue_url=queue,
        dead_letter_url=dead,
        topic_arn=client(session, config, "sns").create_topic(Name=config.name)["TopicArn"],
        launch_template=template["LaunchTemplate"]["LaunchTemplateId"],
    )
