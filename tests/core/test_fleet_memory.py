"""What the watchdog remembers: strikes, idle times, spending, launches under way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleet_views import NOW

from minimoto.core.fleet import Decision, Drain, Launch, Terminate, decide
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_memory import DAY, Memory, PendingLaunch, Strike, decided, launched, learn, refused
from minimoto.core.fleet_recall import dump, load
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.policies import choose

LIMITS = Limits(strike_seconds=60, boot_seconds=120)
READY = Node("a", launched=NOW - 5000, healthy=True, reported=True, heartbeat=5, slots=1)
MIDNIGHT = NOW - NOW % DAY


def look(memory: Memory, *nodes: Node, now: float = NOW, **changes: object) -> tuple[Memory, dict[str, Node]]:
    view = replace(View(nodes, 0, 0, 0), **changes)  # type: ignore[arg-type]
    memory, view = learn(memory, view, LIMITS, now)
    return memory, {node.id: node for node in view.nodes or ()}


BROKEN = [
    (replace(READY, state="stopped"), "is stopped"),
    (replace(READY, state="stopping"), "is stopping"),
    (replace(READY, healthy=False), "fails its status checks"),
    (replace(READY, heartbeat=61), "has been silent for 61 s"),
    (replace(READY, busy=1, progress=901), "is busy without progress for 901 s"),
    (Node("a", launched=NOW - 361), "has not reported within 361 s of its launch"),
]


@pytest.mark.parametrize(("node", "symptom"), BROKEN)
def test_two_strikes_some_time_apart_make_a_node_dead(node: Node, symptom: str) -> None:
    policy = choose("target", LIMITS)
    memory, seen = look(Memory(), node)
    assert (seen["a"].strikes, seen["a"].symptom) == (1, symptom)
    assert not policy.dead(View(tuple(seen.values())))
    at_once, seen = look(memory, node, now=NOW + 1)
    assert seen["a"].strikes == 1
    _, seen = look(at_once, node, now=NOW + 60)
    assert seen["a"].strikes == 2
    assert "a" in policy.dead(View(tuple(seen.values())))


@pytest.mark.parametrize("node", [node for node, _ in BROKEN if node.reported])
def test_a_good_look_between_clears_the_strike(node: Node) -> None:
    memory, _ = look(Memory(), node)
    memory, seen = look(memory, READY, now=NOW + 60)
    assert seen["a"].strikes == 0
    _, seen = look(memory, node, now=NOW + 120)
    assert seen["a"].strikes == 1


HEALTHY = [
    READY,
    replace(READY, heartbeat=59),
    replace(READY, healthy=None),
    replace(READY, busy=1, progress=899, cpu=0.0),
    replace(READY, busy=1, progress=None, cpu=None),
    replace(READY, busy=1, progress=1, cpu=0.0),
    Node("a", launched=NOW - 359),
    Node("a", state="pending", launched=NOW - 100),
    replace(READY, state="shutting-down", heartbeat=999),
]


@pytest.mark.parametrize("node", HEALTHY)
def test_what_is_no_symptom(node: Node) -> None:
    """Nor is a busy node with no CPU need: it waits for its GPU."""
    assert look(Memory(), node)[1]["a"].strikes == 0


def test_a_slow_kind_of_task_is_given_more_time_to_make_progress() -> None:
    memory = Memory(seconds_per_task=1000.0)
    assert look(memory, replace(READY, busy=1, progress=4999))[1]["a"].strikes == 0
    assert look(memory, replace(READY, busy=1, progress=5000))[1]["a"].strikes == 1


def test_without_heartbeats_to_look_at_nobody_is_called_silent_nor_forgiven() -> None:
    memory, _ = look(Memory(reported=("a",)), replace(READY, heartbeat=61))
    blind = replace(READY, reported=False, heartbeat=None, slots=0)
    memory, seen = look(memory, blind, now=NOW + 60, reports_known=False)
    assert (seen["a"].strikes, seen["a"].reported) == (1, True)
    assert look(Memory(), blind, reports_known=False)[1]["a"].strikes == 0
    assert look(Memory(), replace(blind, state="stopped"), reports_known=False)[1]["a"].strikes == 1
    assert look(memory, replace(READY, heartbeat=121), now=NOW + 120)[1]["a"].strikes == 2


def test_idle_is_counted_from_the_first_idle_look_and_from_the_last_work() -> None:
    memory, seen = look(Memory(), READY)
    assert seen["a"].idle_since == NOW
    memory, seen = look(memory, READY, now=NOW + 60)
    assert seen["a"].idle_since == NOW
    worked, seen = look(memory, replace(READY, idle_since=NOW + 90), now=NOW + 120)
    assert seen["a"].idle_since == NOW + 90
    blind, seen = look(worked, READY, now=NOW + 180, reports_known=False)
    assert seen["a"].idle_since is None
    assert look(blind, READY, now=NOW + 240)[1]["a"].idle_since == NOW + 90
    at_work, seen = look(blind, replace(READY, busy=1), now=NOW + 240)
    assert seen["a"].idle_since is None
    assert look(at_work, READY, now=NOW + 300)[1]["a"].idle_since == NOW + 300


def test_money_is_counted_while_machines_run_and_starts_anew_at_midnight() -> None:
    price = {"price_per_hour": 3600.0}
    memory, _ = look(Memory(), replace(READY, launched=MIDNIGHT - 100), now=MIDNIGHT + 10, **price)
    assert memory.spent == 10
    memory, _ = look(memory, replace(READY, launched=MIDNIGHT - 100), Node("b", launched=MIDNIGHT + 15),
                     now=MIDNIGHT + 20, **price)  # fmt: skip
    assert memory.spent == 10 + 10 + 5
    memory, _ = look(memory, replace(READY, state="stopped"), now=MIDNIGHT + 30, **price)
    assert memory.spent == 25 + 20
    memory, _ = look(memory, replace(READY, state="stopped"), now=MIDNIGHT + 40, **price)
    assert memory.spent == 45
    later, _ = look(replace(memory, known={"a": 0.0}), READY, now=MIDNIGHT + DAY + 7, **price)
    assert (later.spent, later.day - memory.day) == (7, 1)


def test_a_pass_that_saw_no_machines_is_made_up_for_by_the_next() -> None:
    node = replace(READY, launched=MIDNIGHT)
    memory, _ = look(Memory(), node, now=MIDNIGHT + 10, price_per_hour=3600.0)
    blind, view = learn(memory, View(None, price_per_hour=3600.0), LIMITS, MIDNIGHT + 20)
    assert blind == memory
    assert view.spent_today == memory.spent
    assert look(blind, node, now=MIDNIGHT + 30, price_per_hour=3600.0)[0].spent == 30


def test_boot_and_task_times_are_learnt() -> None:
    memory, _ = look(Memory(), Node("a", launched=NOW))
    memory, _ = look(memory, replace(READY, launched=NOW, heartbeat=10), now=NOW + 100, seconds_per_task=20.0)
    assert (memory.boot_seconds, memory.seconds_per_task) == (90, 20)
    memory, _ = look(memory, replace(READY, launched=NOW), Node("b", launched=NOW + 100), now=NOW + 110)
    assert (memory.boot_seconds, memory.seconds_per_task) == (90, 20)
    second = replace(READY, id="b", launched=NOW + 100, heartbeat=0)
    memory, _ = look(memory, second, now=NOW + 150, seconds_per_task=40.0)
    assert (memory.boot_seconds, memory.seconds_per_task) == (70, 30)
    assert look(Memory(), READY)[0].boot_seconds is None


def test_a_launch_is_remembered_before_the_call_and_keeps_its_token_until_it_is_resolved() -> None:
    memory = Memory(nonce="n")
    view = View((), 5, 0, 0, token=memory.token)
    decision = decide(view, choose("target", LIMITS), NOW)
    assert decision.actions == (Launch(1, decision.reason, "n-1"),)
    begun = decided(memory, view, decision, NOW)
    assert (begun.pending, begun.token) == (PendingLaunch("n-1", 1, NOW), "n-1")
    # Killed before the call, or the call's outcome is unknown: the next pass says the same token.
    unknown, _ = look(begun, now=NOW + 60)
    assert unknown.token == "n-1"
    # Killed after the call: its nodes are found by the token.
    found, seen = look(begun, Node("i-9", state="pending", launched=NOW, token="n-1"), now=NOW + 60)
    assert (found.pending, found.token, found.last_scale_out, len(seen)) == (None, "n-2", NOW, 1)
    assert launched(begun, ["i-9"], NOW + 1).token == "n-2"
    assert (refused(begun).pending, refused(begun).token) == (None, "n-2")
    assert look(begun, now=NOW + 601)[0].pending is None


def test_a_node_not_listed_yet_is_believed_in_for_a_while() -> None:
    memory = launched(Memory(pending=PendingLaunch("t", 1, NOW)), ["i-9"], NOW)
    memory, seen = look(memory, READY, now=NOW + 60)
    assert (seen["i-9"].condition, seen["i-9"].launched) == ("booting", NOW)
    listed, seen = look(memory, Node("i-9", launched=NOW), now=NOW + 90)
    assert (len(seen), dict(listed.launched)) == (1, {})
    assert "i-9" not in look(memory, READY, now=NOW + 301)[1]


def test_a_node_that_was_ended_before_it_was_listed_is_not_waited_for() -> None:
    memory, seen = look(launched(Memory(pending=PendingLaunch("t", 1, NOW)), ["i-9"], NOW), now=NOW + 200)
    ended = Decision((Terminate("i-9", "has not reported", dead=True),), "", "")
    memory = decided(memory, View(tuple(seen.values())), ended, NOW + 200)
    assert memory.stillborn == 1
    assert look(memory, now=NOW + 215)[1] == {}


def test_since_when_no_job_has_had_a_task_is_remembered() -> None:
    memory, _ = look(Memory(), jobs=(JobView("a", 0),))
    assert memory.jobless_since == NOW
    later, view = learn(memory, View((), jobs=()), LIMITS, NOW + 60)
    assert (later.jobless_since, view.jobless_since) == (NOW, NOW)
    for jobs in ((JobView("a", 1),), None):
        assert look(later, now=NOW + 90, jobs=jobs)[0].jobless_since is None


def test_drains_are_remembered_while_the_node_is_there() -> None:
    memory = decided(Memory(), View((READY,)), Decision((Drain("a", "idle"),), "", ""), NOW)
    memory, seen = look(memory, READY)
    assert (seen["a"].draining, memory.last_scale_in) == (True, NOW)
    assert not look(memory)[0].draining


def test_nodes_that_die_without_a_word_are_counted_until_one_reports() -> None:
    newborn = Node("a", launched=NOW - 900, strikes=2)
    end = Decision((Terminate("a", "has not reported", dead=True),), "", "")
    memory = decided(decided(Memory(), View((newborn,)), end, NOW), View((newborn,)), end, NOW + 1)
    assert (memory.stillborn, memory.last_stillborn) == (2, NOW + 1)
    assert decided(Memory(), View((READY,)), end, NOW).stillborn == 0
    memory, _ = look(memory, Node("b", launched=NOW), now=NOW + 2)
    assert memory.stillborn == 2
    assert look(memory, replace(READY, id="b"), now=NOW + 100)[0].stillborn == 0


def test_a_spent_budget_is_remembered_for_its_day() -> None:
    memory = decided(Memory(), View(()), Decision((), "", "", budget_shut=True), MIDNIGHT + 5)
    assert learn(memory, View(()), LIMITS, MIDNIGHT + DAY - 1)[1].budget_shut
    assert not learn(memory, View(()), LIMITS, MIDNIGHT + DAY)[1].budget_shut


def test_the_memory_survives_being_written_down() -> None:
    memory = Memory(
        nonce="n",
        launches=3,
        pending=PendingLaunch("n-4", 2, NOW),
        launched={"i-1": NOW},
        known={"a": NOW},
        reported=("a",),
        strikes={"a": Strike(1, NOW, "is stopped")},
        draining={"a": "idle"},
        scale_to=0,
        dead_letters={"m": ("not JSON", NOW)},
    )
    assert load(dump(memory)) == memory
    assert load("") == Memory()
    assert load("{}") == Memory()
    for text in ("[]", '{"x": 1}', "{", '{"strikes": {"a": 1}}', '{"dead_letters": {"a": 1}}'):
        with pytest.raises(ValueError):
            load(text)
