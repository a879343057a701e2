"""The rules for the fleet's size, by name."""

from __future__ import annotations

from collections.abc import Callable

from minimoto.core.fleet import Policy
from minimoto.core.fleet_limits import Limits
from minimoto.core.group import POLICY
from minimoto.core.policies.asg import Asg
from minimoto.core.policies.classic import Classic
from minimoto.core.policies.fixed import Fixed
from minimoto.core.policies.target import Target
from minimoto.errors import ConfigError

POLICIES: dict[str, Callable[[Limits], Policy]] = {"classic": Classic, "target": Target}
"""The rules by which the watchdog itself sizes the fleet."""


def choose(name: str, limits: Limits, size: int | None = None) -> Policy:
    """The policy of a deployment; with ``size``, the size set by hand is kept instead.

    Raises:
        ConfigError: there is no such policy.
    """
    if name == POLICY:
        return Asg(limits, size)
    if name not in POLICIES:
        raise ConfigError(f"[FLEET] policy is {name!r}; there are: {', '.join(sorted((*POLICIES, POLICY)))}")
    return POLICIES[name](limits) if size is None else Fixed(limits, size)
