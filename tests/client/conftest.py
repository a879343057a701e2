"""A home for the commands, a folder of small photos, and a stand-in for the fleet that works as workers would."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from minimoto import config
from minimoto.cli.entry import main
from minimoto.config import Config
from minimoto.core import manifest, message
from minimoto.core.events import TaskDone, TaskFailed, TaskStarted
from minimoto.core.job import Job
from minimoto.core.shards import shard_of
from minimoto.core.task import Skipped, TaskKey, TaskResult
from minimoto.dispatch import Dispatcher
from minimoto.wiring import Cloud

MakeFolder = Callable[..., Path]
ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> MakeFolder:
    """Makes a folder of so many photos, each with a content of its own."""

    def make(count: int = 5, name: str = "trip") -> Path:
        where = tmp_path / name
        where.mkdir(exist_ok=True)
        for number in range(1, count + 1):
            Image.new("RGB", (32 + number, 24), (number * 7 % 256, 90, 200)).save(where / f"photo {number}.jpg")
        return where

    return make


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Where records of unfinished uploads lie in this test."""
    return tmp_path / "records"


@dataclass
class Heard:
    """A listener that keeps what it was told."""

    notes: list[str] = field(default_factory=list)
    moved: int = 0
    size: int = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def transfer(self, title: str, size: int, files: int):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

        self.size, self.moved = size, 0

        def add(count: int) -> None:
            self.moved += count

        return nullcontext(add)


@pytest.fixture
def heard() -> Heard:
    return Heard()


class Worker:
    """Works on the tasks in the queue as a service would; what a step makes is a small file of its name.

    Parameters:
        broken: names of photos that cannot be used.
    """

    def __init__(self, cloud: Cloud, broken: tuple[str, ...] = ()) -> None:
        self._cloud = cloud
        self._broken = broken
        self._dispatcher = Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)

    def work(self, most: int = 1000) -> int:
        """Works until the queue is empty or so many tasks are done; returns how many."""
        done = 0
        while done < most and (received := self._cloud.queue.receive()):
            key = message.decode(received[0].body)
            assert isinstance(key, TaskKey)
            self._task(self._cloud.jobs.get(key.job), key)
            self._cloud.queue.delete([received[0].receipt])
            done += 1
        return done

    def fail(self, reason: str, *, retry: bool = False) -> None:
        """Takes the next task and fails it."""
        (received,) = self._cloud.queue.receive()
        key = message.decode(received.body)
        assert isinstance(key, TaskKey)
        now = self._cloud.clock.now()
        self._cloud.jobs.claim(key, "i-1/0/x", now, 60)
        self._dispatcher.apply(key.job, TaskStarted(key.stage, key.task, 1, "i-1"))
        self._cloud.jobs.fail(key, "i-1/0/x", now, reason, retry)
        self._dispatcher.apply(key.job, TaskFailed(key.stage, key.task, reason, retry, 1, "i-1"))
        if retry:
            self._cloud.queue.extend(received.receipt, 0)
        else:
            self._cloud.queue.delete([received.receipt])

    def _task(self, job: Job, key: TaskKey) -> None:
        now, owner = self._cloud.clock.now(), "i-1/0/x"
        attempt = self._cloud.jobs.claim(key, owner, now, 60).task.attempt
        job = self._dispatcher.apply(job, TaskStarted(key.stage, key.task, attempt, "i-1"))
        stage, last = job.stages[key.stage], key.stage == len(job.stages) - 1
        items = manifest.load_items(self._cloud.store.read(manifest.manifest(job)).decode())
        mine = items if stage.per == "folder" else shard_of(items, stage.tasks, key.task)
        broken = self._broken if key.stage == 0 else ()  # later stages do not see them
        skipped = tuple(Skipped(i.original, "the file is cut short") for i in mine if i.original in broken)
        good = [item for item in mine if item.original not in broken]
        names = (f"{job.name}.mp4",) if stage.per == "folder" else tuple(item.name for item in good)
        prefix = manifest.work(job, key.stage)
        for name in names:
            self._cloud.store.write(prefix / name, f"made of {name}".encode())
        self._cloud.jobs.finish(key, owner, now, 1.0, TaskResult(names, skipped))
        results = tuple((prefix / name).key for name in names) if last else ()
        reason = skipped[0].reason if skipped else ""
        event = TaskDone(key.stage, key.task, len(names), len(skipped), reason, results, attempt, "i-1")
        self._dispatcher.apply(job, event)


@pytest.fixture
def environ(deployment: Config, tmp_path: Path) -> dict[str, str]:
    """A home and a ``configure.ini`` of its own."""
    home = tmp_path / "home"
    home.mkdir()
    config.save(deployment, home / "configure.ini")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "MINIMOTO_CONFIG": str(home / "configure.ini"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command to its end, in an empty folder, and holds it to what holds for all of them."""
    here = tmp_path / "here"
    here.mkdir()

    def run(*command: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=here, env=environ, capture_output=True, text=True, timeout=60, input=input, check=False
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def call(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """``minimoto`` with these arguments, in this process and in an empty folder."""
    here = tmp_path / "called here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = main(arguments)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)

    return call
