"""A workload under a rule: ``simulate(workload, rule, target) -> Outcome``. Pure and seeded; no machine is rented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from minimoto.core.fleet_limits import Limits
from minimoto.core.policies import POLICIES
from minimoto.core.simulation.events import Rule, Simulation
from minimoto.core.simulation.outcome import Outcome, outcome
from minimoto.core.simulation.rivals import Buildkite, CellProfiler, Keda, Runners, SkyPilot, TargetTracking
from minimoto.core.simulation.rule import Production
from minimoto.core.simulation.workload import WORKLOADS, Workload

__all__ = ["RULES", "WORKLOADS", "Outcome", "Simulation", "Workload", "outcome", "production", "simulate"]


def simulate(workload: Workload, rule: Rule, target: float, seed: int = 0) -> Outcome:
    """Runs a workload to its end.

    Parameters:
        target: seconds within which jobs without a deadline shall be done; only misses are counted by it.
        seed: of boots, interruptions, crashes and delays; the same for every rule.
    """
    return outcome(workload, Simulation(workload, rule, seed).run(), target)


def production(policy: str, limits: Limits) -> Production:
    """The rule that the watchdog runs, by its name in ``configure.ini``."""
    return Production(policy, POLICIES[policy], limits)


def _classic(limits: Limits) -> Rule:
    return production("classic", replace(limits, pass_seconds=60.0))


RULES: dict[str, Callable[[Limits], Rule]] = {
    "target": lambda limits: production("target", limits),
    "classic": _classic,
    "keda": lambda limits: Keda(most=limits.max_nodes),
    "tracking": lambda limits: TargetTracking(most=limits.max_nodes, latency=limits.target_seconds),
    "buildkite": lambda limits: Buildkite(most=limits.max_nodes),
    "runners": lambda limits: Runners(most=limits.max_nodes),
    "cellprofiler": lambda limits: CellProfiler(most=limits.max_nodes),
    "skypilot": lambda limits: SkyPilot(most=limits.max_nodes),
}
"""minimoto's rule, its first one, and those of others, by the names that ``minimoto simulate`` knows them by."""
