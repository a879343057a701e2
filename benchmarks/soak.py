"""Jobs by the hundred on a fleet that is shot at: nothing may be lost, stuck or doubled.

An embedded AWS that refuses, throttles, loses answers and doubles messages; a deployment made by ``minimoto_setup.py``;
machines whose processes get SIGKILL at random, as do whole machines; a watchdog that replaces them. Prints the counts
and exits with 1 unless every job ended well and every result is there exactly once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import machine, versions
from benchmarks.unreliable import Rates, UnreliableAws
from minimoto import config as settings
from minimoto.core.job import Job, JobState
from minimoto.errors import MinimotoError
from minimoto.wiring import Cloud

if TYPE_CHECKING:
    from minimoto.local.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = 3
PIPELINE = "fit:96x64"
FILM = "fit:96x64 | video:size=96x64,fps=5,seconds=1,transition_seconds=0.2"


@dataclass
class Verdict:
    """What the soak found; every list but the first must stay empty."""

    successful: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.failed or self.lost or self.stuck or self.doubled or self.incomplete)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the soak and prints its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--films", type=float, default=0.1, help="share of the jobs that end in a film")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--kill-every", type=float, default=3.0, help="mean seconds between two SIGKILLs")
    parser.add_argument("--minutes", type=float, default=30.0, help="a job that has not ended by then is stuck")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="keep everything, logs of the machines included, in this empty folder"
    )
    args = parser.parse_args(argv)
    if args.folder:
        args.folder.mkdir(parents=True)
        return Soak(args.folder.resolve(), args).run()
    with tempfile.TemporaryDirectory(prefix="minimoto-soak-") as folder:
        return Soak(Path(folder), args).run()


class Soak:
    """One run.

    Parameters:
        folder: for everything; removed by the caller.
        args: see :func:`main`.
    """

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.args = folder, args
        self.random = random.Random(args.seed)
        self.file = folder / "configure.ini"
        self.killed: Counter[str] = Counter()
        self.over = threading.Event()

    def run(self) -> int:
        """Everything, from an empty folder to the verdict."""
        from minimoto.local import control, imds
        from minimoto.local.server import start
        from minimoto.local.settings import LocalSettings
        from minimoto.local.supervisor import Supervisor

        server = start(spill=self.folder / "objects")
        aws = UnreliableAws(server.gate.app, self.args.seed)
        server.gate.app = aws
        fast = LocalSettings(boot_seconds=0.2, cron_seconds=1.0, impaired_seconds=0.5, grace_seconds=1.0)
        supervisor = Supervisor(server.gate, server.url, self.folder, fast)
        server.gate.route(imds.PREFIX, imds.Imds(server.gate, supervisor.notice))
        server.gate.route(control.PREFIX, control.Control(server, supervisor))
        supervisor.start()
        try:
            self._set_up(server.url)
            aws.rates = Rates()
            verdict = self._shoot(supervisor)
            aws.rates = None
            self._print(verdict, aws)
            return 0 if verdict.good else 1
        finally:
            supervisor.stop()
            server.stop()

    def _set_up(self, url: str) -> None:
        wanted = settings.Config(
            name="soak",
            endpoint_url=url,
            log_file=str(self.folder / "minimoto.log"),
            lease=6.0,
            heartbeat=1.0,
            quiet=20.0,
            receive_limit=50,
            free_disk=0,
            fence_after=1000,
            min_nodes=self.args.nodes,
            max_nodes=self.args.nodes,
            target_seconds=60.0,
            boot_seconds=2.0,
            cooldown=30.0,
            watchdog_every=2.0,
            strike_seconds=5.0,
            market="on-demand",
            task_seconds=1.0,
        )
        settings.save(wanted, self.file)
        environ = dict(os.environ, MINIMOTO_CONFIG=str(self.file))
        subprocess.run([sys.executable, str(ROOT / "minimoto_setup.py"), "--yes"], env=environ, check=True)

    def _shoot(self, supervisor: Supervisor) -> Verdict:
        cloud = Cloud(settings.load(str(self.file), environ={}))
        sniper = threading.Thread(target=self._snipe, args=(supervisor,), daemon=True)
        sniper.start()
        photos = self._photos()
        with ThreadPoolExecutor(4) as pool:
            jobs = list(pool.map(lambda index: self._submit(cloud, photos, index), range(self.args.jobs)))
        self._say(f"{len(jobs)} jobs submitted")
        self._await(cloud, jobs)
        self.over.set()
        sniper.join()
        return judge(cloud, jobs)

    def _photos(self) -> Path:
        from PIL import Image

        folder = self.folder / "photos"
        folder.mkdir()
        for index in range(PHOTOS):
            colour = (40 + 80 * index, 200 - 60 * index, 90)
            Image.new("RGB", (192, 128), colour).save(folder / f"photo{index}.jpg")
        return folder

    def _submit(self, cloud: Cloud, photos: Path, index: int) -> str:
        from minimoto.client.submit import Request, prepare, submit

        film = index < self.args.jobs * self.args.films
        request = Request(photos, FILM if film else PIPELINE, owner=f"soak{index}", name=f"job{index}")
        for _ in range(20):
            try:
                done = submit(prepare(request, cloud), cloud, Silent(), records=self.folder / "records")
                return done.job.id
            except MinimotoError as error:
                # What a person would do: the same command again, which goes on where it stopped.
                self._say(f"job{index}: {error}; again")
        raise SystemExit(f"job{index} could not be submitted in 20 tries")

    def _snipe(self, supervisor: Supervisor) -> None:
        while not self.over.wait(self.random.expovariate(1.0 / self.args.kill_every)):
            machines = [m for m in supervisor.describe() if m["role"] == "service" and m["pid"]]
            if not machines:
                continue
            target = self.random.choice(machines)
            if self.random.random() < 0.1:
                self._kill([int(target["pid"])], "machines")
            else:
                self._kill(self._services(int(target["pid"])), "services")

    def _services(self, pid: int) -> list[int]:
        import psutil

        with suppress(psutil.Error):
            below = psutil.Process(pid).children(recursive=True)
            return [child.pid for child in below if "minimoto_service.py" in " ".join(child.cmdline())]
        return []

    def _kill(self, pids: list[int], kind: str) -> None:
        for pid in pids[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed[kind] += 1

    def _await(self, cloud: Cloud, jobs: Sequence[str]) -> None:
        deadline = time.monotonic() + 60 * self.args.minutes
        waiting = set(jobs)
        while waiting and time.monotonic() < deadline:
            with suppress(MinimotoError):
                waiting = {job.id for job in cloud.jobs.live()} & set(jobs)
            self._say(f"{len(jobs) - len(waiting)} of {len(jobs)} ended, {dict(self.killed)} killed")
            self.over.wait(5.0)

    def _print(self, verdict: Verdict, aws: UnreliableAws) -> None:
        print(f"## Soak: {self.args.jobs} jobs, seed {self.args.seed}\n\n{machine()}\n{versions('minimoto', 'moto')}\n")
        print(f"killed: {self.killed['services']} services, {self.killed['machines']} machines")
        print("AWS: " + ", ".join(f"{aws.counts[kind]} {kind}" for kind in ("refused", "throttled", "lost", "doubled")))
        for name, jobs in vars(verdict).items():
            print(f"{name}: {len(jobs)}" + (f"  {'; '.join(jobs[:5])}" if name != "successful" and jobs else ""))

    @staticmethod
    def _say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Silent:
    """Listens to a submission and says nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    @staticmethod
    def transfer(title: str, size: int, files: int) -> _Nothing:
        """Nothing."""
        return _Nothing()


class _Nothing:
    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, count: int) -> None: ...


def judge(cloud: Cloud, ids: Sequence[str]) -> Verdict:
    """Looks at every job's document, records and results.

    A stage that started twice, a task done twice or an object that is not a result counts as doubled.
    """
    verdict = Verdict()
    for job_id in ids:
        try:
            job = cloud.jobs.get(job_id)
        except MinimotoError as error:
            verdict.lost.append(f"{job_id}: {error}")
            continue
        if not job.state.final:
            verdict.stuck.append(f"{job_id}: {job.state}, stage {job.stage}")
        elif job.state is not JobState.PROCESSING_SUCCESSFUL:
            verdict.failed.append(f"{job_id}: {job.error}")
        else:
            verdict.successful.append(job_id)
            _judge_results(cloud, job, verdict)
    return verdict


def _judge_results(cloud: Cloud, job: Job, verdict: Verdict) -> None:
    there = {found.location.key: found.size for found in cloud.store.list(job.outputs)}
    wanted = 1 if job.stages[-1].per == "folder" else PHOTOS
    if len(job.results) != wanted or any(not there.get(key) for key in job.results):
        verdict.incomplete.append(f"{job.id}: {len(job.results)} of {wanted} results")
    if set(there) - set(job.results):
        verdict.doubled.append(f"{job.id}: {sorted(set(there) - set(job.results))}")
    starts = [entry.stage for entry in job.history if entry.what == "stage_started"]
    if starts != list(range(len(job.stages))):
        verdict.doubled.append(f"{job.id}: stages started {starts}")
    for stage in range(len(job.stages)):
        for task in cloud.jobs.tasks(job.id, stage):
            if sum(entry.what == "done" for entry in task.events) != 1:
                verdict.doubled.append(f"{task.key}: {[entry.what for entry in task.events]}")


if __name__ == "__main__":
    sys.exit(main())
