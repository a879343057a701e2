"""What every policy keeps, whatever the fleet looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from fleet_views import NOW, calm_views, limits, market_views, views
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.fleet import SOON, Decision, Drain, Launch, Policy, Terminate, Wish, decide, next_look
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import GONE, JobView, Node, View
from minimoto.core.policies import POLICIES, choose

policies = st.builds(choose, st.sampled_from(sorted(POLICIES)), limits, st.none() | st.none() | st.integers(0, 10))


def after(view: View, decision: Decision) -> View:
    """The view once the decision has been carried out: drained nodes are still there, new ones boot."""
    ended = {action.node for action in decision.actions if isinstance(action, Terminate)}
    asked = {action.node for action in decision.actions if isinstance(action, Drain)}
    nodes = [replace(n, draining=n.draining or n.id in asked) for n in view.nodes or () if n.id not in ended]
    new = [Node(f"new-{index}", state="pending", launched=NOW) for index in range(decision.launches)]
    scaled = {"last_scale_out": NOW} if new else {}
    shut = view.budget_shut or decision.budget_shut
    return replace(view, nodes=(*nodes, *new), budget_shut=shut, **scaled)


@given(views | market_views | calm_views, policies)
def test_the_bounds_are_never_passed(view: View, policy: Policy) -> None:
    decision = decide(view, policy, NOW)
    then = [node for node in after(view, decision).nodes or () if node.state not in GONE]
    assert not decision.launches or len(then) <= policy.limits.max_nodes


@given(views | market_views | calm_views, policies)
def test_no_node_that_works_is_ended_unless_it_is_dead(view: View, policy: Policy) -> None:
    nodes = {node.id: node for node in view.nodes or ()}
    for action in decide(view, policy, NOW).actions:
        if isinstance(action, Terminate) and action.dead:
            node = nodes[action.node]
            assert node.strikes == 2 or node.state in ("stopped", "stopping") or node.healthy is False or node.fenced
        elif isinstance(action, Terminate):
            assert nodes[action.node].draining
            assert not nodes[action.node].busy


@given(views, limits, st.sampled_from(sorted(POLICIES)))
def test_only_idle_nodes_are_scaled_in(view: View, limits: Limits, name: str) -> None:
    view = replace(view, budget_shut=False, nodes=tuple(replace(n, fenced=False, unable="") for n in view.nodes or ()))
    decision = decide(view, choose(name, replace(limits, budget_per_day=0)), NOW)
    nodes = {node.id: node for node in view.nodes or ()}
    drained = [nodes[action.node] for action in decision.actions if isinstance(action, Drain)]
    assert not any(node.busy or node.draining or node.strikes >= 2 for node in drained)
    if drained:
        least = limits.min_nodes if name == "target" else max(1, limits.min_nodes)
        left = [node for node in after(view, decision).nodes or () if node.counts]
        assert len(left) >= least
        assert not decision.launches


@given(views | market_views | calm_views, policies)
def test_nothing_is_done_on_a_guess(view: View, policy: Policy) -> None:
    assert decide(replace(view, nodes=None), policy, NOW).actions == ()


@given(views, limits, st.sampled_from(sorted(POLICIES)), st.sampled_from(["visible", "in_flight"]))
def test_without_the_counts_the_load_changes_nothing(view: View, limits: Limits, name: str, missing: str) -> None:
    view = replace(view, budget_shut=False, nodes=tuple(replace(n, fenced=False, unable="") for n in view.nodes or ()))
    policy = choose(name, replace(limits, budget_per_day=0))
    blind = decide(replace(view, **{missing: None}), policy, NOW)
    nothing = replace(view, visible=0, in_flight=0, delayed=0)
    assert not [action for action in blind.actions if isinstance(action, Drain)]
    assert blind.launches == decide(nothing, policy, NOW).launches


@given(views, limits, st.integers(1, 1000), st.sampled_from(sorted(POLICIES)))
def test_more_backlog_never_asks_for_fewer_nodes(view: View, limits: Limits, more: int, name: str) -> None:
    policy = choose(name, limits)
    for field in ("visible", "in_flight") if name == "target" else ("visible",):
        before = getattr(view, field)
        if before is None:
            continue
        less, grown = decide(view, policy, NOW), decide(replace(view, **{field: before + more}), policy, NOW)
        assert grown.launches >= less.launches
        assert _drains(grown) <= _drains(less)


def _drains(decision: Decision) -> int:
    return sum(isinstance(action, Drain) for action in decision.actions)


@given(views, limits)
def test_a_draining_node_is_not_counted(view: View, limits: Limits) -> None:
    """The decision is the same, the bound on machines aside, whether or not a draining node is there."""
    roomy = replace(limits, max_nodes=10_000, budget_per_day=0)
    nodes = tuple(replace(node, fenced=False, unable="") for node in view.nodes or ())
    extra = Node("leaving", launched=NOW - 9, reported=True, heartbeat=1, slots=4, draining=True, idle_since=NOW - 9)
    view = replace(view, nodes=nodes, budget_shut=False)
    with_it = replace(view, nodes=(*nodes, extra))
    for name in POLICIES:
        policy = choose(name, roomy)
        assert decide(view, policy, NOW).actions == decide(with_it, policy, NOW).actions


@given(views, limits, st.integers(1, 600), st.booleans())
def test_a_constant_view_makes_no_flapping(view: View, limits: Limits, step: int, alike: bool) -> None:
    """The load stays, decisions are carried out, nodes boot and then idle.

    Nothing is launched once something was drained; in a fleet of like nodes nothing is drained after a launch either.
    """
    calm = tuple(
        replace(
            n,
            strikes=0,
            symptom="",
            fenced=False,
            unable="",
            leaving=False,
            draining=False,
            state="running",
            healthy=None,
        )
        for n in view.nodes or ()
    )
    if alike:
        calm = tuple(replace(n, slots=n.slots and view.slots_per_node, busy=min(n.busy, 1)) for n in calm)
    view = replace(view, nodes=calm, oldest=None, jobs=(), stillborn=0, budget_shut=False, reports_known=True)
    policy = choose("target", replace(limits, budget_per_day=0, max_nodes=max(limits.max_nodes, len(calm))))
    boot = view.boot_seconds or limits.boot_seconds
    now, done = NOW, ""
    for _ in range(12):
        decision = decide(view, policy, now)
        done += "o" * bool(decision.launches) + "i" * bool(_drains(decision))
        view = _next(view, decision, now, now + step, boot)
        now += step
    assert "io" not in done
    assert not alike or "oi" not in done


def _next(view: View, decision: Decision, now: float, then: float, boot: float) -> View:
    drained = {action.node for action in decision.actions if isinstance(action, Drain)}
    nodes = [node for node in view.nodes or () if node.id not in drained]
    nodes += [Node(f"new-{now}-{index}", launched=now) for index in range(decision.launches)]
    grown = [
        replace(n, reported=True, heartbeat=0.0, slots=view.slots_per_node, idle_since=then)
        if n.booting and then - n.launched >= boot
        else n
        for n in nodes
    ]
    return replace(view, nodes=tuple(grown), last_scale_out=now if decision.launches else view.last_scale_out)


@given(views | market_views | calm_views, policies)
def test_no_launch_can_pass_the_budget(view: View, policy: Policy) -> None:
    limits = policy.limits
    decision = decide(view, policy, NOW)
    if decision.launches and limits.budget_per_day:
        assert view.price_per_hour is not None
        assert not view.budget_shut
        running = sum(node.up for node in after(view, decision).nodes or ())
        boot, task = view.boot_seconds or limits.boot_seconds, view.seconds_per_task or limits.task_seconds
        least = running * view.price_per_hour * (boot + task) / 3600
        assert view.spent_today + least <= limits.budget_per_day + 1e-6


@given(views | market_views | calm_views, policies)
def test_a_decision_says_why_and_launches_under_the_token(view: View, policy: Policy) -> None:
    decision = decide(view, policy, NOW)
    assert decision.reason
    assert decision.rule
    assert "\n" not in decision.reason
    launches = [action for action in decision.actions if isinstance(action, Launch)]
    assert len(launches) <= 1
    assert all(launch.count > 0 and launch.token == view.token and launch.reason for launch in launches)
    ids = [action.node for action in decision.actions if not isinstance(action, Launch)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("task", [30.0, 240.0])
def test_a_day_under_load_stays_within_its_budget(task: float) -> None:
    """A whole day with more work than money, a pass a minute, tasks up to twice the mean: the sum is never passed."""
    limits = Limits(min_nodes=1, max_nodes=20, budget_per_day=25.0, task_seconds=task, pass_seconds=60)
    policy, price, spent, shut = choose("target", limits), 1.006, 0.0, False
    start = NOW - NOW % 86_400
    nodes: dict[str, Node] = {}
    for minute in range(24 * 60):
        now = start + 60.0 * minute
        view = View(tuple(nodes.values()), 500, len(nodes), 0, seconds_per_task=task, token=str(minute),
                    spent_today=spent, price_per_hour=price, budget_shut=shut)  # fmt: skip
        decision = decide(view, policy, now)
        shut = shut or decision.budget_shut
        for action in decision.actions:
            if isinstance(action, Terminate):
                del nodes[action.node]
            elif isinstance(action, Drain):
                nodes[action.node] = replace(nodes[action.node], draining=True, idle_since=now + 2 * task)
            else:
                nodes |= {f"{minute}-{k}": Node(f"{minute}-{k}", launched=now) for k in range(action.count)}
        for id, node in nodes.items():
            ready = now + 60 - node.launched >= 120
            done = node.draining and now + 60 >= (node.idle_since or now)
            nodes[id] = replace(node, reported=ready, slots=1, busy=int(ready and not done), finished=done)
        spent += len(nodes) * price / 60
    assert spent <= 25.0
    assert spent > 20.0
    assert not nodes


class Reckless:
    """A policy that wishes for everything at once."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def dead(self, view: View) -> dict[str, str]:
        return {}

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        return Wish("all", "everything", launch=10**6, drain=tuple(node.id for node in view.nodes or ()))


@given(views, limits)
def test_no_policy_can_pass_the_limits(view: View, limits: Limits) -> None:
    """Every wish is granted within the limits: bounds, budget, and nothing that works is drained, let alone ended."""
    view = replace(view, budget_shut=False, nodes=tuple(replace(n, fenced=False) for n in view.nodes or ()))
    decision = decide(view, Reckless(replace(limits, budget_per_day=0)), NOW)
    busy = {node.id for node in view.nodes or () if node.busy}
    assert not [a for a in decision.actions if not isinstance(a, Launch) and a.node in busy]
    then = [node for node in after(view, decision).nodes or () if node.state not in GONE]
    assert not decision.launches or len(then) == limits.max_nodes
    broke = decide(replace(view, price_per_hour=None), Reckless(replace(limits, budget_per_day=1)), NOW)
    assert not broke.launches


def at_work(busy: int) -> Node:
    return Node("i-1", reported=True, slots=1, busy=busy)


@pytest.mark.parametrize(
    ("view", "seconds"),
    [
        (View(nodes=(), jobs=()), 15.0),
        (View(nodes=(at_work(1),), jobs=(JobView("a", 9),)), 15.0),
        (View(nodes=(at_work(1),), jobs=(JobView("a", 1),)), SOON),
        (View(nodes=(at_work(0),), jobs=()), SOON),
        (View(nodes=(at_work(1),), jobs=None), 15.0),
        (View(nodes=None, jobs=()), 15.0),
        (View(nodes=(Node("i-1"),), jobs=()), 15.0),
        (View(nodes=(at_work(1), replace(at_work(1), id="i-2", leaving=True)), jobs=(JobView("a", 9),)), SOON),
    ],
    ids=["nothing", "busy", "the last task", "idle", "jobs unknown", "nodes unknown", "booting", "one drains"],
)
def test_a_fleet_that_winds_down_is_looked_at_sooner(view: View, seconds: float) -> None:
    nothing, none = Decision((), "", "steady"), Limits(min_nodes=0, pass_seconds=15.0)
    assert next_look(view, nothing, none) == seconds
    assert next_look(view, nothing, replace(none, pass_seconds=2.0)) == 2.0
    assert next_look(view, Decision((Drain("i-1", "idle"),), "", "drain"), none) == SOON


def test_a_fleet_at_its_least_is_looked_at_as_ever() -> None:
    idle = View(nodes=(at_work(0),), jobs=())
    assert next_look(idle, Decision((), "", "steady"), Limits(min_nodes=1, pass_seconds=15.0)) == 15.0
