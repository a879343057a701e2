"""Real service processes on the embedded AWS, with short leases, so that they can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from minimoto import config as settings
from minimoto.config import Config
from minimoto.core.job import Job, JobState
from minimoto.wiring import Cloud
from tests.submitting import wait_for

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
sys.path.insert(0, str(FOLDER))

from fault_steps import FAULT_STEPS  # noqa: E402


@dataclass
class Node:
    """A node of which every process can be found again, by a mark in its environment."""

    cloud: Cloud
    folder: Path
    mark: str
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Config:
        return self.cloud.config

    def start(self, kill_at: str = "", **environ: str) -> subprocess.Popen[bytes]:
        """Starts a service; with ``kill_at``, one that dies at that boundary, once."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINIMOTO_"))}
        with (self.folder / "service.log").open("ab") as log:
            service = subprocess.Popen(
                [sys.executable, str(FOLDER / "fault_service.py"), str(self.folder / "configure.ini")],
                env={
                    **inherited,
                    "PYTHONPATH": os.pathsep.join([str(ROOT), str(FOLDER)]),
                    "AWS_EC2_METADATA_DISABLED": "true",
                    "MINIMOTO_NODE": "i-0fault",
                    "MINIMOTO_FAULT_KILL_AT": kill_at,
                    "MINIMOTO_FAULT_ONCE": str(self.folder / "killed-once"),
                    "MINIMOTO_TEST_MARK": self.mark,
                    **environ,
                },
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self.services.append(service)
        return service

    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def processes(self) -> list[psutil.Process]:
        """All living processes of this node, whatever became of their parents."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get("MINIMOTO_TEST_MARK") == self.mark
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def finished(self, job: Job, seconds: float = 60.0) -> Job:
        """Waits until a job has ended, with a service running at any time."""

        def look() -> Job | None:
            self.keep_one()
            found = self.cloud.jobs.get(job.id)
            return found if found.state.final else None

        return wait_for(look, seconds, why=f"for {job.id}")

    def stop(self) -> None:
        """Ends every service as a shutdown does."""
        for service in self.services:
            if service.poll() is None:
                service.terminate()
        for service in self.services:
            service.wait(10)

    def check_clean(self) -> None:
        """Nothing is left: no message (what comes back once more is seen to be done), no process, no file."""
        wait_for(self._no_messages, 10, why="for the queue to be empty")
        self.stop()
        wait_for(lambda: not self.processes(), 5, why="for processes to end")
        assert [str(path) for path in (self.folder / "data").glob("slot-*/*")] == []
        assert self.cloud.queue.dead() == []

    def _no_messages(self) -> bool:
        self.keep_one()
        counts = self.cloud.queue.counts()
        return (counts.visible, counts.in_flight, counts.delayed) == (0, 0, 0)

    def keep_one(self) -> None:
        """Starts a service if none runs, as cron does."""
        if all(service.poll() is not None for service in self.services):
            self.start()


@pytest.fixture
def steps() -> dict[str, Any]:
    return FAULT_STEPS


@pytest.fixture
def make_node(make_deployment: Callable[..., Config], tmp_path: Path) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(**more: Any) -> Node:
        folder = tmp_path / f"node{len(nodes)}"
        folder.mkdir()
        made = {"lease": 2.0, "heartbeat": 0.5, "quiet": 60.0, "free_disk": 0, "slots": 1, "fence_after": 50, **more}
        config = nodes[0].config if nodes else make_deployment(**made)
        config = replace(config, data_dir=str(folder / "data"), log_file=str(folder / "minimoto.log"), **more)
        settings.save(config, folder / "configure.ini")
        nodes.append(Node(Cloud(config), folder, f"{folder}"))
        return nodes[-1]

    yield make
    for node in nodes:
        for process in node.processes():
            process.kill()
        for service in node.services:
            service.wait(10)


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node()


def outputs(cloud: Cloud, job: Job) -> dict[str, bytes]:
    """The results by file name."""
    from tests.submitting import results

    assert job.state is JobState.PROCESSING_SUCCESSFUL, job.error
    return {key.rpartition("/")[2]: data for key, data in results(cloud, job).items()}
