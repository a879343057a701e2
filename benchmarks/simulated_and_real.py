"""The same jobs through a small real fleet on the embedded AWS and through the simulator, side by side.

    python -m benchmarks.simulated_and_real [--max-nodes 3]

Real: the AWS calls, the watchdog's passes, machines that boot, services that take messages and lease tasks. Only the
work is a rest of known length, so that a slow computer does it as fast as a quick one. Simulated: the same jobs at the
times at which they were sent, with the boots and the task times that were seen. Compared are the nodes started, the
order of scale-out and scale-in, and when each job was done. Exit status 1 when they differ by more than the tolerance.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

from benchmarks.measure import machine, versions
from benchmarks.resting import STEPS
from minimoto import config as settings
from minimoto.core.job import Job as Document
from minimoto.core.simulate import Simulation, production
from minimoto.core.simulation.workload import Job, Workload
from minimoto.core.simulation.world import World
from minimoto.core.task import TaskKey
from minimoto.wiring import Cloud

ROOT = Path(__file__).resolve().parents[1]
EVERY, COOLDOWN = 1.5, 3.0
"""Seconds between two passes of the watchdog, and of idleness before a node may go."""
SHARE = 0.15
"""Of a job's time, by which the two may differ beside what looks explain."""
PATIENCE = 400.0
QUIET = 3600.0


@dataclass(frozen=True)
class Wave:
    """A job, sent when all nodes of the one before are gone.

    Parameters:
        tasks, seconds: how many, and how long each rests.
        hurry: it is to be done as soon as possible; else nobody waits for it, so one node is enough.
    """

    tasks: int
    seconds: float
    hurry: bool = True


WAVES = (Wave(1, 3.0), Wave(8, 3.0), Wave(4, 2.0, hurry=False))


@dataclass(frozen=True)
class Seen:
    """What a fleet did. Times are seconds from the first job.

    Parameters:
        changes: when nodes were started (so many) or asked to drain (so many, negative).
        finish: seconds from submission to end, of each job.
    """

    changes: Sequence[tuple[float, int]]
    finish: Sequence[float]

    @property
    def launched(self) -> int:
        """Nodes that were started."""
        return sum(nodes for _, nodes in self.changes if nodes > 0)

    @property
    def order(self) -> list[int]:
        """Scale-outs and scale-ins in their order, those that follow each other in one direction as one."""
        runs: list[int] = []
        for _, nodes in self.changes:
            if runs and (runs[-1] > 0) == (nodes > 0):
                runs[-1] += nodes
            else:
                runs.append(nodes)
        return runs


@dataclass(frozen=True)
class Real:
    """A real run, and what a simulation of it has to be given.

    Parameters:
        jobs: as they were sent, each with the seconds that its tasks took.
        boots: seconds from each node's launch to its first heartbeat, in the order of their launch.
        settings: of the deployment.
    """

    seen: Seen
    jobs: tuple[Job, ...]
    boots: Sequence[float]
    settings: settings.Config

    @property
    def tolerance(self) -> float:
        """Seconds that looks explain, which come at other moments: one before a launch, one before what it did."""
        return 2 * self.settings.watchdog_every


def simulated(real: Real) -> Seen:
    """The same jobs through the simulator."""
    from minimoto.watchdog.observe import limits_of

    world = World(
        boots=real.boots,
        slots=1,
        # The embedded queue counts exactly.
        counts_late=0.0,
        heartbeat=real.settings.heartbeat,
        visibility=real.settings.lease,
    )
    workload = Workload("real", real.jobs, real.jobs[-1].at, world)
    rule = production(real.settings.policy, limits_of(real.settings))
    trace = Simulation(workload, rule, seed=1).run()
    finish = [(job.finished or float("inf")) - job.job.at for job in trace.jobs]
    return Seen([(at, nodes) for at, nodes, *_ in trace.changes], finish)


def differences(real: Real, other: Seen) -> list[str]:
    """In what the two differ by more than they may, each in a line; empty: in nothing."""
    found = []
    if real.seen.launched != other.launched:
        found.append(f"nodes started: {real.seen.launched} really, {other.launched} simulated")
    if _steps(real.seen.order) != _steps(other.order):
        found.append(f"out and in: {real.seen.order} really, {other.order} simulated")
    for number, (ours, theirs) in enumerate(zip(real.seen.finish, other.finish, strict=True), 1):
        if abs(ours - theirs) > real.tolerance + SHARE * ours:
            found.append(f"job {number} done after {ours:.1f} s really, {theirs:.1f} s simulated")
    return found


def _steps(order: Sequence[int]) -> list[int]:
    """Without how many went each time: a pass that outlives its lease on a slow computer writes no record of it."""
    return [max(nodes, -1) for nodes in order]


def really(folder: Path, waves: Sequence[Wave], max_nodes: int) -> Real:
    """Runs the waves on a fleet on an embedded AWS of their own, all in an empty folder."""
    from minimoto.local import daemon
    from minimoto.local.settings import LocalSettings

    service = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.resting")
    # Cron starts one service, which stays: another for which there is no slot would only keep this computer busy.
    fast = LocalSettings(boot_seconds=1.0, cron_seconds=QUIET, grace_seconds=1.0, service_command=service,
                         watchdog_command=("true",))  # fmt: skip
    state = folder / "state"
    url = daemon.ensure_started(state, fast)
    try:
        return Run(Cloud(_set_up(folder, url, max_nodes)), waves).run()
    finally:
        daemon.stop(state)


def _set_up(folder: Path, url: str, max_nodes: int) -> settings.Config:
    """A deployment made by ``minimoto_setup.py``, without the machines that it starts.

    However slow this computer is, no node may be taken for dead: that would be another run than the simulated one.
    """
    from benchmarks.embedded import rest

    wanted = settings.Config(
        name="compared", endpoint_url=url, log_file=str(folder / "minimoto.log"), market="on-demand", free_disk=0,
        min_nodes=0, max_nodes=max_nodes, slots=1, target_seconds=1.0, boot_seconds=60.0, task_seconds=3.0,
        cooldown=COOLDOWN, watchdog_every=EVERY, heartbeat=1.0, lease=120.0, strike_seconds=120.0, quiet=QUIET,
    )  # fmt: skip
    file = folder / "configure.ini"
    settings.save(wanted, file)
    setup = [sys.executable, str(ROOT / "minimoto_setup.py"), "--yes"]
    done = subprocess.run(
        setup, env=dict(environ, MINIMOTO_CONFIG=str(file)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"setup failed: {done.stderr}")
    made = settings.load(str(file), environ={})
    rest(made)
    return made


class Run:
    """One real run; the passes are made by a thread of this process."""

    def __init__(self, cloud: Cloud, waves: Sequence[Wave]) -> None:
        self._cloud, self._waves = cloud, waves
        self._boots: dict[tuple[float, str], float] = {}
        self._begun = 0.0

    def run(self) -> Real:
        """Wave after wave, from no node to no node."""
        from minimoto.watchdog.patrol import Watchdog

        self._until(lambda: not self._cloud.fleet.instances(), "the machines of setup to be gone")
        for node in {report.node for report in self._cloud.nodes.reports()}:
            self._cloud.nodes.forget(node)
        self._begun = time.time()
        stop = threading.Event()
        passes = threading.Thread(
            target=Watchdog(self._cloud).loop, args=(EVERY, stop, lambda _: self._note_boots()), daemon=True
        )
        passes.start()
        try:
            sent = [self._wave(wave) for wave in self._waves]
        finally:
            stop.set()
            passes.join()
        jobs = tuple(self._job(at, job) for at, job in sent)
        finish = [(job.stages[-1].finished or 0.0) - at for at, job in sent]
        return Real(
            Seen(self._changes(), finish),
            jobs,
            tuple(boot for _, boot in sorted(self._boots.items())),
            self._cloud.config,
        )

    def _wave(self, wave: Wave) -> tuple[float, Document]:
        at, job = self._send(wave)
        self._until(lambda: self._cloud.jobs.get(job.id).state.final, f"{job.id} to be done")
        self._until(lambda: not self._cloud.fleet.instances(), "the nodes to be gone")
        # A simulated fleet may take a look longer, and must be gone as well before the next job comes.
        time.sleep(2 * EVERY)
        return at, self._cloud.jobs.get(job.id)

    def _send(self, wave: Wave) -> tuple[float, Document]:
        from minimoto.core.events import UploadFinished
        from minimoto.core.job import Location
        from minimoto.core.new_job import new_job
        from minimoto.dispatch import Dispatcher

        cloud, id = self._cloud, f"wave-{time.time_ns()}"
        new = new_job(
            id=id, name=id, owner="benchmark", pipeline=f"rest:{wave.seconds}", steps=STEPS,
            inputs=cloud.config.bucket_input, outputs=Location(cloud.config.bucket_output, f"{id}/"),
            now=time.time(), upload_seconds=600.0, task_seconds=STEPS["rest"].seconds_per_item,
            deadline=None if wave.hurry else time.time() + 3600.0,
        )  # fmt: skip
        made, at = cloud.jobs.create(new), time.time()
        dispatcher = Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)
        return at, dispatcher.apply(made, UploadFinished(wave.tasks))

    def _job(self, at: float, document: Document) -> Job:
        """The job as the simulator knows it, with the times from claim to end of its tasks."""
        tasks = []
        for number in range(document.stages[0].tasks):
            events = self._cloud.jobs.task(TaskKey(document.id, 0, number)).events
            times = {entry.what: entry.at for entry in events}
            tasks.append(times["done"] - times["claimed"])
        deadline = None if document.deadline is None else document.deadline - self._begun
        return Job(at - self._begun, tuple(tasks), document.owner, deadline)

    def _note_boots(self) -> None:
        """Keeps from launch to first heartbeat of each node, as the watchdog's next look would see it."""
        machines = {machine.id: (machine.launched, machine.id) for machine in self._cloud.fleet.instances()}
        for report in self._cloud.nodes.reports():
            node = machines.get(report.node)
            if node is not None and node not in self._boots:
                self._boots[node] = report.beat - node[0]

    def _changes(self) -> list[tuple[float, int]]:
        changes = []
        for at, text in sorted(self._cloud.ledger.decisions(self._begun, limit=1000)):
            actions = json.loads(text)["actions"]
            launched = sum(action["count"] for action in actions if action["do"] == "launch")
            drained = sum(action["do"] == "drain" for action in actions)
            changes += [(at - self._begun, nodes) for nodes in (-drained, launched) if nodes]
        return changes

    @staticmethod
    def _until(look: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not look():
            if time.monotonic() > until:
                raise SystemExit(f"waited {PATIENCE:.0f} s in vain for {what}")
            time.sleep(0.2)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both; exit status 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-nodes", type=int, default=3)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="minimoto-compared-") as folder:
        real = really(Path(folder), WAVES, args.max_nodes)
    other = simulated(real)
    print(f"## The simulator and a real fleet\n\n{machine()}\n{versions('minimoto', 'moto')}\n")
    print(f"boots: {', '.join(f'{boot:.1f} s' for boot in real.boots)}")
    print(f"times may differ by {real.tolerance:.1f} s and {SHARE:.0%}\n")
    print("| what | real | simulated |\n|---|---|---|")
    print(f"| nodes started | {real.seen.launched} | {other.launched} |")
    print(f"| out and in | {_order(real.seen)} | {_order(other)} |")
    for wave, ours, theirs in zip(WAVES, real.seen.finish, other.finish, strict=True):
        how = "" if wave.hurry else ", no hurry"
        print(f"| {wave.tasks} tasks of {wave.seconds:.0f} s{how}: done after | {ours:.1f} s | {theirs:.1f} s |")
    found = differences(real, other)
    print("\n" + ("\n".join(found) if found else "no difference beyond that"))
    return 1 if found else 0


def _order(seen: Seen) -> str:
    return " ".join(f"{nodes:+d}" for nodes in seen.order)


if __name__ == "__main__":
    sys.exit(main())
