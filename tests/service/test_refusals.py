"""Work that is refused, dies or answers wrongly each time: the job ends with the reason, and no message is endless."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

from minimoto.attempt import Outcome
from minimoto.completions import AGAIN_SOON
from minimoto.core.job import JobState
from minimoto.core.retry import MOST_ATTEMPTS, MOST_SECONDS
from minimoto.core.task import TaskKey, TaskState
from minimoto.errors import CloudError, NotFound
from minimoto.sandbox import Answer
from tests.submitting import photo, submit


def test_a_message_that_was_often_in_the_way_is_sent_anew(bench: Bench, steps: Any) -> None:
    """Deliveries that were no fault of the message must not end in the dead-letter queue."""
    job = submit(bench.cloud, "fit", {"a.jpg": photo()}, steps)
    key = TaskKey(job.id, 0, 0)
    for _ in range(3 * bench.cloud.config.receive_limit):
        bench.cloud.jobs.break_lease(key, "other/0/1", bench.cloud.clock.now(), "so that it can be claimed")
        claim = bench.cloud.jobs.claim(key, "other/0/1", bench.cloud.clock.now(), 100.0)
        assert claim.task.owner == "other/0/1"
        assert bench.work_next() is Outcome.BUSY
        bench.cloud.clock.sleep(102.0)
    assert bench.buried() == []
    counts = bench.cloud.queue.counts()
    assert counts.visible == 1


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _refusing(error: Exception) -> Callable[..., None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    return refuse


DENIED = CloudError("s3://memory-out/x: uploading: not allowed (AccessDenied)", code="AccessDenied")
LASTING = {
    "a bucket's policy": ("upload", _refusing(DENIED), "not allowed"),
    "no such bucket": ("upload", _refusing(NotFound("bucket memory-out: there is no such bucket")), "no such bucket"),
    "a disk that is too small": ("download", _full, "the disk is full: No space left on device"),
}


@pytest.mark.parametrize("what", LASTING)
def test_what_is_refused_each_time_fails_the_job_and_fences_no_node(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    call, refuse, reason = LASTING[what]
    monkeypatch.setattr(bench.store, call, refuse)
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    for _ in range(MOST_ATTEMPTS):
        assert bench.work_next() is Outcome.REFUSED
        bench.cloud.clock.sleep(MOST_SECONDS)
    job = bench.cloud.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert reason in job.error
    assert bench.cloud.jobs.task(TaskKey(job.id, 0, 0)).attempt == MOST_ATTEMPTS


def test_what_AWS_refuses_for_a_moment_is_not_counted(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        bench.store, "upload", _refusing(CloudError("uploading: throttled (SlowDown)", code="SlowDown"))
    )
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    for _ in range(2 * bench.cloud.config.receive_limit):
        assert bench.work_next() is Outcome.GIVEN_BACK
        bench.cloud.clock.sleep(MOST_SECONDS)
    assert bench.cloud.jobs.task(TaskKey(job.id, 0, 0)).attempt == 0


@pytest.mark.parametrize(("code", "visible"), [("ValidationException", 0), ("ThrottlingException", 1)])
def test_a_result_that_is_refused_each_time_is_not_sent_anew(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch, code: str, visible: int
) -> None:
    """Its message keeps its count of deliveries, and ends in the dead-letter queue."""
    monkeypatch.setattr(bench.cloud.jobs, "finish", _refusing(CloudError(f"writing: refused ({code})", code=code)))
    submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    assert bench.work_next() is Outcome.DONE
    bench.cloud.clock.sleep(AGAIN_SOON)
    counts = bench.cloud.queue.counts()
    assert counts.visible == visible
    assert counts.in_flight == 1 - visible


@pytest.mark.parametrize("said", [True, False], ids=["the watchdog said why", "nobody saw it"])
def test_a_task_whose_worker_dies_each_time_is_given_up(bench: Bench, steps: Any, said: bool) -> None:
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    key, clock = TaskKey(job.id, 0, 0), bench.cloud.clock
    for _ in range(MOST_ATTEMPTS):
        bench.cloud.queue.receive()
        bench.cloud.jobs.claim(key, "i-0dead/0/x", clock.now(), 120.0)
        if said:
            bench.cloud.jobs.break_lease(key, "i-0dead/0/x", clock.now(), "the node is gone")
        clock.sleep(120.0)
    assert bench.work_next() is Outcome.REFUSED
    assert bench.sandbox.asked == []
    job = bench.cloud.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert ("the node is gone" if said else "its worker died each time") in job.error
    assert bench.cloud.jobs.task(key).state is TaskState.FAILED


@pytest.mark.parametrize("answer", [Answer((Path("a"), Path("b"))), Answer((), (("a.jpg", "why"), ("b.jpg", "why")))])
def test_a_step_answers_for_no_more_photos_than_it_was_given(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    monkeypatch.setattr(bench.sandbox, "run", lambda *_: answer)
    assert bench.work_next() is Outcome.FAILED
    error = bench.cloud.jobs.task(TaskKey(job.id, 0, 0)).error
    assert error == f"it answered with {len(answer.outputs)} files and {len(answer.skipped)} photos left out, of 1"
