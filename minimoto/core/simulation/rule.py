"""The rule that production runs, as a rule of the simulation: the same functions, in the watchdog's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from minimoto.core.fleet import Decision, Drain, Launch, Policy, Terminate, decide, next_look
from minimoto.core.fleet_asking import asked
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_memory import Memory, decided, launched, learn, refused
from minimoto.core.fleet_view import View
from minimoto.core.markets import Pool, served
from minimoto.core.markets import refused as learnt
from minimoto.core.simulation.events import Orders


class Production:
    """A watchdog without a cloud.

    Parameters:
        policy: one of :data:`minimoto.core.policies.POLICIES`.
    """

    by_metrics = False
    """It asks SQS; what it knows from CloudWatch, CPU and the oldest message's age, is late in every view."""

    def __init__(self, name: str, policy: Callable[[Limits], Policy], limits: Limits) -> None:
        self.name, self.every = name, limits.pass_seconds
        self._policy, self._limits = policy(limits), limits
        self._memory = Memory(nonce="simulated")
        self._asked: tuple[Pool, ...] = ()

    def step(self, view: View, now: float) -> Orders:
        """One pass."""
        memory, view = learn(self._memory, view, self._limits, now)
        decision = decide(view, self._policy, now)
        self.every = next_look(view, decision, self._limits)
        launch = self._where(decision, view, memory, now)
        kept = tuple(action for action in decision.actions if not isinstance(action, Launch))
        carried = replace(decision, actions=(*kept, *([launch] if launch else [])))
        self._memory = decided(memory, view, carried, now)
        ends = [action for action in kept if isinstance(action, Terminate)]
        drains = [action for action in kept if isinstance(action, Drain)]
        return Orders(
            launch=carried.launches,
            offers=[pool.type for pool in self._asked],
            swap=bool(launch and launch.instead_of),
            drain=[drain.node for drain in drains],
            replaced=frozenset(drain.node for drain in drains if drain.replaced_by),
            terminate=[end.node for end in ends],
            dead=frozenset(end.node for end in ends if end.dead),
        )

    def _where(self, decision: Decision, view: View, memory: Memory, now: float) -> Launch | None:
        """The launch with the pools that are asked for it; ``None``: all that there is has just refused."""
        launch = next((action for action in decision.actions if isinstance(action, Launch)), None)
        self._asked = asked(launch, view, view.pools, memory.markets, self._limits, now) if launch else ()
        return replace(launch, pools=self._asked) if launch and self._asked else None

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:
        """Notes the nodes of the launch, and what refused on the way to them."""
        dry, gave = self._asked[: len(refusing)], self._asked[len(refusing) :][:1]
        markets = served(learnt(self._memory.markets, dict.fromkeys(dry, "refused"), now), gave)
        memory = replace(self._memory, markets=markets)
        self._memory = launched(memory, ids, now) if ids else refused(memory)
