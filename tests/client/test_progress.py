"""How far a job has come, over tables and over every order in which its tasks can end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.events import CancelRequested, Enqueued, TaskDone, TaskStarted, UploadFinished
from minimoto.core.job import Entry, Job, JobState, Location, Stage
from minimoto.core.lifecycle import advance
from minimoto.core.progress import job_progress
from minimoto.core.task import Task, TaskKey, TaskState

FIT = Stage("fit", per="photo", shard_size=10)
VIDEO = Stage("video", per="folder")
SECONDS = (1.0, 3.0)


def new(*stages: Stage, photos: int = 40) -> Job:
    job = Job("trip-1", "trip", "ana", "fit | video", stages, Location("in", "trip-1/"), Location("out", ""), 0, 0, 999)
    return advance(job, UploadFinished(photos), 100.0)[0]


def running(task: int, progress: float = 0.0, *, stage: int = 0, since: float = 100.0, note: str = "") -> Task:
    claimed = Entry(since, "claimed", stage=stage, task=task, attempt=1, node="i-1")
    key = TaskKey("trip-1", stage, task)
    return Task(key, TaskState.RUNNING, "i-1/0/x", 999.0, 1, progress=progress, note=note, events=(claimed,))


def done(task: int, *, stage: int = 0, since: float = 100.0) -> Task:
    return replace(running(task, stage=stage, since=since), state=TaskState.DONE, progress=1.0)


def after(job: Job, now: float, *tasks: int, stage: int = 0, outputs: int = 10) -> Job:
    for task in tasks:
        job, _ = advance(job, TaskStarted(stage, task), now)
        job, _ = advance(job, TaskDone(stage, task, outputs), now)
    return job


def test_before_the_upload_is_finished_nothing_is_done() -> None:
    job = replace(new(FIT, VIDEO), state=JobState.NOT_READY_TO_PROCESS, stages=(FIT, VIDEO), photos=0)
    progress = job_progress(job, [], 100.0, SECONDS)
    assert (progress.fraction, progress.eta) == (0.0, None)
    assert [stage.state for stage in progress.stages] == ["waiting", "waiting"]


def test_a_stage_that_nobody_has_begun_is_waiting_and_has_no_eta() -> None:
    progress = job_progress(new(FIT, VIDEO), [], 500.0, SECONDS)
    assert [stage.state for stage in progress.stages] == ["waiting", "waiting"]
    assert (progress.fraction, progress.eta) == (0.0, None)


def test_photos_of_finished_and_of_running_tasks_count() -> None:
    job = after(new(FIT, VIDEO), 110.0, 0)
    tasks = [done(0), running(1, 0.5), running(2, 0.25, note="photo 3 of 10")]
    stage = job_progress(job, tasks, 120.0, SECONDS).stages[0]
    assert (stage.items, stage.done, stage.workers, stage.state) == (40, 17, 2, "running")
    assert stage.fraction == pytest.approx(0.4375)
    assert stage.note == ""  # two workers at once: neither's note speaks for the stage


def test_the_note_of_the_only_worker_is_shown() -> None:
    stage = job_progress(new(VIDEO), [running(0, 0.5, note="photo 20 of 40")], 120.0, (3.0,)).stages[0]
    assert (stage.note, stage.done, stage.seconds) == ("photo 20 of 40", 20, 20.0)


def test_the_whole_weighs_stages_by_the_time_they_should_take() -> None:
    job = after(new(FIT, VIDEO), 110.0, 0, 1, 2, 3)
    progress = job_progress(job, [], 110.0, SECONDS)
    assert progress.fraction == pytest.approx(0.25)
    assert [stage.state for stage in progress.stages] == ["done", "waiting"]


def test_eta_is_the_pace_of_the_running_stage_then_what_later_ones_should_take() -> None:
    job = after(new(FIT, VIDEO), 120.0, 0, 1)
    progress = job_progress(job, [done(0), done(1)], 120.0, SECONDS)
    # Half of fit in 20 s: 20 s more; then a film of 40 photos at 3 s each.
    assert progress.eta == pytest.approx(20.0 + 120.0)


def test_a_later_stage_of_the_same_kind_is_taken_to_run_at_the_pace_seen() -> None:
    job = after(new(FIT, replace(FIT, step="style"), photos=40), 120.0, 0, 1)
    progress = job_progress(job, [done(0), done(1)], 120.0, (1.0, 2.0))
    # 20 photos in 20 s is a pace of 1; the second stage: 40 photos at 2 s.
    assert progress.eta == pytest.approx(20.0 + 80.0)
    fast = job_progress(job, [done(0, since=110.0), done(1, since=110.0)], 120.0, (1.0, 2.0))
    assert fast.eta == pytest.approx(10.0 + 40.0)


def test_waiting_for_a_machine_is_no_part_of_the_pace() -> None:
    job = after(new(VIDEO), 100.0)
    progress = job_progress(job, [running(0, 0.5, since=400.0)], 410.0, (3.0,))
    assert progress.eta == pytest.approx(10.0)


def test_nor_is_it_part_of_what_a_finished_stage_took() -> None:
    job = new(FIT, VIDEO)
    for task in range(4):
        job, _ = advance(job, TaskStarted(0, task), 500.0 + task)
        job, _ = advance(job, TaskDone(0, task, 10), 502.0 + task)
    stage = job_progress(job, [], 510.0, SECONDS).stages[0]
    assert (stage.state, stage.seconds) == ("done", 5.0)


def test_a_job_that_ended_early_still_tells_how_far_it_came() -> None:
    job = advance(after(new(FIT, VIDEO), 110.0, 0, 1), CancelRequested("ana"), 130.0)[0]
    progress = job_progress(job, [], 140.0, SECONDS)
    assert (progress.stages[0].done, progress.stages[0].seconds, progress.eta) == (20, 20.0, None)


def test_a_successful_job_is_all_done() -> None:
    job = after(new(VIDEO), 130.0, 0, outputs=1)
    assert job.state is JobState.PROCESSING_SUCCESSFUL
    assert job_progress(job, [], 130.0, (3.0,)).fraction == 1.0
    assert job_progress(job, [], 130.0, (3.0,)).eta == 0.0


def test_a_record_that_says_more_than_all_or_of_a_task_that_is_done_is_not_counted_twice() -> None:
    job = after(new(FIT, VIDEO), 110.0, 0)
    stage = job_progress(job, [running(0, 7.0), running(1, 7.0)], 120.0, SECONDS).stages[0]
    assert (stage.done, stage.workers) == (20, 1)


@given(
    photos=st.integers(1, 60),
    size=st.integers(3, 40),
    order=st.randoms(use_true_random=False),
    seconds=st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 100.0)),
)
def test_the_fraction_never_falls_and_ends_at_one(photos: int, size: int, order, seconds) -> None:  # type: ignore[no-untyped-def]
    job = advance(new(replace(FIT, shard_size=size), VIDEO, photos=photos), Enqueued(0), 100.0)[0]
    waiting = list(range(job.stages[0].tasks))
    order.shuffle(waiting)
    seen, now = [0.0], 100.0
    outputs = photos // len(waiting) or 1
    for stage, tasks in ((0, waiting), (1, [0])):
        records: list[Task] = []
        for task in tasks:
            now += 1
            records.append(running(task, order.random(), stage=stage, since=now))
            seen.append(job_progress(job, records, now, seconds).fraction)
            job = after(job, now, task, stage=stage, outputs=outputs)
            records[-1] = done(task, stage=stage, since=now)
            seen.append(job_progress(job, records if job.stage == stage else [], now, seconds).fraction)
    assert all(b >= a - 1e-9 for a, b in pairwise(seen))
    assert all(0.0 <= fraction <= 1.0 for fraction in seen)
    assert (job.state, seen[-1]) == (JobState.PROCESSING_SUCCESSFUL, 1.0)
