"""Each policy by table: a fleet and a queue, and what is decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleet_views import NOW

from minimoto.core.fleet import Drain, Keep, Launch, Terminate, decide, next_look
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.policies import choose
from minimoto.errors import ConfigError

LIMITS = Limits(
    min_nodes=1,
    max_nodes=8,
    target_seconds=300,
    boot_seconds=120,
    task_seconds=30,
    cooldown=300,
    pass_seconds=1e-9,
)


def idle(id: str = "a", since: float = 1000, **changes: Any) -> Node:
    node = Node(id, launched=NOW - 5000, healthy=True, cpu=1.0, reported=True, heartbeat=5, slots=1)
    return replace(node, idle_since=NOW - since, **changes)


def busy(id: str = "b", **changes: Any) -> Node:
    return replace(idle(id, busy=1, progress=1.0, cpu=90.0), idle_since=None, **changes)


def booting(id: str = "c", age: float = 60, **changes: Any) -> Node:
    return Node(id, launched=NOW - age, **changes)


def job(id: str, tasks: int, age: float, **changes: Any) -> JobView:
    return replace(JobView(id, tasks, created=NOW - age), **changes)


def queue(*nodes: Node, visible: int | None = 0, in_flight: int | None = 0, **changes: Any) -> View:
    return replace(View(nodes, visible, in_flight, 0, token="t"), **changes)


def did(view: View, name: str = "target", limits: Limits = LIMITS, size: int | None = None) -> tuple[list[str], str]:
    decision = decide(view, choose(name, limits, size), NOW)
    short = {Launch: "launch", Drain: "drain", Terminate: "end", Keep: "keep"}
    return (
        [f"{short[type(a)]} {a.count if isinstance(a, Launch) else a.node}" for a in decision.actions],
        decision.rule,
    )


CLASSIC = [
    (queue(), ["launch 1"], "none"),
    (queue(visible=9), ["launch 1"], "none"),
    (queue(idle(state="stopped")), ["end a", "launch 1"], "crashed"),
    (queue(idle("a", healthy=False), idle("b", state="stopped"), visible=9), ["end a", "launch 1"], "crashed"),
    (queue(busy("a", healthy=False), in_flight=1), ["end a", "launch 1"], "crashed"),
    (queue(idle(fenced=True)), ["end a", "launch 1"], "crashed"),
    (queue(idle("a", draining=True)), ["launch 1"], "none"),
    (queue(busy(), visible=1, in_flight=1), ["launch 1"], "visible"),
    (queue(booting(), visible=1), ["launch 1"], "visible"),
    (queue(*(busy(f"b{n}") for n in range(8)), visible=1), [], "limit"),
    (queue(idle("a"), idle("b"), in_flight=1), [], "in-flight"),
    (queue(idle("a"), idle("b"), idle("c")), ["drain a", "drain b"], "drain"),
    (queue(idle("a", cpu=5.0), idle("b")), ["drain a"], "drain"),
    (queue(idle("a", cpu=5.1), idle("b")), [], "cpu"),
    (queue(idle("a", cpu=None), idle("b")), [], "hold"),
    (queue(busy("a", cpu=0.0), idle("b"), idle("c")), ["drain b", "drain c"], "drain"),
    (queue(busy("a", cpu=0.0), busy("b", cpu=0.0)), [], "drain"),
    (queue(idle("a"), visible=None), [], "hold"),
    (queue(idle("a"), idle("b"), in_flight=None), [], "hold"),
    (queue(idle("a"), idle("b"), reports_known=False), [], "hold"),
    (queue(idle("a", draining=True, finished=True), idle("b")), ["end a"], "steady"),
    (queue(idle()), [], "steady"),
]


@pytest.mark.parametrize(("view", "actions", "rule"), CLASSIC)
def test_classic(view: View, actions: list[str], rule: str) -> None:
    assert did(view, "classic") == (actions, rule)


TARGET = [
    # Size: (300 s − 120 s of boot) a new node, 300 s a running one, 30 s a task.
    (queue(), ["launch 1"], "min"),
    (queue(idle()), [], "steady"),
    (queue(idle(), visible=10), [], "steady"),
    (queue(idle(), visible=11), ["launch 1"], "launch"),
    (queue(idle(), visible=16), ["launch 1"], "launch"),
    (queue(idle(), visible=17), ["launch 2"], "launch"),
    (queue(busy(), visible=10, in_flight=1), ["launch 1"], "launch"),
    (queue(busy(), visible=9, in_flight=2), [], "steady"),
    (queue(idle(), visible=100_000), ["launch 7"], "launch"),
    (queue(*(busy(f"b{n}") for n in range(8)), visible=1000), [], "limit"),
    (queue(idle(), visible=2, delayed=9), ["launch 1"], "launch"),
    # Booting nodes are credited with what is left after their boot; an overdue one with all of it.
    (queue(idle(), booting(age=0), visible=16), [], "steady"),
    (queue(idle(), booting(age=0), visible=17), ["launch 1"], "launch"),
    (queue(idle(), booting(age=60), visible=18), [], "steady"),
    (queue(idle(), booting(age=200), visible=20), [], "steady"),
    # Draining, leaving, fenced and dead nodes are no capacity; a suspect still is.
    (queue(idle(), idle("x", draining=True), visible=16), ["launch 1"], "launch"),
    (queue(idle(), idle("x", leaving=True), visible=16), ["launch 1"], "launch"),
    (queue(idle(), idle("x", strikes=1, symptom="?"), visible=16), [], "steady"),
    (queue(idle(), idle("x", strikes=2, symptom="is silent"), visible=16), ["end x", "launch 1"], "launch"),
    (queue(idle(), busy("x", strikes=2, symptom="is silent"), in_flight=1), ["end x"], "steady"),
    (queue(idle(), idle("x", fenced=True), visible=16), ["end x", "launch 1"], "launch"),
    (queue(idle(), busy("x", fenced=True), in_flight=1), ["drain x"], "steady"),
    (queue(idle(state="stopped")), ["launch 1"], "min"),
    (queue(idle(state="stopped", strikes=2, symptom="is stopped")), ["end a", "launch 1"], "min"),
    # Learnt times, slots, age and deadlines.
    (queue(idle(), visible=2, seconds_per_task=300.0), ["launch 1"], "launch"),
    (queue(idle(), visible=2, seconds_per_task=3000.0), ["launch 1"], "launch"),
    (queue(idle(), visible=20, seconds_per_task=1.0), [], "steady"),
    (queue(idle(slots=4), visible=40, slots_per_node=4), [], "steady"),
    (queue(idle(slots=4), visible=64, slots_per_node=4), ["launch 1"], "launch"),
    (queue(idle(), visible=10, oldest=100.0), ["launch 2"], "launch"),
    (queue(idle(), visible=10, jobs=(JobView("j", 10, deadline=NOW + 200),)), ["launch 2"], "launch"),
    (queue(idle(), visible=10, jobs=(JobView("j", 10, 1, NOW + 320),)), ["launch 1"], "launch"),
    (queue(idle(), visible=10, jobs=(JobView("j", 10, deadline=NOW - 1),)), [], "steady"),
    (queue(idle(), visible=10, jobs=(JobView("j", 10, deadline=NOW + 9999),)), [], "steady"),
    # Each job has its own time; those that are due first come first, and nothing is asked of the queue's counts.
    (queue(idle(), visible=99, jobs=(job("a", 10, 0),)), [], "steady"),
    (queue(idle(), jobs=(job("a", 11, 0),)), ["launch 1"], "launch"),
    (queue(idle(), visible=None, jobs=(job("a", 11, 0),)), ["launch 1"], "launch"),
    (queue(idle(), jobs=(job("a", 5, 150), job("b", 5, 0))), [], "steady"),
    (queue(idle(), jobs=(job("a", 6, 150), job("b", 5, 0))), ["launch 1"], "launch"),
    (queue(idle(), jobs=(job("b", 90, 0), job("a", 1, 299))), ["launch 7"], "launch"),
    (queue(idle(), jobs=(job("a", 12, 0, deadline=NOW + 360),)), [], "steady"),
    (queue(idle(), jobs=(job("a", 13, 0, deadline=NOW + 360),)), ["launch 1"], "launch"),
    (queue(busy(), jobs=(job("a", 10, 0),)), [], "steady"),
    # Three films behind a hundred quick tasks: each is as long as its step says.
    (
        queue(idle(), visible=3, seconds_per_task=1.0, jobs=(JobView("j", 3, seconds_left=600.0),)),
        ["launch 2"],
        "launch",
    ),
    (queue(idle(), visible=3, seconds_per_task=1.0, jobs=(JobView("j", 3, seconds_left=3.0),)), [], "steady"),
    # Scale-in: idle for the cooldown, not needed, never below the least, never while something is unknown.
    (queue(idle("a"), idle("b", 2000), idle("c", 3000)), ["drain c", "drain b"], "drain"),
    (queue(idle("a", 299), idle("b", 299)), [], "cooldown"),
    (queue(idle("a", 299), idle("b", 300)), ["drain b"], "drain"),
    (queue(idle("a"), idle("b"), last_scale_out=NOW - 200), [], "cooldown"),
    (queue(idle("a"), busy("b"), in_flight=1), ["drain a"], "drain"),
    (queue(busy("a"), busy("b"), in_flight=2), [], "steady"),
    (queue(idle("a"), idle("b"), visible=7), [], "steady"),
    (queue(idle("a"), idle("b"), visible=6), ["drain a"], "drain"),
    (queue(idle("a"), idle("b", strikes=1, symptom="?")), [], "steady"),
    (queue(idle("a"), booting("b")), [], "steady"),
    (queue(idle("a"), idle("b"), visible=None), [], "hold"),
    (queue(idle("a"), idle("b"), in_flight=None), [], "hold"),
    (queue(idle("a"), idle("b"), delayed=None), [], "hold"),
    (queue(idle("a"), idle("b"), reports_known=False), [], "hold"),
    (queue(visible=None), ["launch 1"], "min"),
    (queue(*(idle(f"{n}", 10 + n) for n in range(10))), ["drain 9", "drain 8"], "drain"),
    # A drained node is ended when its services say that they hold nothing; not before.
    (queue(idle("a", draining=True, finished=True), idle("b")), ["end a"], "steady"),
    (queue(idle("a", draining=True, finished=False), idle("b")), [], "steady"),
    (queue(busy("a", draining=True), idle("b"), in_flight=1), [], "steady"),
    (queue(idle("a", leaving=True, finished=True), idle("b")), [], "steady"),
    # A node that takes no work is no capacity; once it has been idle for the cooldown it makes room.
    (queue(idle("a", 10, unable="the disk is full"), visible=5), ["launch 1"], "launch"),
    (queue(idle("a", unable="the disk is full"), visible=5), ["drain a", "launch 1"], "launch"),
    (queue(busy("b", unable="the disk is full"), idle("a"), in_flight=1), [], "steady"),
    # Nodes that die at birth, one after another, are not launched for ever.
    (queue(visible=5, stillborn=2, last_stillborn=NOW - 200), [], "limit"),
    (queue(visible=5, stillborn=2, last_stillborn=NOW - 241), ["launch 1"], "launch"),
    (queue(visible=5, stillborn=1, last_stillborn=NOW), ["launch 1"], "launch"),
]


@pytest.mark.parametrize(("view", "actions", "rule"), TARGET)
def test_target(view: View, actions: list[str], rule: str) -> None:
    assert did(view) == (actions, rule)


def test_scale_to_zero_and_back() -> None:
    none = replace(LIMITS, min_nodes=0)
    assert did(queue(idle()), limits=none) == (["drain a"], "drain")
    assert did(queue(), limits=none) == ([], "steady")
    assert did(queue(visible=1), limits=none) == (["launch 1"], "launch")
    assert did(queue(idle(), in_flight=1), limits=none) == ([], "steady")


KEEP = replace(LIMITS, keep_failed=True)


@pytest.mark.parametrize("name", ["target", "classic"])
def test_a_node_that_took_itself_out_is_replaced_and_may_be_kept_for_a_look(name: str) -> None:
    failed = idle("x", fenced=True)
    assert did(queue(failed), name)[0] == ["end x", "launch 1"]
    assert did(queue(failed), name, KEEP)[0] == ["keep x", "launch 1"]
    assert did(queue(failed, idle("a")), name, KEEP)[0] == ["keep x"]
    said = replace(failed, kept=True)
    assert did(queue(said, idle("a")), name, KEEP)[0] == []
    # Whatever becomes of it, it stays until a person ends it; a crash elsewhere is replaced all the same.
    stopped = replace(said, strikes=2, symptom="is stopped", state="stopped")
    assert did(queue(stopped, idle("a")), name, KEEP)[0] == []
    crashed = idle("b", strikes=2, symptom="is stopped", state="stopped")
    assert did(queue(said, crashed), name, KEEP)[0] == ["end b", "launch 1"]
    full = [busy(f"b{n}") for n in range(7)]
    assert did(queue(said, *full, visible=999, in_flight=7), "target", KEEP) == ([], "limit")
    reason = decide(queue(said, idle("a")), choose(name, KEEP), NOW).reason
    assert reason.endswith("; kept to be looked at: x")


def test_a_kept_node_ends_before_the_days_budget_is_passed() -> None:
    poor = replace(KEEP, budget_per_day=10.0, pass_seconds=60.0)
    money = {"price_per_hour": 1.0, "seconds_per_task": 30.0}
    said = idle("x", fenced=True, kept=True)
    assert did(queue(said, idle("a"), spent_today=9.0, **money), limits=poor)[0] == []
    assert "end x" in did(queue(said, idle("a"), spent_today=9.95, **money), limits=poor)[0]


def test_a_kept_node_is_no_reason_to_look_sooner() -> None:
    view = queue(idle("x", fenced=True, kept=True), idle("a"), jobs=())
    slow = replace(KEEP, pass_seconds=60.0)
    assert next_look(view, decide(view, choose("target", slow), NOW), slow) == 60.0


def test_what_the_hours_of_the_day_keep_is_said_while_it_is_them() -> None:
    warm = replace(LIMITS, min_nodes=2, warm="warm keeps 2")
    for view in (queue(), queue(idle("a"), idle("b")), queue(idle("a", 1), booting("b"), visible=1)):
        assert decide(view, choose("target", warm), NOW).reason.endswith("; warm keeps 2")
    for view in (queue(idle("a"), idle("b"), idle("c")), queue(*(busy(str(n)) for n in range(3)), visible=9)):
        assert "warm" not in decide(view, choose("target", warm), NOW).reason


BUDGET = replace(LIMITS, budget_per_day=10.0, pass_seconds=60)
MONEY = {"price_per_hour": 1.0, "seconds_per_task": 30.0}


@pytest.mark.parametrize(
    ("view", "actions", "rule", "says"),
    [
        # A node that is launched costs its boot and its end at least: 420 s, $0.117.
        (queue(spent_today=9.88, **MONEY), ["launch 1"], "min", "at least 1 node, there are 0"),
        (queue(spent_today=9.89, **MONEY), [], "limit", "$9.89 of today's $10.00 are spent"),
        (queue(idle(), visible=900, spent_today=9.5, **MONEY), ["launch 3"], "launch", "447 more wanted, 3 started"),
        (queue(busy(), in_flight=1, spent_today=9.91, **MONEY), [], "steady", "enough"),
        (
            queue(busy(), in_flight=1, spent_today=9.92, **MONEY),
            ["drain b"],
            "budget",
            "nothing starts before midnight",
        ),
        (queue(visible=9, budget_shut=True, **MONEY), [], "budget", "nothing starts before midnight"),
        (queue(visible=9), [], "limit", "price_per_hour"),
    ],
)
def test_the_budget_binds_and_says_so(view: View, actions: list[str], rule: str, says: str) -> None:
    assert did(view, limits=BUDGET) == (actions, rule)
    assert says in decide(view, choose("target", BUDGET), NOW).reason


FIXED = [
    (queue(idle("a")), 3, ["launch 2"]),
    (queue(idle("a")), 1, []),
    (queue(idle("a"), visible=500), 0, ["drain a"]),
    (queue(busy("b"), idle("a", 5), idle("c", 50), booting("d")), 3, ["drain c"]),
    (queue(busy("b"), idle("a", 5), idle("c", 50), booting("d")), 1, ["drain c", "drain a", "drain d"]),
    (queue(busy("b"), idle("a"), in_flight=1), 0, ["drain a", "drain b"]),
    (queue(busy("b", draining=True), idle("a")), 2, ["launch 1"]),
    (queue(idle("a")), 50, ["launch 7"]),
    (queue(idle("a", strikes=2, symptom="is silent")), 1, ["end a", "launch 1"]),
    (queue(visible=None, in_flight=None), 2, ["launch 2"]),
]


@pytest.mark.parametrize(("view", "size", "actions"), FIXED)
def test_the_size_set_by_hand(view: View, size: int, actions: list[str]) -> None:
    assert did(view, size=size) == (actions, "by-hand")


def test_the_reason_is_in_words() -> None:
    view = queue(idle(), booting(age=0), visible=40, in_flight=2)
    assert decide(view, choose("target", LIMITS), NOW).reason == (
        "42 tasks of about 30 s take 1230 s of work: within 300 s that needs 7 nodes; there are 2, 1 of them booting"
    )
    quick = replace(queue(booting(age=0), visible=1), seconds_per_task=0.25)
    assert "1 task of about 0.25 s" in decide(quick, choose("target", LIMITS), NOW).reason
    dead = replace(view, nodes=(idle("i-1", strikes=2, symptom="has been silent for 130 s"),), visible=0)
    assert decide(dead, choose("target", LIMITS), NOW).reason.startswith("i-1 has been silent for 130 s; ")


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_nodes is 3 and max_nodes 2"):
        Limits(min_nodes=3, max_nodes=2)
    with pytest.raises(ConfigError, match="target_seconds is 0"):
        Limits(target_seconds=0)
    with pytest.raises(ConfigError, match="there are: asg, classic, target"):
        choose("clasic", LIMITS)


def test_of_idle_nodes_those_on_demand_go_first() -> None:
    fleet = queue(
        idle("a", market="spot"), idle("b", since=500), idle("c", since=900), idle("d", since=2000, market="spot")
    )
    assert did(fleet)[0] == ["drain c", "drain b", "drain d"]


@pytest.mark.parametrize(
    ("oldest", "jobless", "jobs", "does"),
    [
        (120.0, 120.0, (), ["launch 1"]),
        (119.0, 999.0, (), []),
        (999.0, 119.0, (), []),
        (None, 999.0, (), []),
        (999.0, None, (), []),
        (999.0, None, None, ["launch 8"]),
    ],
    ids=[
        "old messages",
        "new ones",
        "of a job that has just ended",
        "unknown",
        "of a job that ended now",
        "no jobs known",
    ],
)
def test_messages_of_no_live_job_get_a_node_that_clears_them_and_late_counts_get_none(
    oldest: float | None, jobless: float | None, jobs: tuple[JobView, ...] | None, does: list[str]
) -> None:
    since = None if jobless is None else NOW - jobless
    view = queue(visible=9, oldest=oldest, jobs=jobs, jobless_since=since)
    assert did(view, limits=replace(LIMITS, min_nodes=0))[0] == does
