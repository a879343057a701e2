"""Where a launch is asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from minimoto.core.fleet import Launch
from minimoto.core.fleet_limits import Limits, lost_seconds
from minimoto.core.fleet_view import View
from minimoto.core.markets import SPOT, Experience, Pool, in_order
from minimoto.core.paces import by_type


def asked(
    launch: Launch, view: View, pools: Sequence[Pool], markets: Experience, limits: Limits, now: float
) -> tuple[Pool, ...]:
    """The pools to ask for a launch, the best first; empty: each that there is refused lately.

    Nodes that take the place of others are asked for on spot alone: on demand there is one already.

    Parameters:
        pools: all that the settings allow.
        markets: what was learnt of them.
    """
    order = in_order(
        pools,
        markets,
        now,
        seconds=by_type(view.paces, view.jobs or ()),
        lost=lost_seconds(view, limits) / 3600,
        urgent=launch.urgent,
    )
    return tuple(pool for pool in order if pool.market == SPOT) if launch.instead_of else order
