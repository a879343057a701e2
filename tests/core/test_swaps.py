"""Going back to spot: what a swap is worth, when one is begun, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from fleet_views import NOW, calm_views, limits, market_views
from hypothesis import given, settings
from hypothesis import strategies as st

from minimoto.core.fleet import Decision, Drain, Launch, Policy, Terminate, decide
from minimoto.core.fleet_asking import asked
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_memory import Memory, decided, launched, learn, may_launch, refused
from minimoto.core.fleet_recall import dump, load
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.markets import ON_DEMAND, SPOT, Experience, Pool
from minimoto.core.markets import refused as learnt
from minimoto.core.policies import choose
from minimoto.core.swaps import FORGIVEN_SECONDS, LASTING, LONGEST_LOST_PAUSE, LOST_PAUSE, Standby, Swaps, Terms

SPOT_A, A = Pool(SPOT, "a", price=0.35), Pool(ON_DEMAND, "a", price=1.0)
LIMITS = Limits(min_nodes=0, max_nodes=9, target_seconds=3600, task_seconds=60, boot_seconds=120, pass_seconds=15)
DEAR = Node("i-dear", launched=NOW - 5000, healthy=True, reported=True, heartbeat=5, slots=1, busy=1, type="a")
CHEAP = replace(DEAR, id="i-cheap", market=SPOT)
PLENTY = JobView("j", 40, created=NOW)

dollars = st.floats(0.01, 5.0)
seconds = st.floats(0.0, 3000.0)
terms = st.builds(Terms, dollars, dollars, st.floats(0.0, 20.0), seconds, seconds, seconds)


def seen(*nodes: Node, **changes: Any) -> View:
    """A fleet with work for 20 minutes and more, where spot may be had."""
    nodes = nodes or (DEAR, CHEAP)
    swaps = Swaps({node.id: Standby(node.replaces, NOW) for node in nodes if node.replaces})
    view = View(nodes, 38, 2, 0, jobs=(PLENTY,), pools=(SPOT_A, A), swaps=swaps, token="t-1")
    return replace(view, **changes)


def target(**changes: Any) -> Policy:
    return choose("target", replace(LIMITS, **changes))


def swap_of(decision: Decision) -> tuple[str, ...]:
    return next((action.instead_of for action in decision.actions if isinstance(action, Launch)), ())


@given(terms, seconds)
def test_without_work_after_its_boot_a_swap_only_costs(terms: Terms, work: float) -> None:
    assert terms.saving(min(work, terms.boot)) == -terms.paid <= 0


@given(terms, seconds, st.floats(0.0, 3000.0))
def test_what_is_repaid_once_stays_so_with_more_work(terms: Terms, work: float, more: float) -> None:
    assert max(0.0, terms.saving(work + more)) >= max(0.0, terms.saving(work)) - 1e-9


@given(terms, seconds, st.sampled_from(["spot", "rate", "boot", "handover", "lost"]), st.floats(0.0, 10.0))
def test_whatever_gets_worse_saves_no_more(terms: Terms, work: float, name: str, more: float) -> None:
    worse = replace(terms, **{name: getattr(terms, name) + more})
    assert worse.saving(work) <= max(0.0, terms.saving(work)) + 1e-9


@given(terms)
def test_a_swap_repays_where_it_begins_to_save(terms: Terms) -> None:
    if terms.repays == inf:
        assert terms.saving(1e9) <= 1e-9
    else:
        assert terms.saving(terms.repays) == pytest.approx(0.0, abs=1e-6)


def test_a_swap_in_numbers() -> None:
    """A third of the price, a boot of 100 s, 30 s of both, no interruptions: 35 + 30 s are repaid by 0.65 a second."""
    terms = Terms(price=1.0, spot=0.35, rate=0.0, boot=100.0, handover=30.0, lost=160.0)
    assert terms.repays == pytest.approx(100 + 65 / 0.65)
    assert 3600 * terms.saving(1100.0) == pytest.approx(0.65 * 1000 - 65)
    assert replace(terms, spot=1.0).repays == inf
    # Taken back every six minutes it would lose as much as it saves.
    assert replace(terms, rate=0.65 * 3600 / 160).repays == inf


def test_a_spot_node_takes_the_place_of_one_on_demand() -> None:
    decision = decide(seen(), target(), NOW)
    (launch,) = decision.actions
    assert isinstance(launch, Launch)
    assert (launch.count, launch.instead_of, launch.token, decision.rule) == (1, ("i-dear",), "t-1", "swap")
    assert launch.reason in decision.reason
    assert launch.reason.startswith(
        "going back to spot: 1 node on demand for which spot a would do, at 35% of the price"
    )
    assert asked(launch, seen(), seen().pools, Experience(), LIMITS, NOW) == (SPOT_A,)
    dry = learnt(Experience(), {SPOT_A: "none"}, NOW)
    assert asked(launch, seen(), seen().pools, dry, LIMITS, NOW) == (), "never on demand, though there is some"


PAUSED = learnt(Experience(), {SPOT_A: "InsufficientInstanceCapacity"}, NOW - 59)
STORMY = Experience(hours={"spot a": 10.0}, interruptions={"spot a": 600.0})
NOT_NOW: dict[str, View] = {
    "all are on spot": seen(CHEAP),
    "spot has just refused": seen(markets=PAUSED),
    "spot is taken back all the time": seen(markets=STORMY),
    "a swap was lost lately": seen(swaps=Swaps(lost=1, last_lost=NOW - LOST_PAUSE + 1)),
    "spot costs as much": seen(pools=(replace(SPOT_A, price=0.99), A)),
    "spot is not wished for": seen(pools=(A,)),
    "nothing is known of the pools": seen(pools=()),
    "the price on demand is not known": seen(pools=(SPOT_A, replace(A, price=None))),
    "there is little work": seen(jobs=(replace(PLENTY, tasks_left=6),)),
    "all that is left has been begun": seen(jobs=(JobView("j", 2, created=NOW, seconds_left=9000.0),)),
    "a deadline is tight": seen(jobs=(PLENTY, JobView("d", 1, deadline=NOW + 300))),
    "the heartbeats are unknown": seen(reports_known=False),
    "it boots": seen(replace(DEAR, reported=False, busy=0, launched=NOW), CHEAP),
    "it may be broken": seen(replace(DEAR, strikes=1), CHEAP),
    "it drains": seen(replace(DEAR, draining=True), CHEAP),
    "one is on its way": seen(DEAR, replace(CHEAP, reported=False, busy=0, replaces="i-dear")),
    "more nodes are needed": seen(jobs=(JobView("j", 400, created=NOW),)),
}


@pytest.mark.parametrize("view", NOT_NOW.values(), ids=NOT_NOW.keys())
def test_no_swap_is_begun_when(view: View) -> None:
    assert swap_of(decide(seen(), target(), NOW)), "else this proves nothing"
    assert not swap_of(decide(view, target(), NOW))


def test_what_has_passed_is_no_hindrance() -> None:
    assert swap_of(decide(seen(markets=PAUSED), target(), NOW + 2))
    later = seen(swaps=Swaps(lost=1, last_lost=NOW - LOST_PAUSE))
    assert swap_of(decide(later, target(), NOW))
    passed = seen(jobs=(PLENTY, JobView("d", 1, deadline=NOW - 1)))
    assert swap_of(decide(passed, target(), NOW))
    loose = seen(jobs=(PLENTY, JobView("d", 1, deadline=NOW + 3000)))
    assert swap_of(decide(loose, target(), NOW))


def test_nodes_that_stay_without_work_go_back_too() -> None:
    idle = replace(DEAR, busy=0, idle_since=NOW - 999)
    view = seen(idle, visible=0, in_flight=0, jobs=())
    assert swap_of(decide(view, target(min_nodes=1), NOW)) == ("i-dear",)
    assert decide(view, target(), NOW).actions == (Drain("i-dear", "idle, and 1 node too many for an empty queue"),)


def test_the_limits_bind_a_swap_and_nobody_is_told_that_they_wait_for_it() -> None:
    three = tuple(replace(DEAR, id=f"i-{n}") for n in range(3))
    cut = decide(seen(*three), target(max_nodes=4), NOW)
    assert swap_of(cut) == ("i-0",)
    full = decide(seen(*three), target(max_nodes=3), NOW)
    assert (full.actions, full.told, full.rule) == ((), "", "steady")
    assert full.reason.endswith("; going back to spot waits: max_nodes is 3: 3 more wanted, 0 started")
    poor = decide(seen(*three, price_per_hour=1.0, spent_today=0.7), target(budget_per_day=1.0), NOW)
    assert (poor.actions, poor.told) == ((), "")
    assert "going back to spot waits: $0.70 of today's $1.00 are spent" in poor.reason


def standby(**changes: Any) -> Node:
    return replace(CHEAP, id="i-new", busy=0, replaces="i-dear", **changes)


def test_a_standby_is_no_capacity_until_it_is_ready_and_then_the_other_finishes_what_it_holds() -> None:
    booting = standby(reported=False, launched=NOW - 60)
    demanding = (JobView("j", 100, created=NOW),)
    alone, beside = seen(DEAR, jobs=demanding), seen(DEAR, booting, jobs=demanding)
    assert decide(beside, target(), NOW).launches == decide(alone, target(), NOW).launches == 1
    waiting = decide(seen(DEAR, CHEAP, booting), target(), NOW)
    assert waiting.actions == ()
    assert "going back to spot: i-new boots in the place of i-dear" in waiting.reason
    ready = decide(seen(DEAR, CHEAP, standby(idle_since=NOW)), target(), NOW)
    why = "going back to spot: i-new has taken the place of i-dear"
    assert ready.actions == (Drain("i-dear", why, "i-new"),)
    assert (ready.rule, why in ready.reason) == ("swap", True)
    # It still works, and then it has finished.
    asked_to = replace(DEAR, draining=True, leaving=True)
    assert decide(seen(asked_to, CHEAP, standby(idle_since=NOW)), target(), NOW).actions == ()
    done = replace(asked_to, busy=0, finished=True)
    gone = decide(seen(done, CHEAP, standby(idle_since=NOW)), target(), NOW)
    assert gone.actions == (Terminate("i-dear", "has drained"),)


def test_when_the_money_is_spent_standbys_end_too() -> None:
    booting = standby(reported=False, launched=NOW - 60)
    decision = decide(seen(DEAR, booting, budget_shut=True), target(budget_per_day=1.0), NOW)
    assert [action.node for action in decision.actions if isinstance(action, Drain)] == ["i-dear", "i-new"]


def test_a_standby_whose_other_has_gone_is_a_node_like_any_other() -> None:
    demanding = (JobView("j", 100, created=NOW),)
    left = (CHEAP, standby(reported=False, launched=NOW))
    assert decide(seen(*left, jobs=demanding), target(), NOW).launches == 0
    dead = seen(replace(DEAR, strikes=2, symptom="is stopped"), *left, jobs=demanding)
    decision = decide(dead, target(), NOW)
    assert [type(action) for action in decision.actions] == [Terminate]


@pytest.mark.parametrize("ill", [{"strikes": 1}, {"unable": "the disk is full"}, {"fenced": True}, {"leaving": True}])
def test_one_that_is_not_well_takes_no_place(ill: dict[str, Any]) -> None:
    decision = decide(seen(DEAR, CHEAP, standby(idle_since=NOW, **ill)), target(), NOW)
    assert not [action for action in decision.actions if isinstance(action, Drain) and action.node == "i-dear"]


@given(market_views, limits)
def test_a_swap_leaves_the_number_of_working_nodes_as_it_is(view: View, limits: Limits) -> None:
    decision = decide(view, choose("target", limits), NOW)
    nodes = {node.id: node for node in view.nodes or ()}
    replaced = {a.node: a.replaced_by for a in decision.actions if isinstance(a, Drain) and a.replaced_by}
    for old, new in replaced.items():
        assert nodes[old].counts
        assert nodes[new].counts
        assert (nodes[new].reported, nodes[new].replaces) == (True, old)
    after = tuple(replace(node, draining=node.draining or node.id in replaced) for node in nodes.values())
    assert working(replace(view, nodes=after)) == working(view)


def working(view: View) -> int:
    """Nodes that are capacity, those on their way to a place not counted."""
    there = {node.id for node in view.counted}
    return sum(node.replaces not in there for node in view.counted)


@settings(max_examples=300)
@given(calm_views, limits, st.floats(300, 9000))
def test_only_nodes_on_demand_that_work_are_replaced_and_only_by_spot_ones(
    view: View, limits: Limits, seconds: float
) -> None:
    limits = replace(limits, target_seconds=seconds, pass_seconds=15)
    decision = decide(view, choose("target", limits), NOW)
    nodes = {node.id: node for node in view.nodes or ()}
    for launch in (action for action in decision.actions if isinstance(action, Launch) and action.instead_of):
        assert launch.count == len(set(launch.instead_of))
        assert {(nodes[id].market, nodes[id].counts, nodes[id].reported) for id in launch.instead_of} == {
            (ON_DEMAND, True, True)
        }
        assert not {node.replaces for node in nodes.values()} & set(launch.instead_of)
        assert not {a.node for a in decision.actions if isinstance(a, Drain)} & set(launch.instead_of)
        assert {pool.market for pool in asked(launch, view, view.pools, view.markets, limits, NOW)} == {SPOT}
        assert 0 < launch.repays < inf


SWAP = Launch(2, "why", "n-1", instead_of=("i-dear", "i-dear-2"), repays=200.0, pools=(SPOT_A,))
BEGUN = decided(Memory(nonce="n"), View(()), Decision((SWAP,), "", ""), NOW)


def test_a_swap_is_found_again_after_a_crash_between_launch_and_record() -> None:
    memory = load(dump(BEGUN))
    assert memory == BEGUN
    assert may_launch(memory, 2, SWAP.instead_of, NOW + 10) == 2, "the very same is tried again"
    assert may_launch(memory, 2, (), NOW + 10) == 0, "one that people wait for is no try of it"
    nodes = (DEAR, replace(standby(reported=False, launched=NOW), replaces="", token="n-1"))
    memory, view = learn(memory, seen(*nodes), LIMITS, NOW + 30)
    assert memory.swaps.standbys == {"i-new": Standby("i-dear", NOW, 200.0, "why")}
    assert [node.replaces for node in view.nodes or ()] == ["", "i-dear"]
    assert load(dump(memory)) == memory


def test_a_swap_of_which_nothing_is_seen_stands_in_nobodys_way() -> None:
    memory, _ = learn(BEGUN, seen(DEAR), LIMITS, NOW + 59)
    assert memory.pending
    memory, _ = learn(memory, seen(DEAR), LIMITS, NOW + 61)
    assert (memory.pending, memory.token, memory.swaps) == (None, "n-2", Swaps())
    assert refused(BEGUN).swaps == Swaps()


def test_fewer_than_were_asked_for_take_the_first_places() -> None:
    assert set(launched(BEGUN, ["i-new"], NOW).swaps.standbys.values()) == {Standby("i-dear", NOW, 200.0, "why")}


def lose(swaps: Swaps, at: float) -> Swaps:
    """A swap whose two nodes are taken back after ten seconds."""
    return swaps.begun(["x", "y"], ["i-1", "i-2"], at, 200.0, "").followed({"i-1", "i-2"}, set(), at + 10)


def test_each_swap_that_is_lost_makes_the_next_wait_twice_as_long() -> None:
    swaps, now, pauses = Swaps(), NOW, []
    for _ in range(8):
        swaps = lose(swaps, now)
        pauses.append(swaps.waits_until - now - 10)
        now = swaps.waits_until
    assert pauses == pytest.approx([min(LONGEST_LOST_PAUSE, LOST_PAUSE * 2**n) for n in range(8)])
    assert swaps.followed(set(), set(), now + FORGIVEN_SECONDS - 1).lost == 8
    assert swaps.followed(set(), set(), now + FORGIVEN_SECONDS).lost == 0


@pytest.mark.parametrize(
    ("after", "drained", "lost"),
    [(LASTING - 1, False, 3), (LASTING, False, 1), (199.0, True, 3), (200.0, True, 1)],
    ids=["taken back too soon", "lasted", "drained before it repaid", "drained after that"],
)
def test_what_becomes_of_a_swap(after: float, drained: bool, lost: int) -> None:
    swaps = Swaps(lost=2, last_lost=NOW).begun(["x"], ["i-1"], NOW + 1, 200.0, "")
    swaps = swaps.followed({"x", "i-1"}, set(), NOW + 100).followed({"x"}, set(), NOW + 150)
    assert set(swaps.standbys) == {"x"}
    ended = swaps.followed(set(), {"x"} if drained else set(), NOW + 1 + after)
    assert (ended.lost, ended.standbys) == (lost, {})


def test_a_swap_under_way_is_kept_until_the_other_has_gone() -> None:
    swaps = Swaps().begun(["x"], ["i-1"], NOW, 200.0, "")
    swaps = swaps.followed({"x", "i-1"}, set(), NOW + 1e6)
    assert set(swaps.standbys) == {"x"}
    assert swaps.followed({"x"}, set(), NOW + 1e6 + 1) == Swaps()
