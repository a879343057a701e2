"""What the resources of one deployment share while setup or cleanup runs."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from minimoto.aws.policies import DEPLOYMENT_TAG, ROLE_TAG
from minimoto.config import Config
from minimoto.errors import CloudError, TimedOut

if TYPE_CHECKING:
    from minimoto.aws.resources.installer import Installer
    from minimoto.aws.resources.resource import Found
    from minimoto.ports import Clock

RUN_TAG = "minimoto:run"
"""Which run of setup made a resource: what an interrupted run undoes carries its own mark, and nothing else does."""


class NotMadeYet(LookupError):
    """What a resource refers to does not exist yet."""


@dataclass
class Context:
    """One deployment, one run.

    Parameters:
        clients: makes (and keeps) the boto3 client of a service, by its name.
        config: the settings; the ids of resources are filled in as they are found or made.
        account, partition: where the deployment lives, such as ``123456789012`` and ``aws-cn``.
        installer: puts the program on a machine.
        operator_address: the IPv4 address from which the operator reaches the machines.
        key_folder: where a new private key is kept.
        poll: seconds between two looks at something that AWS is working on.
        patience: seconds that AWS is given for any one thing.
        tls_only: whether buckets and queues refuse plain HTTP; the embedded AWS speaks nothing else.
        point_in_time_recovery: whether the table can be restored to any second of the last 35 days.
        token: this run's mark, in names and tags.
        found: what this run has found or made, by the key of the resource.
        made: the keys of what this run made.
        looked_up: what AWS said about things that do not change during a run.
    """

    clients: Callable[[str], Any]
    config: Config
    account: str
    partition: str
    clock: Clock
    installer: Installer
    operator_address: Callable[[], str]
    key_folder: Path
    poll: float = 5.0
    patience: float = 600.0
    tls_only: bool = True
    point_in_time_recovery: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    found: dict[str, Found] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    looked_up: dict[Any, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        return self.clients(service)

    def name(self, what: str) -> str:
        """A name that no other run gives: creating it can never take over what stands already."""
        return f"{self.config.name}-{what}-{self.token}"

    def prefix(self, what: str) -> str:
        """What :meth:`name` begins with, in every run."""
        return f"{self.config.name}-{what}-"

    def tags(self, role: str) -> dict[str, str]:
        """The tags of a resource that this run makes."""
        return {DEPLOYMENT_TAG: self.config.name, ROLE_TAG: role, RUN_TAG: self.token}

    def tag_list(self, role: str, **more: str) -> list[dict[str, str]]:
        """The same, as most services want them."""
        return [{"Key": key, "Value": value} for key, value in {**self.tags(role), **more}.items()]

    def tag_filters(self, role: str) -> list[dict[str, Any]]:
        """Filters of EC2 that find the deployment's resources of a role."""
        wanted = {DEPLOYMENT_TAG: self.config.name, ROLE_TAG: role}
        return [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]

    def owns(self, tags: Mapping[str, str], role: str) -> bool:
        """Whether tags say that a resource is this deployment's, in this role."""
        return tags.get(DEPLOYMENT_TAG) == self.config.name and tags.get(ROLE_TAG) == role

    def arn(self, service: str, name: str) -> str:
        """ARN of a resource of this account in this region."""
        return f"arn:{self.partition}:{service}:{self.config.region}:{self.account}:{name}"

    def get(self, key: str) -> Found:
        """A resource that comes earlier in the list; raises ``NotMadeYet`` while a plan is made without it."""
        if key not in self.found:
            raise NotMadeYet(key)
        return self.found[key]

    def id(self, key: str) -> str:
        """The id of a resource that comes earlier in the list."""
        return self.get(key).id

    def once(self, question: Any, ask: Callable[[], Any]) -> Any:
        """The answer to a question that is asked once in a run."""
        if question not in self.looked_up:
            self.looked_up[question] = ask()
        return self.looked_up[question]

    def wait(self, service: str, waiter: str, what: str, **arguments: Any) -> None:
        """Waits with one of botocore's waiters.

        Raises:
            TimedOut: AWS took longer than ``patience``.
            CloudError: what is waited for failed.
        """
        looks = max(1, int(self.patience / self.poll)) if self.poll else 1000
        try:
            self.client(service).get_waiter(waiter).wait(
                **arguments, WaiterConfig={"Delay": self.poll, "MaxAttempts": looks}
            )
        except WaiterError as error:
            if "Max attempts exceeded" in str(error):
                raise TimedOut(f"{what}: AWS was not ready within {self.patience:.0f} s") from error
            raise CloudError(f"{what}: {error}") from error

    def insist(self, what: str, call: Callable[[], Any], *, while_: Callable[[ClientError], bool]) -> Any:
        """Repeats a call that AWS refuses because something else has not settled yet.

        Parameters:
            while_: whether a refusal is of that kind; any other is raised at once.

        Raises:
            TimedOut: it was still refused after ``patience``.
        """
        deadline = self.clock.monotonic() + self.patience
        while True:
            try:
                return call()
            except ClientError as error:
                if not while_(error):
                    raise
                if self.clock.monotonic() >= deadline:
                    raise TimedOut(f"{what}: still refused after {self.patience:.0f} s: {error}") from error
            self.clock.sleep(self.poll)


def tag_dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags as most services give them, as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def checked_range(text: str, where: str) -> str:
    """A network range for SSH in its usual form, such as ``203.0.113.7/32``; raises ``CloudError``."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise CloudError(f"{where}: {text.strip()[:60]!r} is not an address or network range") from None
