"""A deployment as a whole: what the commands ``setup`` and ``cleanup`` call."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.aws.calls import aws_call
from minimoto.aws.clients import client
from minimoto.aws.resources import RESOURCES, cleanup
from minimoto.aws.resources.cleanup import Removal, Survey
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.installer import Installer
from minimoto.aws.resources.key_pair import is_own
from minimoto.aws.resources.plan import Planned, plan
from minimoto.aws.resources.prices import Estimate, estimate
from minimoto.aws.resources.setup import Outcome, Setup
from minimoto.aws.resources.software import address_of
from minimoto.config import Config
from minimoto.errors import CloudError

if TYPE_CHECKING:
    import boto3

    from minimoto.aws.resources.journal import Say
    from minimoto.ports import Clock

WHO_AM_I = "https://checkip.amazonaws.com"
"""Answers with the public IPv4 address of whoever asks."""


class Deployment:
    """The resources of one deployment in one region.

    Parameters:
        installer: puts the program on the machines.
        key_folder: where a new private key is kept.
        say: is called with each line of progress.
        options: further fields of :class:`Context`, such as ``poll``.
    """

    def __init__(
        self,
        session: boto3.session.Session,
        config: Config,
        clock: Clock,
        installer: Installer,
        key_folder: Path,
        say: Say,
        **options: Any,
    ) -> None:
        self._session, self.config, self._clock = session, config, clock
        self._installer, self._key_folder, self._say = installer, key_folder, say
        self._options = options

    def plan(self) -> list[Planned]:
        """What setup would do."""
        return plan(self._context(), RESOURCES)

    def estimate(self) -> Estimate:
        """What the deployment costs while idle."""
        return estimate(self.config)

    def setup(self, save: Callable[[Config], None], restore: Callable[[], None]) -> Outcome:
        """Makes what is missing; see :class:`Setup`. Afterwards ``config`` names all of it."""
        ctx = self._context()
        outcome = Setup(ctx, RESOURCES, say=self._say, save=save, restore=restore).run()
        self.config = ctx.config
        return outcome

    def outputs(self) -> dict[str, str]:
        """What setup prints at its end, by the options of section [OUTPUT]."""
        config, ec2 = self.config, client(self._session, self.config, "ec2")
        with aws_call("machines: reading their addresses"):
            answer = ec2.describe_instances(InstanceIds=[config.client_id, config.watchdog_id])
        addresses = {i["InstanceId"]: address_of(i) for r in answer["Reservations"] for i in r["Instances"]}
        return {
            "s3_bucket_input": f"s3://{config.bucket_input}",
            "s3_bucket_output": f"s3://{config.bucket_output}",
            "client_user": config.login,
            "client_addr": addresses.get(config.client_id, ""),
            "watchdog_user": config.login,
            "watchdog_addr": addresses.get(config.watchdog_id, ""),
            "service_user": config.login,
            "service_ami": config.service_ami,
        }

    def survey(self) -> Survey:
        """What cleanup would remove."""
        return cleanup.survey(self._context(), RESOURCES)

    def remove(self, *, keep_results: bool) -> Removal:
        """Removes the deployment."""
        return cleanup.remove(self._context(), RESOURCES, keep_results=keep_results, say=self._say)

    def forget_key(self, config: Config) -> Config:
        """Deletes the private key of a deployment that is gone, if setup made it; the settings without it."""
        file = Path(config.key_file).expanduser()
        if not config.key_file or not is_own(file, config.name):
            return config
        file.unlink(missing_ok=True)
        return replace(config, key_file="")

    def _context(self) -> Context:
        config = self.config
        with aws_call("AWS account"):
            account = client(self._session, config, "sts").get_caller_identity()["Account"]
            partition = self._session.get_partition_for_region(config.region)
        defaults: dict[str, Any] = {"poll": 0.2 if config.local else 5.0, "tls_only": not config.local}
        return Context(
            clients=self._client,
            config=config,
            account=account,
            partition=partition,
            clock=self._clock,
            installer=self._installer,
            operator_address=_no_address if config.local else public_address,
            key_folder=self._key_folder,
            **(defaults | self._options),
        )

    def _client(self, service: str) -> Any:
        # The name of the service comes from the resources' own code.
        return client(self._session, self.config, service)  # type: ignore[call-overload]


def public_address() -> str:
    """This computer's public IPv4 address, as AWS sees it; raises ``CloudError``."""
    try:
        with urllib.request.urlopen(WHO_AM_I, timeout=10) as answer:
            return str(answer.read(100).decode("ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CloudError(
            f"{WHO_AM_I} does not tell this computer's public address ({error}): "
            "set [EC2] ssh_from in configure.ini, such as ssh_from = 203.0.113.7/32"
        ) from error


def _no_address() -> str:
    return "127.0.0.1"
