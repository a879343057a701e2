"""One pass of the watchdog, from its lease to its record; and the loop."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from minimoto.core.fleet import Action, Bound, Decision, Detach, Drain, Keep, Launch, Terminate, decide, next_look
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_memory import Memory, learn
from minimoto.core.fleet_recall import load
from minimoto.core.fleet_view import View
from minimoto.core.group import JOBS, published
from minimoto.core.job import JobState
from minimoto.core.policies import choose
from minimoto.core.policies.demand import held_by_budget, measure
from minimoto.errors import CloudError
from minimoto.watchdog.act import MEMORY, Acted, act, save
from minimoto.watchdog.dead_letters import clear_dead
from minimoto.watchdog.fleet_history import size
from minimoto.watchdog.gone import clear_gone
from minimoto.watchdog.observe import Observation, limits_of, observe, with_pools
from minimoto.watchdog.owners import end_overspent, tell_limits, with_budgets
from minimoto.watchdog.problems import Problems
from minimoto.watchdog.repair import Repairs, close_ended, expire_uploads, find_lost, send_unsent

if TYPE_CHECKING:
    from minimoto.core.job import Job
    from minimoto.wiring import Cloud

HEALTHY_NODES = "NumHealthyNodes"
"""Nodes that report and are capacity; setup's alarm for a fleet without one watches it."""

KINDS: dict[type[Action], str] = {
    Launch: "launch",
    Drain: "drain",
    Terminate: "terminate",
    Bound: "bound",
    Keep: "keep",
    Detach: "detach",
}

COUNTED = frozenset({JobState.READY_TO_PROCESS, JobState.BEING_PROCESSED})

NEWEST = "newest"
"""The name under which the newest pass is stored in the ledger, whether or not it changed anything."""

LEAST_LEASE = 30.0
RECORD_EVERY = 600.0
"""A decision that changes nothing is written to the log so seldom, as long as the rule behind it stays the same."""


@dataclass(frozen=True)
class Resize:
    """A size set by hand; ``None`` gives it back to the policy."""

    size: int | None


@dataclass(frozen=True)
class Pass:
    """What a pass saw, decided and did."""

    at: float
    view: View
    decision: Decision
    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    dead_letters: int = 0

    def document(self) -> dict[str, Any]:
        """For the log, ``--explain`` and ``--json``."""
        return {
            "at": self.at,
            "rule": self.decision.rule,
            "reason": self.decision.reason,
            "inputs": dict(self.decision.inputs),
            "actions": [_action(action) for action in self.decision.actions],
            "done": list(self.done),
            "problems": list(self.problems),
            "dead_letters": self.dead_letters,
            "paces": {step: dict(types) for step, types in self.view.paces.items()},
        }


@dataclass(frozen=True)
class Watchdog:
    """Makes passes. ``owner`` is who holds the lease of a pass."""

    cloud: Cloud
    price: float | None = None
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")

    def run_pass(self, resize: Resize | None = None) -> Pass | None:
        """Looks, decides, acts, repairs, publishes and records.

        Parameters:
            resize: a size set by hand, kept from now on.

        Returns:
            What happened; ``None`` when another watchdog is at it.

        Raises:
            CloudError: the ledger does not answer, or nothing at all can be seen: nothing was done.
            ConfigError: the settings contradict each other.
        """
        limits = limits_of(self.cloud.config, self.cloud.clock.now())
        choose(self.cloud.config.policy, limits)
        lease = max(LEAST_LEASE, 2 * self.cloud.config.watchdog_every)
        began = self.cloud.clock.monotonic()
        if not self.cloud.ledger.begin_pass(self.owner, self.cloud.clock.now(), lease):
            return None
        problems = Problems()
        try:
            return self._pass(limits, problems, resize, lambda: self.cloud.clock.monotonic() - began < lease)
        finally:
            # A lease that cannot be given back ends by itself.
            problems.did(lambda: self.cloud.ledger.end_pass(self.owner))

    def loop(
        self,
        every: float | None,
        stop: threading.Event,
        tell: Callable[[Pass | CloudError | None], None],
        renewed: Callable[[], Watchdog | None] = lambda: None,
    ) -> None:
        """Makes passes until ``stop`` is set, sooner than asked for while the fleet winds down.

        Parameters:
            every: seconds from start to start; ``None``: as the settings say.
            renewed: asked before each pass: a watchdog with other settings to go on with, or ``None``.
        """
        watchdog = self
        while not stop.is_set():
            watchdog = renewed() or watchdog
            pace = every or watchdog.cloud.config.watchdog_every
            began, wait = self.cloud.clock.monotonic(), pace
            try:
                seen = watchdog.run_pass()
                tell(seen)
                wait = pace if seen is None else next_look(seen.view, seen.decision, watchdog._limits(pace))
            except CloudError as error:
                tell(error)
            stop.wait(max(0.0, wait - (self.cloud.clock.monotonic() - began)))

    def _limits(self, every: float) -> Limits:
        return replace(limits_of(self.cloud.config, self.cloud.clock.now()), pass_seconds=every)

    def _pass(self, limits: Limits, problems: Problems, resize: Resize | None, in_time: Callable[[], bool]) -> Pass:
        before = self._recall(problems)
        if resize is not None:
            before = replace(before, scale_to=resize.size)
        seen = observe(self.cloud, problems, self.price)
        if seen.blind:
            raise CloudError(f"nothing can be seen, so nothing was done: {problems.lines[0]}")
        now = self.cloud.clock.now()
        memory, view = learn(before, seen.view, limits, now)
        view = with_pools(self.cloud, with_budgets(self.cloud, view, seen.jobs or (), problems), problems)
        if memory.scale_to is not None:
            # The hours of the day have no say then.
            limits = replace(limits, warm="")
        decision = decide(view, choose(self.cloud.config.policy, limits, memory.scale_to), now)
        acted = act(self.cloud, view, decision, memory, limits, problems, in_time)
        memory, done = acted.memory, acted.done
        if seen.jobs is not None:
            memory, repaired = self._repair(seen, before, acted, limits, problems)
            done = (*done, *self._tell(seen.jobs, view, decision, acted, limits, problems))
            done = (*done, *repaired)
        self._publish(seen, view, limits, problems)
        told = Pass(now, view, decision, done, tuple(problems.lines), len(memory.dead_letters))
        if in_time():
            memory = self._record(told, memory, problems)
            save(self.cloud, memory, problems)
        return replace(told, problems=tuple(problems.lines))

    def _recall(self, problems: Problems) -> Memory:
        try:
            memory = load(self.cloud.ledger.recall(MEMORY))
        except ValueError as error:
            problems.note(f"{error}: it begins anew")
            memory = Memory()
        # Random once for each deployment: an earlier one of the same name may have used the same numbers.
        return memory if memory.nonce else replace(memory, nonce=secrets.token_hex(6))

    def _repair(
        self, seen: Observation, before: Memory, acted: Acted, limits: Limits, problems: Problems
    ) -> tuple[Memory, tuple[str, ...]]:
        repairs = Repairs(self.cloud, problems, seen.jobs or (), self.cloud.clock.now())
        clear_gone(repairs, seen, before, acted.memory, acted.dead, limits.strike_seconds)
        memory = clear_dead(repairs, acted.memory)
        expire_uploads(repairs)
        close_ended(repairs)
        send_unsent(repairs)
        memory = find_lost(repairs, seen.view, memory, limits.strike_seconds)
        return memory, tuple(repairs.done)

    def _tell(
        self, jobs: Sequence[Job], view: View, decision: Decision, acted: Acted, limits: Limits, problems: Problems
    ) -> tuple[str, ...]:
        """Ends jobs whose budget is spent, and tells the owners of the others what keeps machines from them."""
        now = self.cloud.clock.now()
        repairs = Repairs(self.cloud, problems, tuple(jobs), now)
        end_overspent(repairs, view)
        held = held_by_budget(view, limits, now) if self.cloud.config.policy == "target" else {}
        tell_limits(repairs, acted.starved or decision.told, held)
        return tuple(repairs.done)

    def _publish(self, seen: Observation, view: View, limits: Limits, problems: Problems) -> None:
        """What could not be seen is not published: a missing datapoint is no zero."""
        now = self.cloud.clock.now()
        if view.nodes is not None and view.reports_known:
            healthy = float(sum(node.reported for node in view.counted))
            problems.did(lambda: self.cloud.metrics.publish(HEALTHY_NODES, healthy, now))
        jobs = None if seen.jobs is None else sum(job.state in COUNTED for job in seen.jobs)
        for (name, group), value in _metrics(view, jobs, limits, now).items():
            problems.did(partial(self.cloud.metrics.publish, name, value, now, group))

    def _record(self, told: Pass, memory: Memory, problems: Problems) -> Memory:
        """Keeps the newest pass for ``--explain``; what changed something, or has a new rule or size, is logged."""
        text = json.dumps(told.document(), separators=(",", ":"))
        problems.did(lambda: self.cloud.ledger.remember(NEWEST, text))
        # A group, and whoever takes spot machines back, changes the fleet without any doing of ours.
        rule = f"{told.decision.rule} {size(told.decision.inputs)}"
        quiet = not (told.decision.actions or told.done or told.problems) and memory.recorded == rule
        if quiet and told.at - memory.recorded_at < RECORD_EVERY:
            return memory
        if not problems.did(lambda: self.cloud.ledger.record(told.at, text)):
            return memory
        return replace(memory, recorded=rule, recorded_at=told.at)


def _metrics(view: View, jobs: int | None, limits: Limits, now: float) -> dict[tuple[str, str], float]:
    """What is published of the work: for people, and for the alarms of a group."""
    if jobs is None:
        return {}
    demand = measure(view, limits, now)
    if view.group is None or demand is None:
        # Without its alarms' own metrics a group moves neither way.
        return {} if view.grouped else {(JOBS, ""): float(jobs)}
    return published(view.group, jobs, demand.tasks, demand.work, demand.slots)


def _action(action: Action) -> dict[str, Any]:
    return {"do": KINDS[type(action)], **asdict(action)}
