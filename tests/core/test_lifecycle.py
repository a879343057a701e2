"""Properties of the rule of a job's life: whatever happens, in whatever order, twice or never."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from minimoto.core.events import (
    CancelRequested,
    Closed,
    Enqueue,
    Enqueued,
    Event,
    Notify,
    TaskDone,
    TaskFailed,
    TasksLost,
    TaskStarted,
    UploadAbandoned,
    UploadFinished,
)
from minimoto.core.job import Job, JobState, Location, Stage
from minimoto.core.lifecycle import advance


def a_job(*stages: Stage, **changes: object) -> Job:
    job = Job(
        id="trip-1",
        name="trip",
        owner="ana",
        pipeline="",
        stages=stages or (Stage("fit", per="photo", shard_size=2), Stage("video")),
        inputs=Location("in", "trip-1/"),
        outputs=Location("out", "trip-1/"),
        created=0.0,
        updated=0.0,
        upload_expires=100.0,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def run(job: Job, *events: Event) -> Job:
    for at, event in enumerate(events, start=1):
        job, _ = advance(job, event, float(at))
    return job


def what(job: Job) -> list[str]:
    return [entry.what for entry in job.history]


def test_a_folder_becomes_a_film() -> None:
    job, actions = advance(a_job(), UploadFinished(3), 1.0)
    assert job.state is JobState.READY_TO_PROCESS
    assert actions == (Enqueue("trip-1", 0, (0, 1)),)
    job = run(job, Enqueued(0), TaskStarted(0, 1, 1, "n1"), TaskDone(0, 1, outputs=1))
    assert (job.state, job.stage) == (JobState.BEING_PROCESSED, 0)
    job, actions = advance(job, TaskDone(0, 0, outputs=2), 5.0)
    assert job.stage == 1
    assert actions == (Enqueue("trip-1", 1, (0,)),)
    job, actions = advance(job, TaskDone(1, 0, outputs=1, results=("trip-1/trip.mp4",)), 9.0)
    assert job.state is JobState.PROCESSING_SUCCESSFUL
    assert job.results == ("trip-1/trip.mp4",)
    assert Notify("trip-1") in actions


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([UploadFinished(0)], "no photo"),
        ([UploadFinished(1), TaskDone(0, 0, outputs=0, skipped=1, reason="a.jpg: damaged")], "a.jpg: damaged"),
        ([UploadFinished(1), TaskFailed(0, 0, "disk is gone", retry=False)], "fit: disk is gone"),
    ],
)
def test_a_job_that_cannot_succeed_says_why(events: list[Event], error: str) -> None:
    job = run(a_job(), *events)
    assert job.state is JobState.PROCESSING_FAILED
    assert error in job.error


def test_strict_fails_on_one_broken_photo() -> None:
    event = TaskDone(0, 0, outputs=1, skipped=1, reason="b.jpg: damaged")
    assert run(a_job(strict=True), UploadFinished(2), event).state is JobState.PROCESSING_FAILED
    assert run(a_job(), UploadFinished(2), event).stage == 1


def test_a_step_without_outputs_may_be_the_last_one() -> None:
    job = run(a_job(Stage("nothing", per="photo")), UploadFinished(1), TaskDone(0, 0, outputs=0))
    assert job.state is JobState.PROCESSING_SUCCESSFUL


def test_a_crash_between_save_and_send_is_repaired_by_any_duplicate() -> None:
    job = run(a_job(), UploadFinished(2), Enqueued(0), TaskDone(0, 0, outputs=2))
    assert (job.stage, job.stages[1].enqueued) == (1, False)
    same, actions = advance(job, TaskDone(0, 0, outputs=2), 9.0)
    assert same is job
    assert actions == (Enqueue("trip-1", 1, (0,)),)
    assert advance(run(job, Enqueued(1)), TaskDone(0, 0, outputs=2), 9.0)[1] == ()


def test_an_abandoned_upload_ends_only_after_its_time() -> None:
    assert advance(a_job(), UploadAbandoned(), 99.0)[0].state is JobState.NOT_READY_TO_PROCESS
    assert advance(a_job(), UploadAbandoned(), 100.0)[0].state is JobState.CANCELLED
    ready = run(a_job(), UploadFinished(1))
    assert advance(ready, UploadAbandoned(), 200.0)[0] is ready


def test_lost_tasks_are_sent_again_unless_done() -> None:
    job = run(a_job(Stage("fit", per="photo", shard_size=1)), UploadFinished(3), Enqueued(0), TaskDone(0, 1, outputs=1))
    job, actions = advance(job, TasksLost(0, (0, 1, 7), "node n1 died"), 9.0)
    assert actions == (Enqueue("trip-1", 0, (0,)),)
    assert "node n1 died" in job.history[-1].detail


small = st.integers(0, 3)
events = st.one_of(
    st.builds(UploadFinished, st.integers(0, 6)),
    st.builds(Enqueued, small),
    st.builds(TaskStarted, small, small),
    st.builds(TaskDone, small, small, outputs=st.integers(0, 2), skipped=st.integers(0, 1)),
    st.builds(TaskFailed, small, small, st.just("broken"), retry=st.booleans()),
    st.builds(TasksLost, small, st.tuples(small, small)),
    st.builds(CancelRequested),
    st.builds(UploadAbandoned),
)


@given(st.lists(events, max_size=40), st.booleans(), st.floats(0, 200))
def test_any_events_keep_the_job_whole(happened: list[Event], strict: bool, start: float) -> None:
    job = a_job(strict=strict)
    ended: Job | None = None
    for at, event in enumerate(happened):
        before, (job, actions) = job, advance(job, event, start + at)
        if ended is not None:
            assert job is ended
            assert actions == ()
        if job.state.final:
            ended = job
        assert job.stage >= before.stage
        assert what(job)[: len(before.history)] == what(before)
        for index, stage in enumerate(job.stages):
            assert stage.done <= set(range(stage.tasks))
            assert what(job).count("stage_started") == sum(1 for s in job.stages if s.tasks)
            assert bool(stage.tasks) <= (index <= job.stage)
        assert_history_explains(job)


def assert_history_explains(job: Job) -> None:
    """The state and the stage can be told from the history alone."""
    state, stage = JobState.NOT_READY_TO_PROCESS, 0
    told = {
        "ready": JobState.READY_TO_PROCESS,
        "processing": JobState.BEING_PROCESSED,
        "stage_finished": JobState.BEING_PROCESSED,
        "successful": JobState.PROCESSING_SUCCESSFUL,
        "failed": JobState.PROCESSING_FAILED,
        "cancelled": JobState.CANCELLED,
        "abandoned": JobState.CANCELLED,
    }
    for entry in job.history:
        state = told.get(entry.what, state)
        if entry.what == "stage_started":
            assert entry.stage is not None
            stage = entry.stage
    if not job.state.final and any(s.done for s in job.stages):
        state = JobState.BEING_PROCESSED
    assert (state, stage) == (job.state, job.stage)


class Workers(RuleBasedStateMachine):
    """A queue that doubles, reorders and loses messages, and workers that die anywhere: the job still ends."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.job = a_job(
            Stage("fit", per="photo", shard_size=1), Stage("grey", per="photo", shard_size=2), Stage("video")
        )
        self.now = 0.0
        self.starts: list[int] = []

    def apply(self, event: Event, lose_actions: bool = False) -> list[tuple[int, int]]:
        self.now += 1.0
        started = what(self.job).count("stage_started")
        self.job, actions = advance(self.job, event, self.now)
        if what(self.job).count("stage_started") > started:
            self.starts.append(self.job.stage)
        return [] if lose_actions else [(a.stage, t) for a in actions if isinstance(a, Enqueue) for t in a.tasks]

    @rule(target=messages, photos=st.integers(1, 5), crash=st.booleans())
    def upload(self, photos: int, crash: bool) -> object:
        return multiple(*self.apply(UploadFinished(photos), lose_actions=crash))

    @rule(target=messages, message=messages, crash=st.booleans(), outputs=st.integers(1, 2))
    def work(self, message: tuple[int, int], crash: bool, outputs: int) -> object:
        self.apply(TaskStarted(*message))
        return multiple(*self.apply(TaskDone(*message, outputs=outputs), lose_actions=crash))

    @rule(message=messages)
    def fail(self, message: tuple[int, int]) -> None:
        self.apply(TaskFailed(*message, reason="killed", retry=True))

    @rule(stage=st.integers(0, 2))
    def confirm(self, stage: int) -> None:
        self.apply(Enqueued(stage))

    @invariant()
    def each_stage_starts_once(self) -> None:
        assert self.starts == sorted(set(self.starts))

    def teardown(self) -> None:
        """The sweep of the watchdog: whatever was lost is sent again, and then the job ends."""
        self.apply(UploadFinished(2))
        for _ in range(30):
            running = self.job.running
            if running is None:
                break
            for stage, task in self.apply(TasksLost(self.job.stage, running.missing)):
                self.apply(TaskDone(stage, task, outputs=1))
        assert self.job.state is JobState.PROCESSING_SUCCESSFUL
        assert self.starts == [0, 1, 2]


TestWorkers = Workers.TestCase


def test_only_a_job_that_has_ended_is_closed_and_once() -> None:
    live = run(a_job(), UploadFinished(3))
    assert advance(live, Closed(), 5.0) == (live, ())
    ended = run(live, CancelRequested("ana"))
    closed, actions = advance(ended, Closed(), 5.0)
    assert (closed, actions) == (replace(ended, closed=True), ())
    assert advance(closed, Closed(), 6.0)[0] is closed
