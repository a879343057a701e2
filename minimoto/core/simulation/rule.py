"""The rule that production runs, as a rule of the simulation: the same functions, in the watchdog's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minimoto.core.fleet import Drain, Policy, Terminate, decide, next_look
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_memory import Memory, decided, launched, learn
from minimoto.core.fleet_view import View
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

    def step(self, view: View, now: float) -> Orders:
        """One pass."""
        memory, view = learn(self._memory, view, self._limits, now)
        decision = decide(view, self._policy, now)
        self.every = next_look(view, decision, self._limits)
        self._memory = decided(memory, view, decision, now)
        ends = [action for action in decision.actions if isinstance(action, Terminate)]
        return Orders(
            launch=decision.launches,
            drain=[action.node for action in decision.actions if isinstance(action, Drain)],
            terminate=[end.node for end in ends],
            dead=frozenset(end.node for end in ends if end.dead),
        )

    def launched(self, ids: Sequence[str], now: float) -> None:
        """Notes the nodes of the launch."""
        self._memory = launched(self._memory, ids, now)
