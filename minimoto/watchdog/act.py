"""Carries a decision out: the group's bounds, ends, drains, then the launch.

What a launch is known by is written down before the call and cleared after it; the fleet starts nothing twice under one
token. So a crash between any two lines, or a second watchdog with the same memory, starts no node twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minimoto.core.fleet import Bound, Decision, Detach, Drain, Keep, Launch, Terminate
from minimoto.core.fleet_asking import asked
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_memory import Memory, decided, launched, may_launch, refused
from minimoto.core.fleet_recall import dump
from minimoto.core.fleet_view import View
from minimoto.core.markets import Pool, paused_text, refusals_text, served
from minimoto.core.markets import refused as learnt
from minimoto.core.readable import counted
from minimoto.core.swaps import BACK_TO_SPOT
from minimoto.watchdog.problems import Problems

if TYPE_CHECKING:
    from minimoto.ports import Launched
    from minimoto.wiring import Cloud

MEMORY = "watchdog"
"""The memory's name in the ledger."""

STARVED = "AWS has no machine of these types to give just now; it is asked again"


@dataclass(frozen=True)
class Acted:
    """What the watchdog now remembers.

    Parameters:
        done: what was done, for people.
        dead: the nodes that were ended as dead.
        starved: that no machine could be had, for the owners of jobs; empty: those that were wanted could be.
    """

    memory: Memory
    done: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    starved: str = ""


def save(cloud: Cloud, memory: Memory, problems: Problems) -> bool:
    """Writes the watchdog's memory; ``False`` if it could not be written."""
    return problems.did(lambda: cloud.ledger.remember(MEMORY, dump(memory)))


def act(
    cloud: Cloud,
    view: View,
    decision: Decision,
    memory: Memory,
    limits: Limits,
    problems: Problems,
    in_time: Callable[[], bool],
) -> Acted:
    """Carries a decision out; what AWS refuses is noted and left to the next pass.

    Parameters:
        in_time: whether this pass still holds its lease; asked before anything is started or ended.
    """
    acting = _Acting(cloud, view, decision, limits, problems)
    if not in_time():
        problems.note("this pass took too long and no longer holds its lease: nothing is started or ended")
        return Acted(memory)
    acting.regroup()
    ended = acting.terminate()
    keeps = tuple(action for action in decision.actions if isinstance(action, Keep))
    acting.done += [f"kept {keep.node}: {keep.reason}" for keep in keeps]
    drains = tuple(action for action in decision.actions if isinstance(action, Drain))
    now = cloud.clock.now()
    launch = acting.launch(memory, ended, now)
    pools = acting.where(launch, memory, now) if launch else None
    launch = replace(launch, pools=pools) if launch and pools is not None else None
    carried = replace(decision, actions=(*ended, *keeps, *drains, *([launch] if launch else [])))
    memory = decided(memory, view, carried, now)
    if save(cloud, memory, problems):
        acting.drain(drains, memory)
        if launch and in_time():
            memory = acting.start(launch, launch.pools, memory)
            save(cloud, memory, problems)
    dead = tuple(action.node for action in ended if action.dead)
    return Acted(memory, tuple(acting.done), dead, STARVED if acting.starved else "")


@dataclass
class _Acting:
    cloud: Cloud
    view: View
    decision: Decision
    limits: Limits
    problems: Problems
    done: list[str] = field(default_factory=list)
    starved: bool = False

    def regroup(self) -> None:
        """Takes what is kept out of the group, then moves its bounds, before what it replaces could pass them.

        Bounds leave no room for what is kept: while that is still in the group, they would make it end some machine.
        """
        for action in self.decision.actions:
            if isinstance(action, Detach):
                if not self._detached(action):
                    return
                instead = "no other takes its place" if action.smaller else "another takes its place"
                self.done.append(f"took {action.node} out of the group: {instead}")
        for action in self.decision.actions:
            if isinstance(action, Bound) and self._bounded(action):
                self.done.append(f"the group has {action.least} to {counted(action.most, 'node')} from now on")

    def _bounded(self, action: Bound) -> bool:
        return self.problems.did(lambda: self.cloud.group.bound(action.least, action.most))

    def _detached(self, action: Detach) -> bool:
        return self.problems.did(lambda: self.cloud.group.detach(action.node, action.smaller))

    def terminate(self) -> tuple[Terminate, ...]:
        """Ends machines one by one, so that one that is refused keeps none of the others alive."""
        ended = []
        for action in self.decision.actions:
            if isinstance(action, Terminate) and self._terminated(action):
                ended.append(action)
                self.done.append(f"terminated {action.node}: {action.reason}")
        return tuple(ended)

    def _terminated(self, action: Terminate) -> bool:
        if self.view.group and action.node in self.view.group.ids:
            return self.problems.did(lambda: self.cloud.group.replace(action.node))
        return self.problems.did(lambda: self.cloud.fleet.terminate([action.node]))

    def drain(self, drains: tuple[Drain, ...], memory: Memory) -> None:
        """Asks nodes to drain; those that were asked before and have not answered are asked again."""
        new = {drain.node for drain in drains}
        deaf = {node.id for node in self.view.nodes or () if node.draining and node.up and not node.leaving}
        for id in sorted(new | deaf):
            if id in memory.draining and self._asked(id, memory.draining[id]) and id in new:
                self.done.append(f"draining {id}: {memory.draining[id]}")

    def _asked(self, id: str, reason: str) -> bool:
        return self.problems.did(lambda: self.cloud.nodes.request_drain(id, reason))

    def launch(self, memory: Memory, ended: tuple[Terminate, ...], now: float) -> Launch | None:
        """The launch that may be tried: less by the machines that should have made room and are still there.

        A launch whose outcome is not known is tried again where it was tried, and in no other place.
        """
        wanted = next((action for action in self.decision.actions if isinstance(action, Launch)), None)
        if wanted is None:
            return None
        doomed = sum(isinstance(action, Terminate) for action in self.decision.actions)
        count = max(0, wanted.count - (doomed - len(ended)))
        allowed = may_launch(memory, count, wanted.instead_of[:count], now)
        if allowed < count:
            waiting = counted(count, "node")
            self.problems.note(f"the outcome of the last launch is not known yet: {allowed} of {waiting} asked for")
        return replace(wanted, count=allowed, instead_of=wanted.instead_of[:allowed]) if allowed else None

    def where(self, launch: Launch, memory: Memory, now: float) -> tuple[Pool, ...] | None:
        """Where to ask, the best first; ``None``: all that there is has just refused. Empty: as the fleet will."""
        first = memory.pending
        if first is not None and first.is_try_of(launch):
            return first.pools
        nowhere: list[Pool] = []
        pools = list(self.view.pools) or self.problems.attempt(lambda: self.cloud.fleet.pools(now), nowhere)
        best = asked(launch, self.view, pools, memory.markets, self.limits, now)
        if launch.instead_of:
            # The fleet's own order, where it is given none, ends on demand.
            return best or None
        if pools and not best:
            self.problems.note(paused_text(pools, memory.markets, now))
            self.starved = True
            return None
        return best

    def start(self, launch: Launch, pools: tuple[Pool, ...], memory: Memory) -> Memory:
        """Starts nodes. Where that fails the token stays: whatever was started under it will be found by it."""
        new = self.problems.attempt(lambda: self.cloud.fleet.launch(launch.count, launch.token, pools), None)
        if new is None:
            return memory
        now = self.cloud.clock.now()
        markets = served(learnt(memory.markets, new.refused, now), new.machines.values())
        memory = replace(memory, markets=markets)
        if new.trouble:
            self.problems.note(new.trouble)
        elif len(new.ids) < launch.count:
            reasons = refusals_text(new.refused)
            had = f"{counted(launch.count, 'node')} asked for, {len(new.ids)} could be had"
            had = f"{BACK_TO_SPOT}: {had}" if launch.instead_of else had
            self.problems.note(f"{had} ({reasons})" if reasons else had)
        if not new.ids:
            # Nobody's work waits for a node that would only be cheaper.
            self.starved = bool(new.refused) and not launch.instead_of
            return refused(memory)
        places = ", ".join(launch.instead_of[: len(new.ids)])
        swap = f" in the place of {places}: {launch.reason}" if places else ""
        self.done.append(f"launched {counted(len(new.ids), 'node')} ({_where(new)}){swap}")
        return launched(memory, new.ids, now)


def _where(new: Launched) -> str:
    """The nodes by the pool that gave them."""
    by_pool: dict[str, list[str]] = {}
    for id, pool in new.machines.items():
        by_pool.setdefault(str(pool), []).append(id)
    return "; ".join(f"{pool}: {', '.join(ids)}" for pool, ids in by_pool.items())
