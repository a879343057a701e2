"""What no policy can pass: the bounds, the day's budget, and the pause after nodes that die at birth."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from minimoto.core.fleet_view import GONE, View
from minimoto.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """The settings of a fleet; durations are seconds. See ``[FLEET]`` in ``configure.ini``.

    Parameters:
        spare_nodes: nodes without work that are there beside those that the work needs.
        spare_share: the same as a share of those that the work needs, where that is more; 0.5: half as many again.
        thrifty: no node is started before it has to be, and several jobs share its boot.
        keep_failed: a node that took itself out is replaced, but stays for a person to look at.
        warm: which hours of the day ask for ``min_nodes``, for a person; empty: none do.

    Raises:
        ConfigError: the bounds contradict each other, or a duration is not positive.
    """

    min_nodes: int = 1
    max_nodes: int = 8
    target_seconds: float = 300.0
    boot_seconds: float = 120.0
    task_seconds: float = 30.0
    cooldown: float = 30.0
    strike_seconds: float = 60.0
    pass_seconds: float = 15.0
    budget_per_day: float = 0.0
    instance_type: str = ""
    spare_nodes: int = 0
    spare_share: float = 0.0
    thrifty: bool = False
    keep_failed: bool = False
    warm: str = ""

    @property
    def always(self) -> int:
        """Nodes that are there whether or not there is work."""
        return max(self.min_nodes, self.spare_nodes)

    def __post_init__(self) -> None:
        if not 0 <= self.min_nodes <= self.max_nodes:
            raise ConfigError(f"[FLEET] min_nodes is {self.min_nodes} and max_nodes {self.max_nodes}: 0 ≤ min ≤ max")
        for name in ("target_seconds", "boot_seconds", "task_seconds", "strike_seconds", "pass_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be more than 0")
        for name in ("cooldown", "budget_per_day", "spare_nodes", "spare_share"):
            if getattr(self, name) < 0:
                raise ConfigError(f"[FLEET] {name} is {getattr(self, name)}: it may not be negative")


@dataclass(frozen=True)
class Granted:
    """What the limits allow.

    Parameters:
        count: new nodes.
        reason: which limit binds, and by how much; empty: none.
        told: the same for the owners of jobs: words that stay the same while it binds.
    """

    count: int
    reason: str = ""
    told: str = ""


def grant(view: View, limits: Limits, wanted: int, now: float) -> Granted:
    """How many of ``wanted`` new nodes the limits allow.

    Every machine that is not on its way out counts against ``max_nodes``: draining and stopped ones as well.
    """
    if wanted <= 0:
        return Granted(0)
    wait = _launch_backoff(view, limits, now)
    if wait > 0:
        reason = f"{view.stillborn} nodes in a row died without a heartbeat: the next launch is tried in {wait:.0f} s"
        return Granted(0, reason, "new machines die before they report: the operator must look at them")
    machines = sum(node.state not in GONE for node in view.nodes or ())
    granted, limited, told = wanted, "", ""
    if limits.max_nodes - machines < granted:
        granted = max(0, limits.max_nodes - machines)
        limited = f"max_nodes is {limits.max_nodes}: {wanted} more wanted, {granted} started"
        told = full_told(limits)
    affordable = _affordable(view, limits)
    if affordable is not None and affordable < granted:
        granted = max(0, affordable)
        limited = f"{budget_text(view, limits)}: {wanted} more wanted, {granted} started"
        told = budget_told(limits)
    return Granted(granted, limited, told)


def _launch_backoff(view: View, limits: Limits, now: float) -> float:
    """Seconds until a launch may be tried after nodes died at birth: a broken image must not launch for ever."""
    if view.stillborn < 2 or view.last_stillborn is None:
        return 0.0
    pause = min(3600.0, limits.boot_seconds * 2.0 ** (view.stillborn - 1))
    return max(0.0, view.last_stillborn + pause - now)


def lost_seconds(view: View, limits: Limits) -> float:
    """Seconds of a node that it costs on average if one is taken back: another's boot, and half a task."""
    boot, each = view.boot_seconds or limits.boot_seconds, view.seconds_per_task or limits.task_seconds
    return boot + each / 2


def _finish_seconds(view: View, limits: Limits) -> float:
    """How long a node still costs from the look that finds the money short: it ends a task, drains, is seen drained."""
    return 2 * (view.seconds_per_task or limits.task_seconds) + 4 * limits.pass_seconds


def budget_is_short(view: View, limits: Limits) -> bool:
    """Whether what is left of the day's budget is just enough for the nodes that run to finish, or was so before."""
    if not limits.budget_per_day:
        return False
    if view.budget_shut:
        return True
    running = sum(node.up for node in view.nodes or ())
    reserve = running * (view.price_per_hour or 0.0) * _finish_seconds(view, limits) / 3600
    return view.spent_today + reserve >= limits.budget_per_day


def _affordable(view: View, limits: Limits) -> int | None:
    """Nodes that may be added so that all of them can boot, work and drain within the day's budget; ``None``: any."""
    if not limits.budget_per_day:
        return None
    if view.price_per_hour is None or view.budget_shut:
        return 0
    boot = view.boot_seconds or limits.boot_seconds
    each = view.price_per_hour * (boot + _finish_seconds(view, limits)) / 3600
    if each <= 0:
        return None
    running = sum(node.up for node in view.nodes or ())
    return floor((limits.budget_per_day - view.spent_today) / each) - running


def full_told(limits: Limits) -> str:
    """That ``max_nodes`` binds, for the owners of jobs."""
    return f"the fleet has as many machines as it may, {limits.max_nodes} ([FLEET] max_nodes)"


def budget_told(limits: Limits) -> str:
    """The same for the owners of jobs."""
    return (
        f"today's budget of the fleet, ${limits.budget_per_day:.2f}, allows no more machines ([FLEET] budget_per_day)"
    )


def budget_text(view: View, limits: Limits) -> str:
    """How the budget stands, or what it lacks, for a person."""
    if view.price_per_hour is None:
        return f"budget_per_day is set, but not the price of {limits.instance_type or 'a node'} (price_per_hour)"
    return f"${view.spent_today:.2f} of today's ${limits.budget_per_day:.2f} are spent"
