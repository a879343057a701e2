"""The least that a workload can cost: nodes started by one who knows what will come, and when.

A mixed integer program over steps of time: whole nodes are started and ended, each is paid from its launch and works
from a boot of average length later; work is fluid, no task has to stay on one node, and nothing is billed beyond its
seconds. Whole steps are more than a node's seconds, by less than one: that one is taken off the boot. It knows when
there are no nodes of an offer, and buys the cheapest that there is; that single nodes are taken back, or crash, it
leaves out. So what it finds no rule can go below, and hardly any can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from minimoto.core.simulation.market import TAKEN_BACK, Offer
from minimoto.core.simulation.workload import Workload
from minimoto.core.simulation.world import mean_boot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BOOT_STEPS = 3
"""Steps of time that a boot takes, unless there would be more steps in all than :data:`MOST_STEPS`."""
MOST_STEPS = 3000
GONE_AFTER = TAKEN_BACK + 120.0
"""Seconds from a drought's beginning on until the last node is gone: it is told so, and two minutes later ends."""
FLUID_COST = 60.0
"""Dollars from which on nodes may be fractions as well: they make no difference among so many."""
GAP = 0.01
TIME_LIMIT = 1
"""What scipy's milp calls it when the time was over."""


@dataclass(frozen=True)
class Bound:
    """What a workload costs one who knows everything, US dollars.

    Parameters:
        least: no plan is cheaper.
        found: the cheapest plan that was found, infinite if none was; the optimum lies between the two.
    """

    least: float
    found: float


def clairvoyant(workload: Workload, target: float, seconds: float = 20.0) -> Bound:
    """What it costs at least to do every job within ``target`` seconds, or by its own deadline.

    Solved by HiGHS (Huangfu and Hall 2018), by way of scipy.

    Parameters:
        seconds: after which the best plan so far is taken.

    Raises:
        ValueError: no fleet can do that.
    """
    fluid = _solved(workload, target, whole=False, seconds=seconds)
    if fluid.found >= FLUID_COST:
        return fluid
    whole = _solved(workload, target, whole=True, seconds=seconds)
    return Bound(max(whole.least, fluid.least), whole.found)


def _solved(workload: Workload, target: float, *, whole: bool, seconds: float) -> Bound:
    import numpy as np
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    world = workload.world
    boot = mean_boot(world)
    dues = [job.deadline if job.deadline is not None else job.at + target for job in workload.jobs]
    # The first nodes may be started before the first job: the clairvoyant knows that it will come.
    end = max(dues) + boot
    step = max(boot / BOOT_STEPS, end / MOST_STEPS)
    count, lead = ceil(end / step) + 1, max(1, round(boot / step))
    edges: NDArray[np.float64] = np.arange(count, dtype=np.float64) * step - boot
    works = np.array([job.work for job in workload.jobs])
    # Generous by a step on both sides, so that the steps make nothing dearer than it is.
    arrived = _total([job.at for job in workload.jobs], works, edges + 2 * step)
    due = _total(dues, works, edges)
    one, before = sparse.identity(count, format="csr"), sparse.eye(count, k=-1, format="csr")
    late, none = sparse.eye(count, k=-lead, format="csr"), sparse.csr_matrix((count, count))
    # Unknowns, of each offer and for each step: nodes that are ready, starts and ends; then the work done until then.
    zeros, offers = np.zeros(count), world.offers
    ready = sparse.hstack([sparse.block_diag([sparse.hstack([one - before, -late, one])] * len(offers)),
                           sparse.csr_matrix((count * len(offers), count))])  # fmt: skip
    worked = sparse.hstack([*[-world.slots * step * one, none, none] * len(offers), one - before])
    prices = [world.price * offer.share * step / 3600 for offer in offers]
    most = [
        np.concatenate([_there(offer, edges, step), _to_be_had(offer, edges, step), zeros + np.inf]) for offer in offers
    ]
    solved = milp(
        np.concatenate(
            [
                *(
                    np.concatenate([zeros + price, zeros + price * max(0.0, boot / step - 1), zeros])
                    for price in prices
                ),
                zeros,
            ]
        ),
        constraints=[LinearConstraint(ready, 0, 0), LinearConstraint(worked, -np.inf, 0)],
        bounds=Bounds(
            np.concatenate([np.zeros(3 * count * len(offers)), due]), np.concatenate([*most, np.maximum(arrived, due)])
        ),
        integrality=np.concatenate([*[np.concatenate([zeros, zeros + whole, zeros + whole])] * len(offers), zeros]),
        options={"time_limit": seconds, "mip_rel_gap": GAP},
    )
    if solved.x is None and solved.status != TIME_LIMIT:
        raise ValueError(f"no fleet does all jobs of {workload.name} within {target:.0f} s")
    found = float("inf") if solved.x is None else float(solved.fun)
    return Bound(float(solved.mip_dual_bound or 0.0) if whole else found, found)


def _to_be_had(offer: Offer, edges: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """How many nodes can be started in each step: none in those that lie within a drought."""
    import numpy as np

    none = [(start <= edges - step) & (edges + step < end) for start, end in offer.droughts]
    return np.where(np.any(none, axis=0), 0.0, np.inf) if none else np.full(len(edges), np.inf)


def _there(offer: Offer, edges: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """How many nodes there can be in each step: none once a drought has taken all back."""
    longest = replace(offer, droughts=[(start + GONE_AFTER, end) for start, end in offer.droughts])
    return _to_be_had(longest, edges, step)


def _total(times: Sequence[float], works: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of ``works`` whose times are not later than each of ``at``."""
    import numpy as np

    order = np.argsort(times)
    sums = np.concatenate([[0.0], np.cumsum(works[order])])
    return np.asarray(sums[np.searchsorted(np.asarray(times)[order], at, side="right")])
