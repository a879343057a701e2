"""Services that are told to stop, told to die, or get in each other's way: as real processes."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from minimoto.core.events import CancelRequested
from minimoto.core.job import JobState
from minimoto.core.node import NodeState
from minimoto.core.task import TaskKey, TaskState
from tests.faults.conftest import Node, outputs
from tests.submitting import dispatcher, message, submit, wait_for

pytestmark = pytest.mark.fault


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    """With a lease that does not end meanwhile."""
    return make_node(lease=15.0)


def start_with_program(node: Node, steps: Any, **environ: str) -> tuple[Any, psutil.Process]:
    """A job whose step runs a program, as ffmpeg is run: the job, and the program."""
    pid = node.folder / "pid"
    job = submit(node.cloud, f"faulty:grandchild,pid={pid}", {"a.jpg": b"A"}, steps)
    node.start(**environ)
    wait_for(lambda: pid.exists() and pid.read_text(), why="for the step")
    return job, psutil.Process(int(pid.read_text()))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_sigterm_gives_the_task_back_within_seconds(node: Node, steps: Any) -> None:
    job, program = start_with_program(node, steps)
    key = TaskKey(job.id, 0, 0)
    began = time.monotonic()
    node.services[0].send_signal(signal.SIGTERM)
    assert node.services[0].wait(10) == 0
    assert time.monotonic() - began < 5
    task = node.cloud.jobs.task(key)
    assert (task.state, task.attempt) == (TaskState.PENDING, 0)
    assert node.cloud.queue.counts().visible == 1
    assert node.cloud.nodes.reports()[0].state is NodeState.DRAINING
    wait_for(lambda: gone(program))
    assert list((node.folder / "data").glob("slot-*/*")) == []


def test_a_machine_that_shuts_down_blames_no_task(node: Node, steps: Any) -> None:
    """Every process gets SIGTERM at once, the step and its program first."""
    job, _ = start_with_program(node, steps)
    for process in sorted(node.processes(), key=lambda process: -process.pid):
        process.send_signal(signal.SIGTERM)
    assert node.services[0].wait(10) == 0
    task = node.cloud.jobs.task(TaskKey(job.id, 0, 0))
    assert (task.state, task.attempt) == (TaskState.PENDING, 0)


def test_an_idle_service_ends_at_once(node: Node) -> None:
    service = node.start()
    wait_for(lambda: "service started" in node.log())
    service.send_signal(signal.SIGTERM)
    assert service.wait(6) == 0


def test_sigkill_takes_the_step_and_its_program_along(make_node: Callable[..., Node], steps: Any) -> None:
    node = make_node()
    job, program = start_with_program(node, steps)
    family = node.processes()
    assert len(family) >= 3
    node.services[0].kill()
    wait_for(lambda: all(map(gone, [*family, program])), 5, "for the step's processes")
    dispatcher(node.cloud).apply(job.id, CancelRequested("ana"))
    node.check_clean()


@pytest.fixture
def notice() -> Iterator[tuple[str, dict[str, str]]]:
    """A metadata service: its address, and what it answers to paths."""
    answers: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer("token")

        def do_GET(self) -> None:
            self._answer(answers.get(self.path, ""))

        def _answer(self, text: str) -> None:
            self.send_response(200 if text else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_spot_notice_gives_the_task_back(node: Node, steps: Any, notice: tuple[str, dict[str, str]]) -> None:
    url, answers = notice
    answers["/latest/meta-data/instance-id"] = "i-0spot"
    environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url, "AWS_EC2_METADATA_DISABLED": "", "MINIMOTO_NODE": ""}
    job, program = start_with_program(node, steps, **environ)
    at = "2027-01-02T03:04:05Z"
    answers["/latest/meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": at})
    assert node.services[0].wait(12) == 0
    assert "spot interruption: terminate" in node.log()
    assert node.cloud.jobs.task(TaskKey(job.id, 0, 0)).attempt == 0
    assert node.cloud.queue.counts().visible == 1
    assert [(report.node, report.state) for report in node.cloud.nodes.reports()] == [("i-0spot", NodeState.DRAINING)]
    assert gone(program)


def test_cancelling_a_job_stops_its_step(node: Node, steps: Any) -> None:
    job, program = start_with_program(node, steps)
    dispatcher(node.cloud).apply(job.id, CancelRequested("ana"))
    wait_for(lambda: gone(program), 8)
    node.check_clean()


@pytest.mark.parametrize(
    ("how", "reason"),
    [("hang", "no progress for 2 s"), ("crash", "crashed with signal 6"), ("hog", "over its limit")],
)
def test_a_bad_step_costs_a_try_and_not_the_service(node: Node, steps: Any, how: str, reason: str) -> None:
    job = submit(node.cloud, f"faulty:{how},once={node.folder}/once", {"a.jpg": b"A"}, steps)
    service = node.start()
    job = node.finished(job)
    assert list(outputs(node.cloud, job).values()) == [b"A"]
    assert reason in next(entry.detail for entry in job.history if entry.what == "task_failed")
    assert service.poll() is None
    node.check_clean()


def test_a_step_that_never_works_fails_the_job_with_its_last_error(node: Node, steps: Any) -> None:
    job = submit(node.cloud, "faulty:leave", {"a.jpg": b"A"}, steps)
    key = TaskKey(job.id, 0, 0)
    for attempt in range(3):
        # As three workers before us: the waits between tries are not what is shown here.
        assert node.cloud.jobs.claim(key, f"i-{attempt}/0/x", time.time(), 60).task.attempt == attempt + 1
        node.cloud.jobs.fail(key, f"i-{attempt}/0/x", time.time(), "it crashed", True)
    node.start()
    job = node.finished(job)
    assert job.state is JobState.PROCESSING_FAILED
    assert job.error == "faulty: crashed: it ended with exit status 3"
    node.check_clean()


def test_two_services_of_one_slot(node: Node, steps: Any) -> None:
    job = submit(node.cloud, "faulty:work,seconds=3", {"a.jpg": b"A"}, steps)
    node.start()
    wait_for(lambda: node.cloud.jobs.task(TaskKey(job.id, 0, 0)).state is TaskState.RUNNING)
    assert node.start().wait(10) == 0
    assert node.finished(job).state is JobState.PROCESSING_SUCCESSFUL
    assert node.cloud.jobs.task(TaskKey(job.id, 0, 0)).attempt == 1


def test_two_nodes_and_doubled_messages(make_node: Callable[..., Node], steps: Any) -> None:
    one, two = make_node(lease=5.0), make_node()
    photos = {f"{number:02}.jpg": bytes([number]) for number in range(12)}
    job = submit(one.cloud, "faulty:copy | faulty:copy", photos, steps)
    one.cloud.queue.send([message(job.id, 0, task) for task in range(12)] * 2)
    for node in (one, two):
        node.start()
    job = one.finished(job)
    assert sorted(outputs(one.cloud, job).values()) == sorted(photos.values())
    tasks = [task for stage in (0, 1) for task in one.cloud.jobs.tasks(job.id, stage)]
    assert [task.attempt for task in tasks] == [1] * 24
    assert [entry.what for entry in job.history].count("stage_finished") == 2
    two.stop()
    one.check_clean()


def test_a_full_disk_refuses_work_and_says_so(make_node: Callable[..., Node], steps: Any) -> None:
    node = make_node(lease=15.0, free_disk=1 << 62)
    submit(node.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    node.start()
    wait_for(lambda: any("disk nearly full" in report.note for report in node.cloud.nodes.reports()))
    assert "no work is taken" in node.log()
    assert node.cloud.queue.counts().visible == 1


BAD_MESSAGES = [
    "{",
    "[" * 3000,
    "x" * 100_000,
    message("../../etc"),
    message("no-such-job"),
    "transform?nonsense",
    "transform?bucket_input_name=another:bucket_output_name=another:folder_name=trip",
    "transform?bucket_input_name={0.bucket_input}:bucket_output_name={0.bucket_output}:folder_name=../x",
    "transform?bucket_input_name={0.bucket_input}:bucket_output_name={0.bucket_output}:folder_name=none-such",
]


def test_forged_messages_are_buried_and_the_service_lives(node: Node, steps: Any) -> None:
    bodies = [body.replace("{0.bucket_input}", node.config.bucket_input) for body in BAD_MESSAGES]
    bodies = [body.replace("{0.bucket_output}", node.config.bucket_output) for body in bodies]
    service = node.start()
    node.cloud.queue.send(bodies)
    job = node.finished(submit(node.cloud, "faulty:copy", {"a.jpg": b"A"}, steps))
    assert list(outputs(node.cloud, job).values()) == [b"A"]
    wait_for(lambda: node.cloud.queue.counts().visible + node.cloud.queue.counts().in_flight == 0)
    dead = node.cloud.queue.dead()
    assert sorted(message.body for message, _ in dead) == sorted(bodies)
    assert all(len(reason) > 15 for _, reason in dead)
    assert service.poll() is None
    assert not [path for path in Path(node.folder / "data").glob("slot-0/**/*") if path.is_file()]
