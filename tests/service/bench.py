"""A worker on ports in memory, for the tests of what may lie in the queue."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minimoto.attempt import Attempts, Outcome
from minimoto.completions import Completions
from minimoto.core.job import Location
from minimoto.deliveries import Deliveries
from minimoto.folder_request import FolderRequests
from minimoto.heartbeat import Heartbeat, Pulse
from minimoto.interruption import Stop
from minimoto.known_jobs import KnownJobs
from minimoto.logs import open_log
from minimoto.memory import MemoryCloud, MemoryStore
from minimoto.sandbox import Answer, Request
from minimoto.task_files import PARTS, TaskFiles
from minimoto.work_folder import clear
from minimoto.worker import Worker
from tests.submitting import dispatcher


class SpyStore(MemoryStore):
    """Notes every object that is read or written."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.touched: list[str] = []

    def _get(self, source: Location) -> Any:
        self.touched.append(str(source))
        return super()._get(source)

    def _put(self, to: Location, *more: Any) -> None:
        self.touched.append(str(to))
        super()._put(to, *more)

    def list(self, prefix: Location) -> Any:
        self.touched.append(str(prefix))
        return super().list(prefix)


@dataclass
class CopyingSandbox:
    """Stands in for the child process: copies inputs to outputs."""

    asked: list[Request] = field(default_factory=list)

    def run(self, request: Request, *_: Any) -> Answer:
        self.asked.append(request)
        outputs = []
        for path in map(Path, request.inputs):
            output = Path(request.out) / f"{request.first:06d}-{path.name}"
            output.write_bytes(path.read_bytes())
            outputs.append(output)
        return Answer(tuple(outputs))


@dataclass
class Bench:
    """A worker on ports in memory whose clock stands still."""

    cloud: MemoryCloud
    worker: Worker
    sandbox: CopyingSandbox
    store: SpyStore

    def work(self, body: str) -> Outcome:
        self.cloud.queue.send([body])
        return self.work_next()

    def work_next(self) -> Outcome:
        (received,) = self.cloud.queue.receive()
        outcome = self.worker.work(received)
        self.worker.attempts.completions.settle()
        return outcome

    def buried(self) -> list[str]:
        dead = self.cloud.queue.dead()
        self.cloud.queue.forget_dead([each.receipt for each, _ in dead])
        return [reason for _, reason in dead]


def open_bench(clock_cloud: MemoryCloud, steps: Any, tmp_path: Path) -> Iterator[Bench]:
    store = SpyStore(clock_cloud.config, clock_cloud.clock)
    cloud = replace(clock_cloud, store=store)
    log, stop = open_log(stream=io.StringIO()), Stop()
    before = set(threading.enumerate())
    files = TaskFiles(cloud.jobs, store)
    deliveries = Deliveries(cloud.queue, cloud.config.receive_limit, log)
    deliveries.start()
    known = KnownJobs(cloud.jobs)
    completions = Completions(
        "i-0test", cloud.jobs, cloud.clock, dispatcher(cloud), known, deliveries, lambda name: None
    )
    completions.start()
    sandbox = CopyingSandbox()
    folder = tmp_path / "work"
    folder.mkdir()
    clear(folder, PARTS)
    attempts = Attempts(
        node="i-0test",
        folder=folder,
        jobs=cloud.jobs,
        clock=cloud.clock,
        dispatcher=dispatcher(cloud),
        known=known,
        heartbeat=Heartbeat(
            cloud.queue, cloud.jobs, cloud.nodes, cloud.clock, Pulse("i-0test", 0, 20.0, 120.0), stop, log
        ),
        sandbox=sandbox,  # type: ignore[arg-type]
        files=files,
        deliveries=deliveries,
        completions=completions,
        steps=steps,
        checkpoint=lambda name: None,
    )
    requests = FolderRequests(cloud.jobs, store, dispatcher(cloud), cloud.clock, cloud.config, steps)
    yield Bench(cloud, Worker("i-0test/0", 120.0, attempts, requests, log), sandbox, store)
    completions.close()
    deliveries.close()
    files.close()
    assert set(threading.enumerate()) - before == set()
