"""The policy ``asg``: bounds, replacements, strays, and what is published for the group's alarms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.fleet import Bound, Decision, Detach, Drain, Keep, Launch, Terminate, decide, notable
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import Node, View
from minimoto.core.group import BACKLOG, JOBS, NO_NODE, Group, Member, published
from minimoto.core.policies import choose

NOW = 1_800_000_000.0
LIMITS = Limits(min_nodes=1, max_nodes=4, boot_seconds=60.0)


def node(id: str, **fields: Any) -> Node:
    return Node(
        id, **{"launched": NOW - 5000, "reported": True, "heartbeat": 1.0, "slots": 1, "grouped": True, **fields}
    )


def group(*ids: str, least: int = 1, most: int = 4, desired: int | None = None, **fields: Any) -> Group:
    return Group(least, most, len(ids) if desired is None else desired, tuple(Member(id) for id in ids), **fields)


def view(*nodes: Node, of: Group | None = None, **fields: Any) -> View:
    known = group(*(each.id for each in nodes)) if of is None else of
    return View(nodes, visible=0, in_flight=0, delayed=0, grouped=True, group=known, **fields)


def decided(seen: View, limits: Limits = LIMITS, size: int | None = None) -> Decision:
    return decide(seen, choose("asg", limits, size), NOW)


def did(decision: Decision) -> list[str]:
    said = {Drain: "drain", Terminate: "end", Keep: "keep", Detach: "detach"}
    return [
        f"bound {action.least} {action.most}" if isinstance(action, Bound) else f"{said[type(action)]} {action.node}"  # type: ignore[union-attr,index]
        for action in decision.actions
    ]


FULL = {"visible": 1000}
BUDGET = replace(LIMITS, budget_per_day=10.0)

CASES = [
    # A backlog, or none, is the alarms' business.
    ("backlog", view(node("a", busy=1)), LIMITS, None, [], "group"),
    ("idle", view(node("a", idle_since=NOW - 999), node("b", idle_since=NOW - 999)), LIMITS, None, [], "group"),
    ("no node", view(of=group(desired=1)), LIMITS, None, [], "group"),
    # What is dead is ended, through the group, which starts another.
    ("dead", view(node("a", strikes=2, symptom="is stopped"), node("b")), LIMITS, None, ["end a"], "group"),
    ("fenced", view(node("a", fenced=True), node("b")), LIMITS, None, ["end a"], "group"),
    (
        "useless",
        view(node("a", unable="rebalance recommended", idle_since=NOW - 99)),
        LIMITS,
        None,
        ["drain a"],
        "group",
    ),
    ("drained", view(node("a", draining=True, finished=True)), LIMITS, None, ["end a"], "group"),
    # Machines beside the group are drained, busy ones after their task; and count.
    (
        "stray",
        view(node("a"), node("x", busy=1, grouped=False), of=group("a", most=3)),
        LIMITS,
        None,
        ["drain x"],
        "stray",
    ),
    (
        "counts",
        view(node("a"), node("x", draining=True, grouped=False), of=group("a")),
        LIMITS,
        None,
        ["bound 1 3"],
        "bounds",
    ),
    # Bounds
    ("settings", view(node("a"), of=group("a", least=0, most=9)), LIMITS, None, ["bound 1 4"], "bounds"),
    ("by hand", view(node("a")), LIMITS, 3, ["bound 3 3"], "bounds"),
    ("by hand, there", view(node("a"), of=group("a", least=3, most=3)), LIMITS, 3, [], "group"),
    ("by hand, none", view(node("a", busy=1)), LIMITS, 0, ["bound 0 0"], "bounds"),
    ("by hand, too many", view(node("a")), LIMITS, 9, ["bound 4 4"], "bounds"),
    # The budget: shut gracefully, whatever was wished by hand; open again the next day.
    ("spent", view(node("a", busy=1), spent_today=9.99, price_per_hour=1.0), BUDGET, None, ["bound 0 0"], "bounds"),
    ("shut", view(node("a"), budget_shut=True, price_per_hour=1.0), BUDGET, 2, ["bound 0 0"], "bounds"),
    ("no price", view(node("a")), BUDGET, None, ["bound 0 0"], "bounds"),
    ("new day", view(of=group(least=0, most=0), price_per_hour=1.0), BUDGET, None, ["bound 1 4"], "bounds"),
    ("nearly", view(node("a"), spent_today=9.9, price_per_hour=1.0), BUDGET, None, ["bound 1 1"], "bounds"),
    # Nodes that die at birth: no more of them for a while.
    ("stillborn", view(node("a"), stillborn=3, last_stillborn=NOW - 1), LIMITS, None, ["bound 1 1"], "bounds"),
]


@pytest.mark.parametrize(
    ("seen", "limits", "size", "actions", "rule"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_the_watchdog_of_a_group_does(
    seen: View, limits: Limits, size: int | None, actions: list[str], rule: str
) -> None:
    decision = decided(seen, limits, size)
    assert (did(decision), decision.rule.partition("-")[0]) == (actions, rule)


def test_nothing_is_done_on_a_guess() -> None:
    unseen = View((node("a", strikes=2),), grouped=True)
    assert (decided(unseen).actions, decided(unseen).rule) == ((), "hold")
    assert decided(replace(view(), nodes=None)).actions == ()


def test_the_reason_says_what_the_group_wants_and_why_it_has_less() -> None:
    trouble = "Could not launch Spot Instances. UnfulfillableCapacity (12:00:00 UTC)"
    seen = view(node("a"), of=group("a", desired=3, troubles=(trouble,)))
    reason = decided(seen).reason
    assert decided(seen).rule == "group-3", "so that a size that the alarms changed is written to the log"
    assert "3 wanted of 1 to 4, 1 there" in reason
    assert trouble in reason
    assert notable(seen)["group_troubles"] == [trouble]
    leaving = Group(1, 4, 1, (Member("a"), Member("b", "Terminating:Wait")))
    assert leaving.text == "1 wanted of 1 to 4, 1 there, 1 leaving"


KEEP = replace(LIMITS, keep_failed=True)
FAILED, SAID = node("x", fenced=True), node("x", fenced=True, kept=True)
ALONE = node("x", fenced=True, kept=True, grouped=False)
ROOM = group("a", "x", desired=2)
FULL_GROUP = group("a", "b", "c", "x")
FULL_NODES = (node("a"), node("b"), node("c"))


@pytest.mark.parametrize(
    ("seen", "limits", "size", "actions"),
    [
        # It leaves the group, which starts another: four in all, of which the group may have three.
        (view(node("a"), FAILED, of=ROOM), KEEP, None, ["keep x", "detach x", "bound 1 3"]),
        (view(node("a"), ALONE, of=group("a", desired=2, most=3)), KEEP, None, []),
        # Tried again until it is out.
        (view(node("a"), SAID, of=ROOM), KEEP, None, ["detach x", "bound 1 3"]),
        # No room for another: the group shrinks by it, and chooses no machine itself.
        (view(*FULL_NODES, FAILED, of=FULL_GROUP), KEEP, None, ["keep x", "detach x smaller", "bound 1 3"]),
        # Its least is in the way of that, and is lowered first; with a smaller most it would end another meanwhile.
        (view(*FULL_NODES, SAID, of=replace(FULL_GROUP, least=4)), KEEP, 4, ["bound 3 4"]),
        (view(*FULL_NODES, SAID, of=replace(FULL_GROUP, least=3)), KEEP, 4, ["detach x smaller", "bound 3 3"]),
        # Two of them, and room for one more.
        (
            view(node("a"), SAID, node("y", fenced=True, kept=True), of=group("a", "x", "y")),
            KEEP,
            None,
            ["detach x smaller", "detach y", "bound 1 2"],
        ),
        # It boots, or leaves, or is the group's to end: then it is not taken out, and one that ends is not kept.
        (view(node("a"), SAID, of=Group(1, 3, 2, (Member("a"), Member("x", "Pending")))), KEEP, None, []),
        (view(node("a"), SAID, of=Group(1, 3, 2, (Member("a"), Member("x", "Detaching")))), KEEP, None, []),
        (
            view(node("a"), SAID, of=Group(1, 4, 1, (Member("a"), Member("x", "Terminating:Wait")))),
            KEEP,
            None,
            ["end x"],
        ),
        # Nothing of it without the setting, nor when the day's money is short.
        (view(node("a"), ALONE, of=group("a", most=3)), LIMITS, None, ["end x", "bound 1 4"]),
        (
            view(node("a"), ALONE, of=group("a", most=3), spent_today=9.99, price_per_hour=1.0),
            replace(KEEP, budget_per_day=10.0),
            None,
            ["end x", "bound 0 0"],
        ),
        # Its mark is removed: it works, but is none of the group's any more.
        (view(node("a"), node("x", grouped=False), of=group("a", most=3)), KEEP, None, ["drain x"]),
    ],
)
def test_what_failed_is_taken_out_of_the_group_to_be_looked_at(
    seen: View, limits: Limits, size: int | None, actions: list[str]
) -> None:
    decision = decided(seen, limits, size)
    smaller = {f"detach {a.node}" for a in decision.actions if isinstance(a, Detach) and a.smaller}
    told = [f"{line} smaller" if line in smaller else line for line in did(decision)]
    assert sorted(told) == sorted(actions)


states = st.sampled_from(["InService", "Pending", "Terminating:Wait"])


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), states), max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
    st.one_of(st.none(), st.integers(0, 9)),
    st.floats(0, 20),
    st.booleans(),
)
def test_it_never_launches_nor_ends_a_busy_node_nor_passes_the_bounds(
    drawn: list[tuple[bool, bool, bool, str]], least: int, more: int, size: int | None, spent: float, keep: bool
) -> None:
    limits = Limits(min_nodes=least, max_nodes=least + more, budget_per_day=10.0, keep_failed=keep)
    nodes = [
        node(f"n{i}", busy=int(busy), fenced=fenced, grouped=ours) for i, (busy, fenced, ours, _) in enumerate(drawn)
    ]
    members = tuple(Member(f"n{i}", state) for i, (_, _, ours, state) in enumerate(drawn) if ours)
    seen = view(*nodes, of=Group(least, least + more, least, members), spent_today=spent, price_per_hour=1.0)
    busy = {each.id for each in nodes if each.busy}
    actions = decided(seen, limits, size).actions
    ended = {action.node for action in actions if isinstance(action, Terminate)}
    assert not ended & busy
    left = [each for each in nodes if each.id not in ended]
    out = {action.node for action in actions if isinstance(action, Detach)}
    assert out <= {each.id for each in nodes if each.fenced and keep}
    smaller = sum(isinstance(action, Detach) and action.smaller for action in actions)
    assert smaller == 0 or least - smaller >= seen.group.least, "AWS would refuse it"  # type: ignore[union-attr]
    beside = sum(not each.grouped or each.id in out for each in left)
    for action in actions:
        assert not isinstance(action, Launch)
        if isinstance(action, Bound):
            assert 0 <= action.least <= action.most <= limits.max_nodes
            # Together with the machines beside it, the group may have no more than the settings allow; it is left as
            # it is while what is kept must leave it first.
            waits = keep and not out and action.most == seen.group.most  # type: ignore[union-attr]
            assert waits or action.most <= max(limits.max_nodes - beside, len(left) - beside)


@pytest.mark.parametrize(
    ("seen", "jobs", "tasks", "work", "metrics"),
    [
        (group(desired=0), 0, 0, 0.0, {JOBS: 0, NO_NODE: 0}),
        (group(desired=0), 2, 9, 90.0, {JOBS: 2, NO_NODE: 2}),
        # A message of the older form is a job to be, and wakes a node that makes one of it.
        (group(desired=0), 0, 1, 10.0, {JOBS: 1, NO_NODE: 1}),
        # The first is on its way: no second one is woken, and there is none to divide by.
        (group(desired=1), 2, 9, 90.0, {JOBS: 2, NO_NODE: 0}),
        (group("a"), 2, 9, 90.0, {JOBS: 2, NO_NODE: 0, BACKLOG: 45.0}),
        (group("a", "b", "c"), 2, 9, 90.0, {JOBS: 2, NO_NODE: 0, BACKLOG: 15.0}),
        (
            Group(0, 4, 1, (Member("a"), Member("b", "Terminating:Wait"))),
            1,
            9,
            90.0,
            {JOBS: 1, NO_NODE: 0, BACKLOG: 45.0},
        ),
    ],
)
def test_what_is_published_for_the_alarms(
    seen: Group, jobs: int, tasks: int, work: float, metrics: dict[str, float]
) -> None:
    found = published(seen, jobs, tasks, work, slots=2)
    assert {group or name: value for (name, group), value in found.items()} == metrics


def test_owners_are_told_that_the_group_is_full() -> None:
    nodes = [node(f"i-{n}", busy=1) for n in range(4)]
    told = decided(view(*nodes, of=group(*(each.id for each in nodes))))
    assert told.told == ""
    full = replace(view(*nodes, of=group(*(each.id for each in nodes))), visible=9)
    assert decided(full).told == "the fleet has as many machines as it may, 4 ([FLEET] max_nodes)"
