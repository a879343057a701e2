"""Documents and task records: the same answers in memory and on DynamoDB."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from minimoto.core.job import Entry, Job, JobState, Location, Stage
from minimoto.core.task import ClaimOutcome, Skipped, Task, TaskKey, TaskResult, TaskState
from minimoto.errors import Conflict, LeaseLost, NotFound

NOW = 1_800_000_000.123456
LEASE = 30.0
RESULT = TaskResult(outputs=("000000-a.jpg", "000001-ü.jpg"), skipped=(Skipped("b.jpg", "not a picture"),))


def a_job(id: str = "", **fields: Any) -> Job:
    """A document with something in every field."""
    id = id or f"trip-{uuid.uuid4().hex[:8]}"
    given = {
        "name": "Føroyar 2025 🐑",
        "owner": "ana@laptop",
        "pipeline": 'fit | video:title="a | b"',
        "stages": (
            Stage("fit", {"size": "640x480"}, "photo", 3, 4, frozenset({0, 2}), 7, 1, True, NOW, None),
            Stage("video", {"title": "a | b", "music": ""}),
        ),
        "inputs": Location("in", f"{id}/"),
        "outputs": Location("out", ""),
        "created": NOW,
        "updated": NOW + 0.1 + 0.2,
        "upload_expires": NOW + 86400,
        "attachments": ("song.mp3",),
        "history": (Entry(NOW, "created", "x"), Entry(NOW, "task_failed", "why", 0, 3, 2, "i-1")),
        **fields,
    }
    return Job(id=id, **given)


def a_key() -> TaskKey:
    return TaskKey(f"trip-{uuid.uuid4().hex[:8]}", 1, 7)


def claimed(ports: Any, owner: str = "i-1/0/x", now: float = NOW) -> TaskKey:
    key = a_key()
    assert ports.jobs.claim(key, owner, now, LEASE).outcome is ClaimOutcome.OURS
    return key


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of ``count`` threads that start together."""
    start = threading.Barrier(count)

    def run(index: int) -> Any:
        start.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# Jobs


def test_a_new_job_is_version_1_and_reads_back_the_same(ports: Any) -> None:
    job = a_job()
    assert ports.jobs.create(job) == replace(job, version=1)
    assert ports.jobs.get(job.id) == replace(job, version=1)


def test_an_id_is_taken_once(ports: Any) -> None:
    job = ports.jobs.create(a_job(name="first"))
    with pytest.raises(Conflict, match=job.id):
        ports.jobs.create(replace(job, name="second"))
    assert ports.jobs.get(job.id).name == "first"


def test_a_job_that_is_not_there(ports: Any) -> None:
    with pytest.raises(NotFound, match="job nonesuch"):
        ports.jobs.get("nonesuch")
    with pytest.raises(Conflict, match="job nonesuch"):
        ports.jobs.save(a_job("nonesuch", version=1))


def test_save_counts_versions_and_refuses_an_old_one(ports: Any) -> None:
    job = ports.jobs.create(a_job())
    saved = ports.jobs.save(replace(job, photos=3))
    assert saved == replace(job, photos=3, version=2) == ports.jobs.get(job.id)
    with pytest.raises(Conflict, match="version 1"):
        ports.jobs.save(replace(job, photos=4))
    assert ports.jobs.get(job.id) == saved


def test_no_update_is_lost_when_ten_write_at_once(ports: Any) -> None:
    job = ports.jobs.create(a_job(photos=0))

    def add_one(_: int) -> int:
        conflicts = 0
        while True:
            read = ports.jobs.get(job.id)
            try:
                ports.jobs.save(replace(read, photos=read.photos + 1))
                return conflicts
            except Conflict:
                conflicts += 1

    conflicts = at_once(10, add_one)
    assert max(conflicts) < 50
    assert (ports.jobs.get(job.id).photos, ports.jobs.get(job.id).version) == (10, 11)


def test_live_jobs_are_those_that_have_not_ended(ports: Any, eventually: Any) -> None:
    jobs = [ports.jobs.create(a_job(created=NOW + number)) for number in range(4)]
    ports.jobs.save(replace(jobs[1], state=JobState.PROCESSING_FAILED))
    saved = ports.jobs.save(replace(jobs[2], state=JobState.BEING_PROCESSED))
    ours = {job.id for job in jobs}
    eventually(lambda: [job for job in ports.jobs.live() if job.id in ours], [jobs[0], saved, jobs[3]])


def test_ended_jobs_are_listed_until_they_are_closed(ports: Any, eventually: Any) -> None:
    jobs = [ports.jobs.create(a_job(created=NOW + number)) for number in range(4)]
    ours = {job.id for job in jobs}

    def unclosed() -> list[Job]:
        return [job for job in ports.jobs.unclosed() if job.id in ours]

    failed = ports.jobs.save(replace(jobs[1], state=JobState.PROCESSING_FAILED))
    cancelled = ports.jobs.save(replace(jobs[2], state=JobState.CANCELLED))
    ports.jobs.save(replace(jobs[3], state=JobState.CANCELLED, closed=True))
    eventually(unclosed, [failed, cancelled])
    ports.jobs.save(replace(failed, closed=True))
    eventually(unclosed, [cancelled])
    eventually(lambda: [job for job in ports.jobs.live() if job.id in ours], [jobs[0]])


def test_recent_jobs_come_newest_first_also_of_one_owner(ports: Any, eventually: Any) -> None:
    owner = f"ana-{uuid.uuid4().hex[:8]}"
    jobs = [ports.jobs.create(a_job(created=NOW + n, owner=owner if n % 2 else "bo", version=0)) for n in range(7)]
    ids = {job.id for job in jobs}
    newest = [job.id for job in reversed(jobs)]
    eventually(lambda: [job.id for job in ports.jobs.recent(1000) if job.id in ids], newest)
    assert ports.jobs.recent(2, owner) == [jobs[5], jobs[3]]
    assert ports.jobs.recent(10, "nobody") == []


def test_more_live_jobs_than_one_request_can_read(ports: Any, eventually: Any) -> None:
    jobs = [a_job(created=NOW + number) for number in range(105)]
    for job in jobs:
        ports.jobs.create(job)
    ids = {job.id for job in jobs}
    eventually(lambda: [job.id for job in ports.jobs.live() if job.id in ids], [job.id for job in jobs])


# Claims


def test_a_task_that_nobody_claimed_has_a_fresh_record(ports: Any) -> None:
    key = a_key()
    assert ports.jobs.task(key) == Task(key)
    assert ports.jobs.tasks(key.job, key.stage) == []


def test_the_first_claim_wins_and_is_recorded(ports: Any) -> None:
    key = a_key()
    claim = ports.jobs.claim(key, "i-1/0/x", NOW, LEASE)
    assert claim.outcome is ClaimOutcome.OURS
    assert claim.task == Task(
        key,
        TaskState.RUNNING,
        "i-1/0/x",
        NOW + LEASE,
        attempt=1,
        events=(Entry(NOW, "claimed", stage=1, task=7, attempt=1, node="i-1"),),
    )
    assert ports.jobs.task(key) == claim.task


@pytest.mark.parametrize("owner", ["i-2/0/y", "i-1/0/x"])
def test_a_claim_loses_against_a_running_lease_even_the_same_owners(ports: Any, owner: str) -> None:
    key = claimed(ports)
    before = ports.jobs.task(key)
    claim = ports.jobs.claim(key, owner, NOW + LEASE - 0.001, LEASE)
    assert (claim.outcome, claim.task) == (ClaimOutcome.BUSY, before)
    assert ports.jobs.task(key) == before


def test_a_lease_that_ended_is_taken_over_and_its_try_counts(ports: Any) -> None:
    key = claimed(ports)
    claim = ports.jobs.claim(key, "i-2/0/y", NOW + LEASE, LEASE)
    assert claim.outcome is ClaimOutcome.OURS
    assert (claim.task.owner, claim.task.attempt) == ("i-2/0/y", 2)
    assert [(e.what, e.attempt, e.node) for e in claim.task.events] == [("claimed", 1, "i-1"), ("claimed", 2, "i-2")]
    assert ports.jobs.task(key) == claim.task


def test_a_takeover_forgets_the_progress_of_the_try_before(ports: Any) -> None:
    key = claimed(ports)
    ports.jobs.renew(key, "i-1/0/x", NOW, LEASE, 0.5, "half")
    claim = ports.jobs.claim(key, "i-2/0/y", NOW + 2 * LEASE, LEASE)
    assert (claim.task.progress, claim.task.note) == (0.0, "")
    assert ports.jobs.task(key) == claim.task


@pytest.mark.parametrize("owners", [1, 20], ids=["one owner", "each its own"])
def test_of_twenty_claims_at_once_one_is_ours(ports: Any, owners: int) -> None:
    key = a_key()
    claims = at_once(20, lambda n: ports.jobs.claim(key, f"i-{n % owners}/0/x", NOW, LEASE))
    outcomes = sorted(claim.outcome for claim in claims)
    assert outcomes == [ClaimOutcome.BUSY] * 19 + [ClaimOutcome.OURS]
    (won,) = (claim.task for claim in claims if claim.outcome is ClaimOutcome.OURS)
    assert ports.jobs.task(key) == won
    assert all(claim.task == won for claim in claims)


def test_of_twenty_takeovers_at_once_one_is_ours(ports: Any) -> None:
    key = claimed(ports)
    claims = at_once(20, lambda n: ports.jobs.claim(key, f"i-{n + 2}/0/x", NOW + LEASE + 1, LEASE))
    assert sorted(claim.outcome for claim in claims) == [ClaimOutcome.BUSY] * 19 + [ClaimOutcome.OURS]
    assert ports.jobs.task(key).attempt == 2


def test_tasks_of_a_stage_come_in_order(ports: Any) -> None:
    job = a_key().job
    for stage, task in ((0, 11), (0, 2), (1, 0), (0, 0)):
        ports.jobs.claim(TaskKey(job, stage, task), "i-1/0/x", NOW, LEASE)
    assert [task.key.task for task in ports.jobs.tasks(job, 0)] == [0, 2, 11]
    assert [task.key.task for task in ports.jobs.tasks(job, 1)] == [0]
    assert ports.jobs.tasks(job, 2) == []


# The lease


def test_renewing_keeps_the_lease_and_shows_progress(ports: Any) -> None:
    key = claimed(ports)
    ports.jobs.renew(key, "i-1/0/x", NOW + 20, LEASE, 0.25, "photo 1 of 4")
    task = ports.jobs.task(key)
    assert (task.lease_until, task.progress, task.note) == (NOW + 20 + LEASE, 0.25, "photo 1 of 4")
    assert ports.jobs.claim(key, "i-2/0/y", NOW + LEASE, LEASE).outcome is ClaimOutcome.BUSY


def test_a_lease_that_ended_is_still_ours_until_somebody_takes_it(ports: Any) -> None:
    key = claimed(ports)
    ports.jobs.renew(key, "i-1/0/x", NOW + LEASE + 5, LEASE, 0.5, "")
    assert ports.jobs.claim(key, "i-2/0/y", NOW + LEASE + 5, LEASE).outcome is ClaimOutcome.BUSY
    assert ports.jobs.finish(key, "i-1/0/x", NOW + 3 * LEASE, 80.0, RESULT).state is TaskState.DONE


def test_finishing_records_the_result(ports: Any) -> None:
    key = claimed(ports)
    ports.jobs.renew(key, "i-1/0/x", NOW + 1, LEASE, 0.5, "half")
    done = ports.jobs.finish(key, "i-1/0/x", NOW + 2.5, 2.25, RESULT)
    assert done == Task(
        key,
        TaskState.DONE,
        attempt=1,
        progress=1.0,
        seconds=2.25,
        result=RESULT,
        events=(
            Entry(NOW, "claimed", stage=1, task=7, attempt=1, node="i-1"),
            Entry(NOW + 2.5, "done", "", 1, 7, 1, "i-1"),
        ),
    )
    assert ports.jobs.task(key) == done


def test_a_finished_task_is_claimed_by_nobody(ports: Any) -> None:
    key = claimed(ports)
    done = ports.jobs.finish(key, "i-1/0/x", NOW + 1, 1.0, RESULT)
    claim = ports.jobs.claim(key, "i-2/0/y", NOW + 1e6, LEASE)
    assert (claim.outcome, claim.task) == (ClaimOutcome.DONE, done)


def test_a_failed_try_frees_the_task_and_counts(ports: Any) -> None:
    key = claimed(ports)
    failed = ports.jobs.fail(key, "i-1/0/x", NOW + 1, "no memory", again=True)
    assert (failed.state, failed.owner, failed.error, failed.attempt) == (TaskState.PENDING, "", "no memory", 1)
    assert failed.events[-1] == Entry(NOW + 1, "failed", "no memory", 1, 7, 1, "i-1")
    assert ports.jobs.task(key) == failed
    again = ports.jobs.claim(key, "i-2/0/y", NOW + 1, LEASE)
    assert (again.outcome, again.task.attempt, again.task.error) == (ClaimOutcome.OURS, 2, "no memory")


def test_a_task_that_was_given_up_is_claimed_by_nobody(ports: Any) -> None:
    key = claimed(ports)
    failed = ports.jobs.fail(key, "i-1/0/x", NOW + 1, "bad parameter", again=False)
    claim = ports.jobs.claim(key, "i-2/0/y", NOW + 1e6, LEASE)
    assert (claim.outcome, claim.task) == (ClaimOutcome.FAILED, failed)


def test_a_released_task_is_free_and_its_try_does_not_count(ports: Any) -> None:
    key = claimed(ports)
    ports.jobs.release(key, "i-1/0/x", NOW + 1, "interrupted")
    task = ports.jobs.task(key)
    assert (task.state, task.owner, task.attempt) == (TaskState.PENDING, "", 0)
    assert task.events[-1] == Entry(NOW + 1, "released", "interrupted", 1, 7, 1, "i-1")
    assert ports.jobs.claim(key, "i-2/0/y", NOW + 1, LEASE).task.attempt == 1


def test_releasing_what_is_not_ours_does_nothing(ports: Any) -> None:
    key = claimed(ports)
    before = ports.jobs.task(key)
    ports.jobs.release(key, "i-2/0/y", NOW + 1, "interrupted")
    ports.jobs.release(a_key(), "i-2/0/y", NOW + 1, "interrupted")
    assert ports.jobs.task(key) == before


def test_the_lease_of_a_dead_worker_is_broken_and_its_try_counts(ports: Any) -> None:
    key = claimed(ports)
    assert not ports.jobs.break_lease(key, "i-2/0/y", NOW + 1, "the node is gone")
    assert ports.jobs.break_lease(key, "i-1/0/x", NOW + 1, "the node is gone")
    assert not ports.jobs.break_lease(key, "i-1/0/x", NOW + 1, "the node is gone")
    task = ports.jobs.task(key)
    assert (task.state, task.attempt, task.error) == (TaskState.PENDING, 1, "the node is gone")
    assert ports.jobs.claim(key, "i-3/0/z", NOW + 2, LEASE).task.attempt == 2


@pytest.mark.parametrize("ended", ["taken over", "broken", "finished", "released", "never claimed"])
def test_a_lost_lease_records_nothing(ports: Any, ended: str) -> None:
    key, owner = claimed(ports), "i-1/0/x"
    if ended == "taken over":
        assert ports.jobs.claim(key, "i-2/0/y", NOW + LEASE, LEASE).outcome is ClaimOutcome.OURS
    elif ended == "broken":
        assert ports.jobs.break_lease(key, owner, NOW + 1, "dead")
    elif ended == "finished":
        ports.jobs.finish(key, owner, NOW + 1, 1.0, RESULT)
    elif ended == "released":
        ports.jobs.release(key, owner, NOW + 1, "interrupted")
    else:
        key = a_key()
    before = ports.jobs.task(key)
    with pytest.raises(LeaseLost, match=str(key)):
        ports.jobs.renew(key, owner, NOW + 40, LEASE, 0.9, "nearly")
    with pytest.raises(LeaseLost, match=str(key)):
        ports.jobs.finish(key, owner, NOW + 40, 40.0, TaskResult(("other.jpg",)))
    with pytest.raises(LeaseLost, match=str(key)):
        ports.jobs.fail(key, owner, NOW + 40, "late", again=True)
    assert ports.jobs.task(key) == before


def test_a_renewal_and_a_takeover_at_once_never_both_win(ports: Any) -> None:
    for _ in range(10):
        key = claimed(ports)

        def race(n: int, key: TaskKey = key) -> bool:
            if n == 0:
                return ports.jobs.claim(key, "i-2/0/y", NOW + LEASE, LEASE).outcome is ClaimOutcome.OURS
            try:
                ports.jobs.renew(key, "i-1/0/x", NOW + LEASE, LEASE, 0.5, "")
            except LeaseLost:
                return False
            return True

        assert sum(at_once(2, race)) == 1


def test_interruptions_in_a_row(ports: Any) -> None:
    key = a_key()
    for n in range(4):
        ports.jobs.claim(key, f"i-{n}/0/x", NOW + n, LEASE)
        ports.jobs.release(key, f"i-{n}/0/x", NOW + n + 0.5, "interrupted")
    task = ports.jobs.task(key)
    assert (task.state, task.attempt) == (TaskState.PENDING, 0)
    assert [(e.what, e.attempt, e.node) for e in task.events] == [
        (what, 1, f"i-{n}") for n in range(4) for what in ("claimed", "released")
    ]
