"""Random views of a fleet, for the properties of every policy.

A view is made from one random number: Hypothesis draws that, which is a hundred times quicker than drawing each field.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.markets import ON_DEMAND, SPOT, Experience, Pool
from minimoto.core.swaps import Standby, Swaps

NOW = 1_800_000_000.0


def _maybe(random: Random, value: float, share: float = 0.15) -> float | None:
    return None if random.random() < share else value


def _seconds(random: Random) -> float:
    return random.choice([random.uniform(0.1, 60.0), random.uniform(0.1, 4000.0)])


def _count(random: Random) -> int | None:
    return random.choice([None, 0, 0, 1, random.randint(0, 20), random.randint(0, 500)])


def node(random: Random, id: str) -> Node:
    """One machine in any condition that can be seen."""
    state = random.choice(["running"] * 6 + ["pending", "stopped", "stopping", "shutting-down"])
    reported = random.random() < 0.8 and state != "pending"
    slots = random.randint(1, 4) if reported else 0
    busy = random.choice([0, random.randint(0, slots)])
    strikes = random.choice([0, 0, 0, 1, 2])
    return Node(
        id,
        state=state,
        launched=NOW - _seconds(random),
        healthy=random.choice([None, True, True, False]),
        cpu=_maybe(random, random.uniform(0, 100)),
        reported=reported,
        heartbeat=random.uniform(0, 500) if reported else None,
        slots=slots,
        busy=busy,
        fenced=random.random() < 0.1,
        unable=random.choice(["", "", "", "", "the disk is full"]),
        leaving=random.random() < 0.1,
        draining=random.random() < 0.2,
        finished=random.random() < 0.3,
        strikes=strikes,
        symptom="is broken" if strikes else "",
        idle_since=NOW - _seconds(random) if reported and not busy else None,
    )


def view(seed: int) -> View:
    """A whole view; any part of it may be unknown."""
    random = Random(seed)
    jobs = tuple(
        JobView(
            f"j{index}",
            random.randint(0, 50),
            random.randint(0, 3),
            NOW + random.uniform(-500, 5000),
            random.choice([0.0, _seconds(random)]),
            owner=random.choice(["", "ana", "bo"]),
        )
        for index in range(random.choice([0, 1, 2, 2, 5]))
    )
    return View(
        nodes=tuple(node(random, f"i-{index}") for index in range(random.randint(0, 8))),
        visible=_count(random),
        in_flight=_count(random),
        delayed=_count(random),
        oldest=random.choice([None, _seconds(random)]),
        jobs=random.choice([None, jobs, jobs]),
        reports_known=random.random() < 0.8,
        seconds_per_task=_maybe(random, _seconds(random)),
        boot_seconds=_maybe(random, _seconds(random)),
        slots_per_node=random.randint(1, 4),
        last_scale_out=_maybe(random, NOW - _seconds(random)),
        stillborn=random.choice([0, 0, 0, 0, 1, 2, 5]),
        last_stillborn=_maybe(random, NOW - _seconds(random)),
        spent_today=random.uniform(0, 30),
        price_per_hour=_maybe(random, random.uniform(0, 5)),
        budget_shut=random.random() < 0.1,
        token="t-1",
    )


def market_view(seed: int) -> View:
    """A view of a fleet on two markets, with spot nodes on their way to the places of others."""
    random = Random(seed)
    seen = view(seed)
    nodes = [replace(node, market=random.choice([SPOT, ON_DEMAND]), type="a") for node in seen.nodes or ()]
    places = [node.id for node in nodes if node.market == ON_DEMAND]
    random.shuffle(places)
    for index, node in enumerate(nodes):
        if node.market == SPOT and places and random.random() < 0.5:
            nodes[index] = replace(node, replaces=places.pop())
    standbys = {node.id: Standby(node.replaces, NOW - _seconds(random)) for node in nodes if node.replaces}
    price = random.uniform(0.1, 1.5)
    pools = (Pool(SPOT, "a", price=price), Pool(ON_DEMAND, "a", price=1.0))
    return replace(
        seen,
        nodes=tuple(nodes),
        pools=random.choice([pools, pools, pools, ()]),
        markets=Experience(hours={"spot a": 10.0}, interruptions={"spot a": random.choice([0.0, 1.0, 30.0])}),
        swaps=Swaps(standbys, random.choice([0, 0, 0, 1, 4]), NOW - _seconds(random)),
    )


def calm_view(seed: int) -> View:
    """The same where nothing is broken, drains or idles, there is work for a while, no deadline, and spot is cheap."""
    random = Random(seed)
    seen = market_view(seed)
    calm = {"state": "running", "healthy": None, "strikes": 0, "symptom": "", "fenced": False, "unable": ""}
    nodes = tuple(
        replace(n, **calm, leaving=False, draining=False, busy=int(n.reported), idle_since=None)
        for n in seen.nodes or ()
    )
    jobs = (JobView("j", random.randint(1, 30) * len(nodes), created=NOW - random.uniform(0, 60)),)
    known = {"reports_known": True, "stillborn": 0, "budget_shut": False, "seconds_per_task": 60.0}
    pools = (Pool(SPOT, "a", price=random.uniform(0.1, 0.9)), Pool(ON_DEMAND, "a", price=1.0))
    boot, lost = random.uniform(10, 200), random.choice([0, 0, 0, 1])
    swaps = replace(seen.swaps, lost=lost)
    return replace(seen, nodes=nodes, jobs=jobs, boot_seconds=boot, slots_per_node=1, pools=pools, swaps=swaps, **known)


def limits_of(seed: int) -> Limits:
    """Settings of any size."""
    random = Random(seed)
    least = random.randint(0, 4)
    return Limits(
        min_nodes=least,
        max_nodes=least + random.randint(0, 12),
        target_seconds=random.uniform(1, 3000),
        boot_seconds=random.uniform(1, 600),
        task_seconds=random.uniform(0.1, 600),
        cooldown=random.choice([0.0, random.uniform(0, 900)]),
        budget_per_day=random.choice([0.0, 0.0, 1.0, 20.0]),
        spare_nodes=random.choice([0, 0, random.randint(1, 20)]),
        spare_share=random.choice([0.0, 0.0, random.uniform(0, 2)]),
    )


_seeds = st.integers(0, 2**32)
views = _seeds.map(view)
market_views = _seeds.map(market_view)
calm_views = _seeds.map(calm_view)
limits = _seeds.map(limits_of)
