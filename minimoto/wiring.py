"""The only place that chooses implementations: settings in, ports out.

Everything is made on first use, so that a command pays only for what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minimoto.clock import SystemClock
from minimoto.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import boto3

    from minimoto import ports
    from minimoto.aws.resources.deployment import Deployment
    from minimoto.aws.resources.installer import Installer


@dataclass(frozen=True)
class Cloud:
    """The ports of one deployment."""

    config: Config

    @cached_property
    def clock(self) -> ports.Clock:
        return SystemClock()

    @cached_property
    def session(self) -> boto3.session.Session:
        from minimoto.aws.session import open_session

        return open_session(self.config)

    @cached_property
    def queue(self) -> ports.Queue:
        from minimoto.aws.queue import SqsQueue

        return SqsQueue(self.session, self.config)

    @cached_property
    def store(self) -> ports.Store:
        from minimoto.aws.store import S3Store

        return S3Store(self.session, self.config)

    @cached_property
    def jobs(self) -> ports.Jobs:
        from minimoto.aws.jobs import DynamoJobs

        return DynamoJobs(self.session, self.config)

    @cached_property
    def nodes(self) -> ports.Nodes:
        from minimoto.aws.nodes import DynamoNodes

        return DynamoNodes(self.session, self.config)

    @cached_property
    def ledger(self) -> ports.Ledger:
        from minimoto.aws.ledger import DynamoLedger

        return DynamoLedger(self.session, self.config)

    @cached_property
    def fleet(self) -> ports.Fleet:
        from minimoto.aws.fleet import Ec2Fleet

        return Ec2Fleet(self.session, self.config)

    @cached_property
    def group(self) -> ports.ScalingGroup:
        from minimoto.aws.scaling import AutoScalingGroup

        return AutoScalingGroup(self.session, self.config)

    @cached_property
    def metrics(self) -> ports.Metrics:
        from minimoto.aws.metrics import CloudWatchMetrics

        return CloudWatchMetrics(self.session, self.config)

    @cached_property
    def topic(self) -> ports.Topic:
        from minimoto.aws.topic import SnsTopic

        return SnsTopic(self.session, self.config)

    def deployment(self, key_folder: Path, say: Callable[[str], None], **options: Any) -> Deployment:
        """The resources themselves, for setup and cleanup; machines of the embedded AWS need no installation."""
        from minimoto.aws.clients import client
        from minimoto.aws.resources.deployment import Deployment
        from minimoto.aws.resources.installer import LocalInstaller, SshInstaller

        def ec2() -> Any:
            return client(self.session, self.config, "ec2")

        installer: Installer = LocalInstaller(ec2) if self.config.local else SshInstaller(ec2, self.clock, say)
        return Deployment(self.session, self.config, self.clock, installer, key_folder, say, **options)


def price_per_hour(config: Config) -> float | None:
    """US dollars an hour of one service machine: as set, else from the table of prices; ``None`` where in neither.

    The embedded AWS costs nothing. Spot machines are charged as on-demand ones: a budget must hold whatever they cost.
    """
    if config.price_per_hour or config.local:
        return config.price_per_hour
    from minimoto.aws.resources.prices import PER_HOUR

    return PER_HOUR.get(config.service_type)
