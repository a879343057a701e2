"""The seams: small Protocols between the core and the world. Implemented by ``minimoto.memory`` and ``minimoto.aws``.

Every call that leaves the process may raise :class:`minimoto.errors.CloudError`, after the implementation's own
retries. Times are seconds since the epoch; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from minimoto.core.group import Group
from minimoto.core.job import Job, Location
from minimoto.core.markets import Pool
from minimoto.core.node import NodeReport
from minimoto.core.task import Claim, Task, TaskKey, TaskResult


class Clock(Protocol):
    """Time, passed in, so that tests need not wait."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


@dataclass(frozen=True)
class Message:
    """A message as received. ``received`` counts deliveries, this one included."""

    id: str
    body: str
    receipt: str
    received: int = 1
    sent: float = 0.0


@dataclass(frozen=True)
class QueueCounts:
    """Approximate counts, as SQS gives them; ``oldest`` is the age of the oldest visible message, if known."""

    visible: int
    in_flight: int
    delayed: int = 0
    oldest: float | None = None


class Queue(Protocol):
    """At-least-once delivery with a visibility timeout."""

    def send(self, bodies: Sequence[str], delay: float = 0.0, owner: str = "") -> None:
        """Sends messages in batches of ten; raises unless every one was taken.

        Parameters:
            owner: whose they are: of several owners, those with less in flight are served first.
        """

    def receive(self, limit: int = 1, wait: float = 0.0, visibility: float | None = None) -> list[Message]:
        """Up to ``limit`` (1..10) messages, waiting up to ``wait`` (0..20 s) for the first."""

    def extend(self, receipt: str, seconds: float) -> bool:
        """Hides a received message for ``seconds`` from now (0: give it back at once); ``False`` if it is gone."""

    def delete(self, receipts: Sequence[str]) -> None:
        """Deletes received messages, in batches of ten; those already gone are no error."""

    def bury(self, message: Message, reason: str) -> None:
        """Moves a message to the dead-letter queue with the reason as its attribute ``reason``."""

    def dead(self, limit: int = 100) -> list[tuple[Message, str]]:
        """Messages of the dead-letter queue with their reason (empty: received too often); hides them for a while."""

    def forget_dead(self, receipts: Sequence[str]) -> None:
        """Deletes messages from the dead-letter queue."""

    def counts(self) -> QueueCounts:
        """How many messages there are."""


@dataclass(frozen=True)
class StoredObject:
    """An object in a bucket. ``sha256`` is the hexadecimal digest kept at upload, or empty."""

    location: Location
    size: int
    modified: float = 0.0
    sha256: str = ""


Transferred = Callable[[int], None]
"""Called with the number of bytes moved since the last call, from any thread."""


class Store(Protocol):
    """Buckets. Every location is checked against the deployment's own buckets: ``CloudError`` for another's."""

    def upload(self, path: Path, to: Location, sha256: str = "", moved: Transferred | None = None) -> None:
        """Puts a file, in parts where it is large; atomic: readers see all of it or nothing."""

    def download(self, source: Location, path: Path, moved: Transferred | None = None) -> None:
        """Gets an object into a file; raises ``NotFound``."""

    def copy(self, source: Location, to: Location) -> None:
        """Copies an object of up to 5 GB within the deployment's buckets; raises ``NotFound``."""

    def write(self, to: Location, data: bytes) -> None:
        """Puts a small object."""

    def read(self, source: Location, limit: int = 16_000_000) -> bytes:
        """Gets a small object; raises ``NotFound``, and ``CloudError`` when it is larger than ``limit`` bytes."""

    def stat(self, location: Location) -> StoredObject | None:
        """Size and digest of an object, or ``None``."""

    def list(self, prefix: Location) -> Iterable[StoredObject]:
        """Objects below a prefix, ordered by key; digests are left empty."""

    def remove(self, prefix: Location) -> int:
        """Deletes every object below a prefix that ends in ``/``; returns how many."""

    def check(self, bucket: str) -> None:
        """Raises ``NotFound`` or ``CloudError`` with one clear line unless the bucket can be used."""


class Jobs(Protocol):
    """Documents of jobs and records of tasks, each write guarded by what it expects to find."""

    def create(self, job: Job) -> Job:
        """Writes a new document as version 1; raises ``Conflict`` if the id is taken."""

    def get(self, job: str) -> Job:
        """Reads a document, consistently; raises ``NotFound``."""

    def save(self, job: Job) -> Job:
        """Replaces the document if its version is still ``job.version``, and returns it with the next version.

        Raises ``Conflict`` when somebody else wrote it meanwhile.
        """

    def live(self) -> list[Job]:
        """Every job that has not ended."""

    def unclosed(self) -> list[Job]:
        """The jobs that have ended and are not closed, oldest first."""

    def recent(self, limit: int = 50, owner: str = "") -> list[Job]:
        """The newest jobs, newest first."""

    def claim(self, key: TaskKey, owner: str, now: float, lease: float) -> Claim:
        """Takes a task's lease by the rule of :func:`minimoto.core.task.try_claim`, atomically."""

    def renew(self, key: TaskKey, owner: str, now: float, lease: float, progress: float, note: str) -> None:
        """Prolongs the lease; raises ``LeaseLost`` if it is no longer ours."""

    def finish(self, key: TaskKey, owner: str, now: float, seconds: float, result: TaskResult) -> Task:
        """Marks the task done; raises ``LeaseLost`` if it is no longer ours."""

    def fail(self, key: TaskKey, owner: str, now: float, reason: str, again: bool) -> Task:
        """Ends our try as failed: the task is pending again, or failed for good; raises ``LeaseLost``."""

    def release(self, key: TaskKey, owner: str, now: float, reason: str) -> None:
        """Gives the lease back without counting the try (an interruption); nothing if it is not ours."""

    def break_lease(self, key: TaskKey, owner: str, now: float, reason: str) -> bool:
        """Ends the lease of a dead worker, the try counted; ``False`` if ``owner`` no longer holds it."""

    def task(self, key: TaskKey) -> Task:
        """The record of a task, a fresh one if nobody has claimed it."""

    def tasks(self, job: str, stage: int) -> list[Task]:
        """The records of a stage's tasks that have been claimed, in order."""


class Nodes(Protocol):
    """Heartbeats of the fleet."""

    def beat(self, report: NodeReport) -> None:
        """Stores the last heartbeat of a slot."""

    def reports(self) -> list[NodeReport]:
        """The last heartbeat of every slot."""

    def forget(self, node: str) -> None:
        """Drops the reports of a node that is gone, and its drain request."""

    def request_drain(self, node: str, reason: str) -> None:
        """Asks the services of a node to finish what they hold and take nothing more."""

    def drain_requested(self, node: str) -> str:
        """The reason of the drain request, or empty."""


class Ledger(Protocol):
    """What the watchdog remembers between passes."""

    def begin_pass(self, owner: str, now: float, lease: float) -> bool:
        """Takes the lease that guards a pass; ``False`` while another watchdog holds it."""

    def end_pass(self, owner: str) -> None:
        """Gives that lease back."""

    def recall(self, name: str) -> str:
        """A small text stored under a name, or empty (strikes, last scale-out, …; JSON)."""

    def remember(self, name: str, text: str) -> None:
        """Stores it."""

    def record(self, at: float, decision: str) -> None:
        """Appends a decision (JSON with inputs, actions and reason) to the log; kept for 30 days."""

    def decisions(self, since: float, limit: int = 100) -> list[tuple[float, str]]:
        """Decisions at or after ``since``, newest first."""


@dataclass(frozen=True)
class Instance:
    """A machine as the provider sees it.

    Parameters:
        state: pending, running, shutting-down, terminated, stopping or stopped.
        healthy: both status checks; ``None`` while unknown.
        market: ``spot`` or ``on-demand``.
        grouped: whether it belongs to an Auto Scaling group.
    """

    id: str
    role: str
    state: str
    launched: float
    healthy: bool | None = None
    type: str = ""
    market: str = "on-demand"
    zone: str = ""
    address: str = ""
    launch_token: str = ""
    grouped: bool = False


@dataclass(frozen=True)
class Launched:
    """What came of a launch.

    Parameters:
        machines: those that were started under its token and are not terminated, with where they were had.
        refused: where none could be had, with the provider's code.
        trouble: why there is none where no other pool would help, such as a missing permission; empty: nothing.
    """

    machines: Mapping[str, Pool]
    refused: Mapping[Pool, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def ids(self) -> list[str]:
        """The machines' ids."""
        return list(self.machines)


class Fleet(Protocol):
    """The machines of this deployment; those of others are never returned nor touched."""

    def instances(self, role: str = "service") -> list[Instance]:
        """Machines of a role that are not terminated, oldest first."""

    def pools(self, now: float) -> list[Pool]:
        """Where machines may be asked for by the settings, with today's prices."""

    def launch(self, count: int, token: str, pools: Sequence[Pool] = ()) -> Launched:
        """Starts service machines from the launch template: as many as can be had. A token launches nothing twice.

        Parameters:
            pools: where to ask, the best first; left out, as the settings name them.
        """

    def terminate(self, ids: Sequence[str]) -> None:
        """Terminates service machines of this deployment; raises ``CloudError`` for any other id."""


class ScalingGroup(Protocol):
    """The Auto Scaling group of a deployment whose policy is ``asg``; no other is ever touched."""

    def look(self) -> Group:
        """The group as it is now; raises ``NotFound`` if there is none."""

    def bound(self, least: int, most: int) -> None:
        """Gives it other bounds: it wants at least and at most so many machines from now on."""

    def replace(self, node: str) -> None:
        """Ends a machine at once, protected or not, waits for no hook, and has another started in its place."""

    def detach(self, node: str, smaller: bool) -> None:
        """Takes a machine in service out of the group; it goes on running.

        Parameters:
            smaller: the group wants one machine less; else it starts another in its place.
        """

    def protect(self, node: str, busy: bool) -> None:
        """Says whether the group may choose this machine when it shrinks."""

    def extend(self, node: str) -> None:
        """Has the group wait longer for a machine that it is about to end."""

    def release(self, node: str) -> None:
        """Tells the group that a machine which it is about to end holds nothing any more; nothing if it knows."""


class Metrics(Protocol):
    """CloudWatch."""

    def cpu(self, ids: Sequence[str], now: float) -> dict[str, float | None]:
        """CPU utilisation of the last minutes in percent for each id; ``None`` without a datapoint."""

    def publish(self, name: str, value: float, now: float, group: str = "") -> None:
        """Publishes a datapoint in the namespace ``DeepStyleQueue`` with this deployment as its dimension.

        Parameters:
            group: a second dimension's value, ``Group``; empty: there is none.
        """


class Topic(Protocol):
    """Where the ends of jobs are announced."""

    def announce(self, subject: str, message: str) -> None:
        """Publishes to the deployment's SNS topic."""
