"""The service: takes a slot of its node, and works on tasks until the queue has been quiet for a while."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto import slots
from minimoto.attempt import Attempts, Outcome
from minimoto.completions import Checkpoint, Completions
from minimoto.core.node import NodeState
from minimoto.core.retry import backoff
from minimoto.errors import CloudError, MinimotoError
from minimoto.heartbeat import Heartbeat, Pulse
from minimoto.in_group import InGroup
from minimoto.interruption import Stop, Watch, metadata_service, node_id
from minimoto.sandbox import MODULE, Sandbox
from minimoto.task_files import PARTS, TaskFiles
from minimoto.work_folder import clear, empty
from minimoto.worker import Worker

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.ports import Message
    from minimoto.slots import Slot
    from minimoto.steps.base import Step
    from minimoto.wiring import Cloud

POLL = 4.0
"""Seconds of one long poll: what SIGTERM waits for in an idle service. A message that arrives ends it at once."""

MOST_PAUSE = 30.0
DISK_PAUSE = 10.0


@dataclass(frozen=True)
class Setting:
    """What a service is run with; the defaults are those of every real one.

    Parameters:
        signals: take over SIGTERM and its like (only in the main thread of a process).
        steps: the steps that this service knows; the package's own if ``None``.
        step_module: what the child process runs.
        checkpoint: called at each boundary of a message's way.
        debug: say more in the log.
        poll: seconds of one long poll.
    """

    signals: bool = False
    steps: Mapping[str, Step] | None = None
    step_module: str = MODULE
    checkpoint: Checkpoint = field(default=lambda _: None)
    debug: bool = False
    poll: float = POLL


def serve(cloud: Cloud, stop: Stop, setting: Setting | None = None) -> int | None:
    """Takes the first free slot and works until the queue is quiet or ``stop`` says so.

    Returns:
        The exit status: 0, or 1 when this node has taken itself out; ``None`` if no slot was free.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    setting = setting or Setting()
    folder = slots.data_folder(cloud.config)
    if (mark := slots.fence_mark(folder)).exists():
        raise MinimotoError(f"this node took itself out ({_first_line(mark)}); to use it again, remove {mark}")
    with slots.take_slot(cloud.config, folder) as slot:
        if slot is None:
            return None
        return _serve_in(slot, folder, cloud, stop, setting)


def _serve_in(slot: Slot, folder: Path, cloud: Cloud, stop: Stop, setting: Setting) -> int:
    from minimoto.logs import open_log

    imds, grouped = metadata_service(cloud.config), cloud.config.grouped
    node = node_id(imds)
    log = open_log(debug=setting.debug, node=node, slot=slot.index)
    empty(slot.folder)
    empty(slot.folder / "work")
    clear(slot.folder / "work", PARTS)
    group = InGroup(cloud.group, cloud.clock, log, node, folder, slot.index, cloud.config.cooldown) if grouped else None
    leaving = group.leaving if group else None
    with Watch(stop, imds, cloud.clock, log, leaving=leaving).running(signals=setting.signals):
        return Service(cloud, stop, setting, slot, node, log, group).run(folder)


class Service:
    """One service in its slot."""

    def __init__(
        self,
        cloud: Cloud,
        stop: Stop,
        setting: Setting,
        slot: Slot,
        node: str,
        log: FilteringBoundLogger,
        group: InGroup | None = None,
    ) -> None:
        from minimoto.deliveries import Deliveries
        from minimoto.dispatch import Dispatcher
        from minimoto.folder_request import FolderRequests
        from minimoto.known_jobs import KnownJobs
        from minimoto.prefetch import Prefetch

        config = cloud.config
        self._cloud, self._config, self._stop, self._log = cloud, config, stop, log
        self._setting, self._group = setting, group
        self._folder = slot.folder
        self._failures = 0
        work = slot.folder / "work"
        pulse = Pulse(node, slot.index, config.heartbeat, config.lease)
        self._deliveries = Deliveries(cloud.queue, config.receive_limit, log)
        self._prefetch = Prefetch(cloud.queue, self._deliveries, cloud.clock, config.lease)
        self._heartbeat = Heartbeat(
            cloud.queue,
            cloud.jobs,
            cloud.nodes,
            cloud.clock,
            pulse,
            stop,
            log,
            checked=self._prefetch.relent,
            recording=lambda: self._completions.unfinished,
        )
        gpu = {} if slot.gpu is None else {"CUDA_VISIBLE_DEVICES": str(slot.gpu)}
        self._sandbox = Sandbox(work / "tmp", log, module=setting.step_module, environ=gpu)
        self._files = TaskFiles(cloud.jobs, cloud.store)
        dispatcher = Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)
        steps = setting.steps if setting.steps is not None else _steps()
        known = KnownJobs(cloud.jobs)
        self._completions = Completions(
            node, cloud.jobs, cloud.clock, dispatcher, known, self._deliveries, setting.checkpoint
        )
        attempts = Attempts(
            node=node,
            folder=work,
            jobs=cloud.jobs,
            clock=cloud.clock,
            dispatcher=dispatcher,
            known=known,
            heartbeat=self._heartbeat,
            sandbox=self._sandbox,
            files=self._files,
            deliveries=self._deliveries,
            completions=self._completions,
            steps=steps,
            checkpoint=setting.checkpoint,
        )
        requests = FolderRequests(cloud.jobs, cloud.store, dispatcher, cloud.clock, config, steps)
        self._worker = Worker(f"{node}/{slot.index}", config.lease, attempts, requests, log)

    def run(self, folder: Path) -> int:
        """Works until there is a reason to end; returns the exit status."""
        self._log.info("service started")
        # Cron starts a service again on a node that has drained; it must not take anything before its first beat.
        self._heartbeat.look()
        if self._group:
            self._group.begin()
        self._sandbox.start()
        self._deliveries.start()
        self._completions.start()
        self._heartbeat.start()
        last: NodeState | None = None
        try:
            self._go_on()
            if self._failures >= self._config.fence_after:
                last = NodeState.FENCED
                reason = f"{self._failures} tries failed one after another"
                self._log.error("this node takes itself out", reason=reason, mark=str(slots.fence(folder, reason)))
                return 1
            last = NodeState.DRAINING if self._stop.draining else None
            self._log.info("service ends", reason=self._stop.reason or "the queue is quiet")
            return 0
        finally:
            self._end(last)

    def _end(self, last: NodeState | None) -> None:
        self._sandbox.close()
        self._prefetch.give_back()
        self._files.close()
        self._completions.close()
        self._deliveries.close()
        try:
            self._heartbeat.close(last)
        except CloudError as error:
            self._log.warning("the last heartbeat was lost", error=str(error))
        if self._group:
            self._group.close()
        empty(self._folder)

    def _go_on(self) -> None:
        """Receives and works, until it is quiet or there is a reason to stop."""
        clock = self._cloud.clock
        worked = clock.monotonic()
        errors = 0
        while not self._stop.draining and self._failures < self._config.fence_after:
            quiet = clock.monotonic() - worked
            if quiet >= self._config.quiet:
                return
            if self._disk_is_low():
                self._stop.wait(DISK_PAUSE)
                worked = clock.monotonic()
                continue
            try:
                message = self._prefetch.next(min(self._setting.poll, self._config.quiet - quiet))
                if message is not None:
                    if self._group:
                        self._group.busy()
                    self._count(self._work(message))
                    self._prefetch.worked()
                    worked = clock.monotonic()
                elif self._group:
                    self._group.idle(clock.monotonic() - worked)
                errors = 0
            except CloudError as error:
                errors += 1
                pause = min(MOST_PAUSE, backoff(errors, random.random(), base=1.0))
                self._log.warning("AWS failed", error=str(error), pause=round(pause, 1))
                self._stop.wait(pause)

    def _work(self, message: Message) -> Outcome:
        started = self._cloud.clock.monotonic()
        try:
            outcome = self._worker.work(message)
        except CloudError:
            raise
        except Exception as error:
            # Of our own making: the message comes back, and a node on which everything goes wrong takes itself out.
            self._log.exception("a message could not be worked on", error=repr(error), message_id=message.id)
            outcome = Outcome.FAILED
        if outcome is Outcome.DONE:
            self._heartbeat.ended(self._cloud.clock.monotonic() - started, 0)
        return outcome

    def _count(self, outcome: Outcome) -> None:
        if outcome is Outcome.DONE:
            self._failures = 0
        elif outcome is Outcome.FAILED:
            self._failures += 1
            self._heartbeat.ended(None, self._failures)

    def _disk_is_low(self) -> bool:
        free = shutil.disk_usage(self._folder).free
        if free >= self._config.free_disk:
            self._heartbeat.note("")
            return False
        text = f"disk nearly full: {free / 1e9:.1f} GB free, {self._config.free_disk / 1e9:.1f} GB wanted"
        self._log.warning("no work is taken", reason=text)
        self._heartbeat.note(text)
        return True


def _steps() -> Mapping[str, Step]:
    from minimoto.steps import STEPS

    return STEPS


def _first_line(file: Path) -> str:
    try:
        return file.read_text("utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "no reason given"
