"""When nodes on demand give their places to spot ones: what is asked before :mod:`minimoto.core.swaps` begins one."""

from __future__ import annotations

from collections.abc import Sequence

from minimoto.core.fleet_limits import Limits, lost_seconds
from minimoto.core.fleet_view import Node, View
from minimoto.core.markets import ON_DEMAND, SPOT, Pool, in_order, prices
from minimoto.core.paces import by_type
from minimoto.core.policies.demand import LOOKS, Demand, Parcel
from minimoto.core.readable import counted
from minimoto.core.swaps import BACK_TO_SPOT, Swap, Terms

KEPT_SECONDS = 3600.0
"""For so long nodes are expected to stay that stay without work: ``min_nodes``, those of ``warm``, spare ones."""

TIGHT = 2.0
"""Boots and tasks within which a deadline lies that nodes on demand are wanted for."""


def tight(parcel: Parcel, demand: Demand) -> bool:
    """Whether a deadline leaves no time to boot another node, were a spot one taken back."""
    return parcel.firm and parcel.horizon < TIGHT * (demand.boot + parcel.each)


def back_to_spot(demand: Demand, view: View, limits: Limits, now: float) -> Swap | None:
    """The nodes on demand whose places spot ones would take with profit; ``None``: there are none.

    None is asked for while a deadline is tight, while every spot pool is left alone for it refused, or for a while
    after swaps that were lost; and there must be work enough that nobody has begun for the swap to repay. What is being
    worked on is finished where it is, so it counts for nothing. A swap under way is waited for.

    Parameters:
        view: without standbys.
    """
    dear = _on_demand(view)
    open_pools = _open(view, limits, now) if dear and view.reports_known else ()
    if not open_pools or now < view.swaps.waits_until or any(tight(parcel, demand) for parcel in demand.parcels):
        return None
    best, work = open_pools[0], _work(demand, view, limits)
    found = [(terms.saving(work), node, terms) for node in dear if (terms := _terms(node, best, demand, view, limits))]
    found = sorted((one for one in found if one[0] > 0), key=lambda one: (-one[0], one[1].launched, one[1].id))
    if not found:
        return None
    terms = found[0][2]
    reason = (
        f"{BACK_TO_SPOT}: {counted(len(found), 'node')} on demand for which {best} would do, at "
        f"{terms.spot / terms.price:.0%} of the price; there is work for {work / 60:.0f} min, and a swap repays in "
        f"{terms.repays / 60:.0f} min"
    )
    return Swap(tuple(node.id for _, node, _ in found), reason, max(terms.repays for _, _, terms in found))


def _on_demand(view: View) -> list[Node]:
    """The nodes that might be replaced: they work, and nobody is on the way to their place."""
    under_way = {standby.node for standby in view.swaps.standbys.values()}
    ready = [node for node in view.counted if node.reported and not node.strikes]
    return [node for node in ready if node.market == ON_DEMAND and node.id not in under_way]


def _open(view: View, limits: Limits, now: float) -> Sequence[Pool]:
    """The spot pools that may be asked, the best first."""
    lost = lost_seconds(view, limits) / 3600
    order = in_order(view.pools, view.markets, now, seconds=by_type(view.paces, view.jobs or ()), lost=lost)
    return [pool for pool in order if pool.market == SPOT]


def _work(demand: Demand, view: View, limits: Limits) -> float:
    """Seconds for which each node is expected to find tasks to begin, or to be kept without any."""
    nodes = view.counted
    slots = sum(node.slots or demand.slots for node in nodes)
    kept = KEPT_SECONDS if len(nodes) <= limits.always else 0.0
    return max(kept, demand.waiting / slots)


def _terms(node: Node, best: Pool, demand: Demand, view: View, limits: Limits) -> Terms | None:
    """``None``: only what spot costs is known, and it is compared with nothing that was guessed."""
    own = _pool_of(node, view.pools)
    known = prices(view.pools)
    if own is None or (own.price is None and best.price is not None):
        return None
    paces = by_type(view.paces, view.jobs or ())
    # A slower type needs more of its hours for the same work.
    slower = paces[best.type] / paces[node.type] if best.type in paces and paces.get(node.type) else 1.0
    return Terms(
        price=known[own],
        spot=known[best] * slower,
        rate=view.markets.rate(best),
        boot=demand.boot,
        handover=LOOKS * limits.pass_seconds,
        lost=lost_seconds(view, limits),
    )


def _pool_of(node: Node, pools: Sequence[Pool]) -> Pool | None:
    """The pool that a node is of; one in another zone, where the settings have none in its own."""
    alike = [pool for pool in pools if (pool.market, pool.type) == (node.market, node.type)]
    return next((pool for pool in alike if pool.zone == node.zone), alike[0] if alike else None)
