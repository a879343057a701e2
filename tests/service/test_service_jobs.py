"""Jobs through a whole service: what becomes of them, of their messages and of the node's folders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minimoto.core.events import CancelRequested
from minimoto.core.job import Job, JobState
from minimoto.core.node import NodeState
from minimoto.core.task import TaskKey, TaskState
from minimoto.errors import CloudError
from minimoto.interruption import Stop
from minimoto.memory import MemoryCloud
from tests.submitting import dispatcher, message, photo, results, submit, wait_for

Run = Callable[..., int]


def left_in(memory: MemoryCloud) -> list[str]:
    """What lies in the slots' folders."""
    return [str(path) for path in Path(memory.config.data_dir).glob("slot-*/*")]


def no_messages(memory: MemoryCloud) -> bool:
    counts = memory.queue.counts()
    return (counts.visible, counts.in_flight, counts.delayed) == (0, 0, 0)


def test_a_job_of_two_stages(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    photos = {"beach 1.jpg": photo(1), "beach 2.jpg": photo(2), "note.jpg": b"no picture"}
    job = submit(memory, "fit:32x32 | faulty:copy", photos, steps, task_seconds=0.4)
    assert serve_once() == 0
    job = memory.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_SUCCESSFUL, job.error
    assert [stage.tasks for stage in job.stages] == [3, 2]
    assert len(results(memory, job)) == 2
    assert [key.rpartition("/")[2] for key in job.results] == ["000000-beach_1.jpg", "000001-beach_2.jpg"]
    (skipped,) = memory.jobs.task(TaskKey(job.id, 0, 2)).result.skipped
    assert skipped.name == "note.jpg"
    assert "not a JPEG" in skipped.reason
    assert no_messages(memory)
    assert left_in(memory) == []
    assert memory.topic.announced[0][0].endswith("PROCESSING_SUCCESSFUL")
    assert not list(memory.store.list(job.inputs / "work/"))


def test_a_strict_job_fails_with_the_photo_and_the_reason(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    job = submit(memory, "fit", {"Größe 1.jpg": b"no picture"}, steps, strict=True)
    serve_once()
    job = memory.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert "Größe 1.jpg" in job.error
    assert "--strict" in job.error
    assert no_messages(memory)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "crashed with signal 6 (SIGABRT)"),
        ("leave", "crashed: it ended with exit status 3"),
        ("hang", "killed: no progress for 2 s"),
        ("hog", "over its limit of 200 MiB"),
        ("hog-elsewhere", "over its limit of 200 MiB"),
        ("escape", "it made no file 'passwd'"),
    ],
)
def test_a_bad_step_is_killed_reported_and_tried_again(
    memory: MemoryCloud, finish: Run, steps: Any, tmp_path: Path, how: str, reason: str
) -> None:
    job = finish(submit(memory, f"faulty:how={how},once={tmp_path}/once", {"a.jpg": b"A"}, steps))
    assert job.state is JobState.PROCESSING_SUCCESSFUL, job.error
    (failed,) = [entry.detail for entry in job.history if entry.what == "task_failed"]
    assert reason in failed
    assert list(results(memory, job).values()) == [b"A"]
    assert left_in(memory) == []


def test_a_step_that_says_no_fails_the_job_at_once(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    job = submit(memory, "faulty:refuse", {"a.jpg": b"A"}, steps)
    serve_once()
    job = memory.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert job.error == "faulty: it cannot be done"
    assert memory.jobs.task(TaskKey(job.id, 0, 0)).attempt == 1
    assert no_messages(memory)


def test_prints_and_credentials_stay_apart(
    memory: MemoryCloud, serve_once: Run, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    printing = submit(memory, "faulty:print", {"a.jpg": b"A"}, steps)
    telling = submit(memory, "faulty:environment", {"a.jpg": b"A"}, steps)
    serve_once()
    assert list(results(memory, printing).values()) == [b"A"]
    (environment,) = results(memory, telling).values()
    assert b"TMPDIR" in environment
    assert b"hush" not in environment
    assert b"AWS_" not in environment


def test_litter_is_removed(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    job = submit(memory, "faulty:litter", {"a.jpg": b"A"}, steps)
    serve_once()
    assert memory.jobs.get(job.id).state is JobState.PROCESSING_SUCCESSFUL
    assert left_in(memory) == []


def test_a_lost_advance_is_repaired_by_redelivery(
    memory: MemoryCloud, serve_once: Run, finish: Run, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)
    key = TaskKey(job.id, 0, 0)

    def lose(boundary: str) -> None:
        if boundary == "finished":
            memory.jobs.save = _refused  # type: ignore[method-assign]

    with monkeypatch.context() as patch:
        patch.setattr(memory.jobs, "save", memory.jobs.save)
        serve_once(checkpoint=lose)
    assert memory.jobs.get(job.id).state is JobState.BEING_PROCESSED
    assert memory.jobs.task(key).state is TaskState.DONE
    assert finish(job).state is JobState.PROCESSING_SUCCESSFUL
    assert memory.jobs.task(key).attempt == 1
    assert no_messages(memory)


def _refused(job: Job) -> Job:
    raise CloudError("table memory: writing: throttled")


def test_doubled_messages_do_nothing(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    job = submit(memory, "faulty:copy | faulty:copy", {"a.jpg": b"A", "b.jpg": b"B"}, steps)
    memory.queue.send([message(job.id, 0, task) for task in (0, 1, 0, 1)])
    serve_once()
    memory.queue.send([message(job.id, stage, task) for stage in (0, 1) for task in (0, 1)])
    serve_once()
    job = memory.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_SUCCESSFUL
    assert sorted(results(memory, job).values()) == [b"A", b"B"]
    tasks = [task for stage in (0, 1) for task in memory.jobs.tasks(job.id, stage)]
    assert [task.attempt for task in tasks] == [1, 1, 1, 1]
    assert no_messages(memory)
    assert memory.queue.dead() == []


def test_a_task_that_is_being_worked_on_comes_back_after_the_lease(
    memory: MemoryCloud, serve_once: Run, finish: Run, steps: Any
) -> None:
    job = submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)
    key = TaskKey(job.id, 0, 0)
    memory.jobs.claim(key, "i-other/0/1", memory.clock.now(), 1.5)
    serve_once()
    assert memory.jobs.task(key).owner == "i-other/0/1"
    assert memory.queue.counts().in_flight == 1
    assert finish(job).state is JobState.PROCESSING_SUCCESSFUL
    assert memory.jobs.task(key).attempt == 2


def test_cancelling_kills_the_step(memory: MemoryCloud, service: Any, steps: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    job = submit(memory, f"faulty:grandchild,pid={pid},session=new", {"a.jpg": b"A"}, steps)
    _, status = service(config={"quiet": 2.0})
    wait_for(lambda: pid.exists() and pid.read_text())
    dispatcher(memory).apply(job.id, CancelRequested("ana"))
    wait_for(lambda: not Path(f"/proc/{pid.read_text()}").exists() or _is_zombie(pid.read_text()))
    wait_for(lambda: no_messages(memory))
    wait_for(lambda: status)
    assert memory.jobs.get(job.id).state is JobState.CANCELLED
    assert left_in(memory) == []


def _is_zombie(pid: str) -> bool:
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def test_a_lost_lease_kills_the_step_and_records_nothing(memory: MemoryCloud, service: Any, steps: Any) -> None:
    job = submit(memory, "faulty:work", {"a.jpg": b"A"}, steps)
    key = TaskKey(job.id, 0, 0)
    service(config={"quiet": 60.0})
    owner = wait_for(lambda: memory.jobs.task(key).owner)
    wait_for(lambda: memory.jobs.task(key).progress == 0.5)
    assert memory.jobs.break_lease(key, owner, memory.clock.now(), "the node is silent")
    wait_for(lambda: not files_in(memory))
    assert memory.jobs.task(key).state is TaskState.PENDING
    assert memory.jobs.task(key).error == "the node is silent"


def files_in(memory: MemoryCloud) -> list[Path]:
    """The files of the task at hand."""
    return [path for path in Path(memory.config.data_dir).glob("slot-0/**/*") if path.is_file()]


def test_stopping_gives_the_task_back_uncounted(memory: MemoryCloud, service: Any, steps: Any) -> None:
    job = submit(memory, "faulty:work", {"a.jpg": b"A"}, steps)
    key = TaskKey(job.id, 0, 0)
    stop, status = service(config={"quiet": 60.0})
    wait_for(lambda: memory.jobs.task(key).state is TaskState.RUNNING)
    stop.now("SIGTERM")
    wait_for(lambda: status == [0], seconds=5)
    assert memory.jobs.task(key).state is TaskState.PENDING
    assert memory.jobs.task(key).attempt == 0
    assert memory.queue.counts().visible == 1
    assert [report.state for report in memory.nodes.reports()] == [NodeState.DRAINING]
    assert left_in(memory) == []


def test_a_drain_request_lets_the_task_finish(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    first = submit(memory, "faulty:work,seconds=1", {"a.jpg": b"A"}, steps)
    stop = Stop()

    def drain(boundary: str) -> None:
        if boundary == "started":
            memory.nodes.request_drain("i-0test", "scale in")
            submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)

    assert serve_once(stop, checkpoint=drain, config={"quiet": 60.0}) == 0
    assert stop.reason == "drain requested: scale in"
    assert not stop.urgent
    assert memory.jobs.get(first.id).state is JobState.PROCESSING_SUCCESSFUL
    assert memory.queue.counts().visible == 1


def test_a_node_that_drains_takes_nothing_when_it_is_started_again(
    memory: MemoryCloud, serve_once: Run, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor before its first heartbeat, which waits here until the service has asked or has taken something."""
    submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)
    memory.nodes.request_drain("i-0test", "scale in")
    asked, beat, passed = memory.nodes.drain_requested, memory.nodes.beat, list[str]()
    go_on = threading.Event()

    def ask(node: str) -> str:
        go_on.set()
        return asked(node)

    def note(boundary: str) -> None:
        passed.append(boundary)
        go_on.set()

    monkeypatch.setattr(memory.nodes, "drain_requested", ask)
    monkeypatch.setattr(memory.nodes, "beat", lambda report: (go_on.wait(10), beat(report)))
    assert serve_once(checkpoint=note, config={"quiet": 60.0}) == 0
    assert passed == []
    assert memory.queue.counts().visible == 1
    assert [report.state for report in memory.nodes.reports()] == [NodeState.DRAINING]


def test_a_node_on_which_all_fails_takes_itself_out(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    for _ in range(3):
        submit(memory, "faulty:crash", {"a.jpg": b"A"}, steps)
    assert serve_once(config={"fence_after": 3, "quiet": 60.0}) == 1
    (report,) = memory.nodes.reports()
    assert report.state is NodeState.FENCED
    assert report.failures == 3
    mark = Path(memory.config.data_dir) / "fenced"
    assert "3 tries failed" in mark.read_text()
    with pytest.raises(Exception, match="took itself out"):
        serve_once()
    mark.unlink()
    assert serve_once() == 0


def test_refused_tasks_do_not_fence(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    for _ in range(4):
        submit(memory, "faulty:refuse", {"a.jpg": b"A"}, steps)
    assert serve_once(config={"fence_after": 3}) == 0


def test_a_full_disk_takes_no_work_and_says_so(memory: MemoryCloud, service: Any, steps: Any) -> None:
    submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)
    service(config={"free_disk": 1 << 62})
    wait_for(lambda: any("disk nearly full" in report.note for report in memory.nodes.reports()))
    assert memory.queue.counts().visible == 1


def test_one_slot_takes_one_service(memory: MemoryCloud, service: Any, serve_once: Run, steps: Any) -> None:
    service(config={"quiet": 60.0})
    wait_for(memory.nodes.reports)
    submit(memory, "faulty:work,seconds=0.5", {"a.jpg": b"A"}, steps)
    assert serve_once(config={"quiet": 60.0}) is None


def test_a_stale_lock_file_is_no_lock(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    folder = Path(memory.config.data_dir)
    (folder / "slot-0" / "work" / "in").mkdir(parents=True)
    (folder / "slot-0" / "work" / "in" / "old.jpg").write_bytes(b"left by a crash")
    (folder / "slot-0.lock").write_text("12345")
    job = submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)
    assert serve_once() == 0
    assert memory.jobs.get(job.id).state is JobState.PROCESSING_SUCCESSFUL
    assert left_in(memory) == []


def test_inputs_that_are_gone_fail_the_job(memory: MemoryCloud, serve_once: Run, steps: Any) -> None:
    job = submit(memory, "faulty:copy", {"a.jpg": b"A"}, steps)
    memory.store.remove(job.inputs / "in/")
    serve_once()
    job = memory.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert "is gone" in job.error
