"""What the owners of jobs are told, and what their budgets allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from played_fleet import Fleet
from test_repair import claim, get, job

from minimoto.core.job import Entry, JobState, Stage
from minimoto.core.node import NodeState


def started(fleet: Fleet, tasks: int = 40, **changes: Any) -> None:
    """A job submitted just now."""
    stages = (Stage("fit", per="photo", tasks=tasks, started=fleet.now, enqueued=True),)
    job(fleet, stages=stages, created=fleet.now, updated=fleet.now, **changes)


def told(fleet: Fleet) -> list[str]:
    return [entry.detail for entry in get(fleet).history if entry.what == "limited"]


def test_a_limit_that_binds_is_told_once_and_taken_back(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(max_nodes=2, min_nodes=0)
    started(fleet)
    for _ in range(3):
        fleet.run(after=10)
    limit = "the fleet has as many machines as it may, 2 ([FLEET] max_nodes)"
    assert (get(fleet).limit, told(fleet)) == (limit, [limit])
    version = get(fleet).version
    fleet.run(after=10)
    assert get(fleet).version == version, "what has been told is not written again"
    fleet.cloud.jobs.save(
        get(fleet).with_stage(0, Stage("fit", per="photo", tasks=1, started=fleet.now, enqueued=True))
    )
    fleet.run(after=10)
    assert (get(fleet).limit, told(fleet)) == ("", [limit])


def test_machines_that_cannot_be_had_are_told(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=0)
    fleet.cloud.fleet.capacity = 0
    started(fleet)
    fleet.run()
    assert get(fleet).limit.startswith("AWS has no machine")
    fleet.run(after=10)
    assert told(fleet) == [get(fleet).limit]


def test_the_days_budget_is_told(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=0, max_nodes=50, budget_per_day=0.1)
    fleet.price = 1.0
    started(fleet, tasks=400)
    fleet.run()
    assert get(fleet).limit == "today's budget of the fleet, $0.10, allows no more machines ([FLEET] budget_per_day)"


def test_a_job_with_a_budget_gets_the_nodes_that_it_pays_for(make_fleet: Callable[..., Fleet]) -> None:
    """Of 40 tasks of 30 s, 1200 s at a dollar an hour, $0.40 leave money for four boots of 60 s."""
    sizes = {}
    for budget in (None, 0.4, 0.01):
        fleet = make_fleet(min_nodes=0, max_nodes=50)
        fleet.price = 1.0
        started(fleet, budget=budget)
        seen = fleet.run()
        sizes[budget] = len(fleet.ids)
        assert ("its budget of" in seen.decision.reason) == (budget is not None)
        assert bool(get(fleet).limit) == (budget is not None)
    assert sizes[None] >= 5
    assert sizes[0.4] == 4
    assert sizes[0.01] == 1


def test_the_fleets_budget_for_a_job_binds_too(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=0, max_nodes=50, budget_per_job=0.4)
    fleet.price = 1.0
    started(fleet, budget=20.0)
    fleet.run()
    assert len(fleet.ids) == 4


def test_a_job_whose_budget_is_spent_ends_before_it_is_passed(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=1, watchdog_every=15.0, heartbeat=20.0)
    fleet.price = 3.6
    started(fleet, budget=1.0)
    node = fleet.node(NodeState.BUSY, task="trip-1/0/0", progressed=fleet.now)
    claim(fleet, 0, node)
    while not get(fleet).state.final:
        assert fleet.now < 1e12
        fleet.beat(node, NodeState.BUSY, task="trip-1/0/0", progressed=fleet.now)
        seen = fleet.run(after=15)
        began = next(e.at for e in get(fleet).history if e.what == "created")
        assert fleet.now - began < 5000
    ended = get(fleet)
    assert ended.state is JobState.PROCESSING_FAILED
    assert ended.error.startswith("its budget of $1.00 is spent ($0.9")
    assert ended.error.endswith("0 of 40 tasks of fit done): it needs a larger one")
    assert "trip-1: its budget of $1.00 is spent" in seen.done


def test_without_a_price_a_budget_cannot_be_held_and_that_is_said(fleet: Fleet) -> None:
    started(fleet, budget=1.0)
    assert any("price_per_hour" in line for line in fleet.run().problems)


@pytest.mark.parametrize("text", ["x" * 500])
def test_a_limit_is_kept_short(fleet: Fleet, text: str) -> None:
    from minimoto.core.events import Limited
    from minimoto.core.lifecycle import advance

    started(fleet)
    limited, actions = advance(get(fleet), Limited(text), fleet.now)
    assert (len(limited.limit), actions, limited.history[-1].what) == (200, (), "limited")
    assert advance(limited, Limited(text), fleet.now)[0] is limited
    assert isinstance(limited.history[-1], Entry)
