"""An Auto Scaling group as it is seen, and what is published for its alarms. Pure.

The group sizes itself (``[FLEET] policy = asg``): CloudWatch's alarms look at the metrics below, which the watchdog
publishes with every pass, and execute the group's scaling policies.
"""

from __future__ import annotations

from dataclasses import dataclass

POLICY = "asg"
"""What ``[FLEET] policy`` says where there is a group."""

JOBS = "NumJobsReadyOrBeingProcessed"
"""Jobs that are ready or being processed. The alarm *rest* watches it: without jobs the group shrinks to its least."""

NO_NODE = "empty"
"""The same metric for a group that wants no node, 0 for one that does: the alarm *wake* starts the first by it. A
backlog per node says nothing where there is no node, and a step per look at the plain metric would never stop."""

BACKLOG = "BacklogPerNode"
"""Seconds of work that wait for each node; the target-tracking policy keeps it at ``target_seconds``. AWS's own advice
is messages per node, held at the acceptable wait over the time of a task: the same inequality, but its target would
have to be written down before the first task has shown how long tasks take."""

IN_SERVICE = ("Pending", "InService")
ENDING = ("Terminating", "Terminated")


@dataclass(frozen=True)
class Member:
    """A machine of the group.

    Parameters:
        state: its lifecycle state, such as ``InService`` or ``Terminating:Wait``.
        protected: whether the group may not choose it when it shrinks.
    """

    id: str
    state: str = "InService"
    protected: bool = False

    @property
    def stays(self) -> bool:
        """Whether it is, or soon will be, one of those that the group wants."""
        return self.state.startswith(IN_SERVICE)

    @property
    def ending(self) -> bool:
        """Whether the group ends it."""
        return self.state.startswith(ENDING)


@dataclass(frozen=True)
class Group:
    """A group as AWS describes it.

    Parameters:
        least, most: its bounds.
        desired: how many machines it wants.
        members: those it has, the leaving ones included.
        troubles: why it could not do what it wanted lately, such as no capacity; newest first.
    """

    least: int
    most: int
    desired: int
    members: tuple[Member, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """Its machines."""
        return frozenset(member.id for member in self.members)

    @property
    def detachable(self) -> frozenset[str]:
        """The machines that could be taken out of it: those in service."""
        return frozenset(member.id for member in self.members if member.state == "InService")

    @property
    def staying(self) -> int:
        """How many machines stay."""
        return sum(member.stays for member in self.members)

    @property
    def text(self) -> str:
        """One line for a person."""
        leaving = len(self.members) - self.staying
        gone = f", {leaving} leaving" if leaving else ""
        return f"{self.desired} wanted of {self.least} to {self.most}, {self.staying} there{gone}"


def published(group: Group, jobs: int, tasks: int, work: float, slots: int) -> dict[tuple[str, str], float]:
    """The metrics of a pass, by their name and the value of the dimension ``Group`` (empty: without it).

    Parameters:
        jobs: that are ready or being processed.
        tasks: that wait or are worked on; a message of the older form is one before it is a job.
        work: seconds of one slot that they take.
        slots: workers on a node.
    """
    waiting = float(max(jobs, min(1, tasks)))
    found = {(JOBS, ""): waiting, (JOBS, NO_NODE): 0.0 if group.desired else waiting}
    if group.staying:
        found[BACKLOG, ""] = work / max(1, slots) / group.staying
    return found
