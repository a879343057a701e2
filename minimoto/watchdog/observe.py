"""One look at everything a decision depends on. What cannot be seen is unknown, and said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from statistics import fmean
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from minimoto.config import Config
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import GONE, JobView, Node, View
from minimoto.core.markets import SPOT, Pool
from minimoto.core.node import NodeReport, NodeState
from minimoto.core.readable import counted
from minimoto.core.warm import Warm, held, parse
from minimoto.errors import ConfigError
from minimoto.steps import STEPS
from minimoto.watchdog.problems import Problems

if TYPE_CHECKING:
    from minimoto.core.job import Job
    from minimoto.ports import Instance
    from minimoto.wiring import Cloud

LEAST_BEATS = 3.0
"""A node is not silent before it has missed so many heartbeats, however short ``strike_seconds`` is."""


@dataclass(frozen=True)
class Observation:
    """A view, and the documents it was made from (``None``: they could not be read)."""

    view: View
    reports: tuple[NodeReport, ...] | None
    jobs: tuple[Job, ...] | None

    @property
    def blind(self) -> bool:
        """Whether neither machines nor queue nor jobs could be seen."""
        return self.view.nodes is None and self.view.visible is None and self.jobs is None


def limits_of(config: Config, now: float | None = None) -> Limits:
    """The fleet's limits from the settings.

    Parameters:
        now: seconds since the epoch, at which ``warm`` may ask for more nodes than ``min_nodes``.

    Raises:
        ConfigError: they contradict each other, or hours or their zone are none.
    """
    hours, zone = [parse(entry) for entry in config.warm], _zone(config.time_zone)
    warm = None if now is None else held(hours, now, zone)
    kept = min(config.max_nodes, warm.nodes) if warm else 0
    return Limits(
        min_nodes=max(config.min_nodes, kept),
        max_nodes=config.max_nodes,
        target_seconds=config.target_seconds,
        boot_seconds=config.boot_seconds,
        task_seconds=config.task_seconds,
        cooldown=config.cooldown,
        strike_seconds=max(config.strike_seconds, LEAST_BEATS * config.heartbeat),
        pass_seconds=config.watchdog_every,
        budget_per_day=config.budget_per_day,
        spare_nodes=config.spare_nodes,
        spare_share=config.spare_share,
        thrifty=config.thrifty,
        keep_failed=config.keep_failed,
        warm=_warm_text(config, warm) if warm and kept > config.min_nodes else "",
        instance_type=config.service_type,
    )


def _warm_text(config: Config, warm: Warm) -> str:
    cut = f" (max_nodes; {warm.nodes} were asked for)" if warm.nodes > config.max_nodes else ""
    least = counted(min(warm.nodes, config.max_nodes), "node")
    return f"[FLEET] warm keeps {least} at least{cut} until {warm.until} {config.time_zone}"


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # Known everywhere, even where no table of time zones is installed.
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ConfigError(f"[FLEET] time_zone is {name!r}: a zone such as Europe/Berlin is expected") from None


def observe(cloud: Cloud, problems: Problems, price: float | None = None) -> Observation:
    """Looks at machines, heartbeats, CPU, the queue and the live jobs.

    Parameters:
        price: US dollars an hour of one service machine, if known.
    """
    now = cloud.clock.now()
    instances = problems.attempt(cloud.fleet.instances, None)
    reports = problems.attempt(lambda: tuple(cloud.nodes.reports()), None)
    counts = problems.attempt(cloud.queue.counts, None)
    jobs = problems.attempt(lambda: tuple(cloud.jobs.live()), None)
    group = problems.attempt(cloud.group.look, None) if cloud.config.grouped else None
    ids = [instance.id for instance in instances or () if instance.state not in GONE]
    unknown: dict[str, float | None] = {}
    cpu = problems.attempt(lambda: cloud.metrics.cpu(ids, now), unknown) if ids else unknown
    nodes = None if instances is None else tuple(_nodes(instances, reports or (), cpu, now))
    view = View(
        nodes=nodes,
        visible=counts.visible if counts else None,
        in_flight=counts.in_flight if counts else None,
        delayed=counts.delayed if counts else None,
        oldest=counts.oldest if counts else None,
        jobs=None if jobs is None else tuple(_job(job) for job in jobs if job.running is not None),
        reports_known=reports is not None,
        seconds_per_task=_seconds_per_task(reports or (), now),
        paces=_paces(reports or (), nodes or (), now),
        slots_per_node=_slots_per_node(nodes or (), cloud.config),
        price_per_hour=price,
        grouped=cloud.config.grouped,
        group=group,
    )
    return Observation(view, reports, jobs)


def with_pools(cloud: Cloud, view: View, problems: Problems) -> View:
    """The view with what machines cost where; not looked at unless nodes stand on demand where spot is wished for."""
    dear = any(node.counts and node.market != SPOT for node in view.nodes or ())
    if not dear or (cloud.config.market, cloud.config.policy) != (SPOT, "target"):
        return view
    nowhere: list[Pool] = []
    return replace(view, pools=tuple(problems.attempt(lambda: cloud.fleet.pools(cloud.clock.now()), nowhere)))


def _nodes(
    instances: Sequence[Instance], reports: Sequence[NodeReport], cpu: Mapping[str, float | None], now: float
) -> list[Node]:
    by_node: dict[str, list[NodeReport]] = {}
    for report in reports:
        by_node.setdefault(report.node, []).append(report)
    return [_node(instance, by_node.get(instance.id, []), cpu.get(instance.id), now) for instance in instances]


def _node(instance: Instance, reports: list[NodeReport], cpu: float | None, now: float) -> Node:
    slots = _current(reports)
    busy = [slot for slot in slots if slot.task or slot.state is NodeState.BUSY]
    worked = max((slot.progressed for slot in slots), default=0.0)
    return Node(
        id=instance.id,
        state=instance.state,
        launched=instance.launched,
        healthy=instance.healthy,
        cpu=cpu,
        reported=bool(slots),
        heartbeat=max(0.0, now - max(slot.beat for slot in slots)) if slots else None,
        slots=len(slots),
        busy=len(busy),
        progress=max((now - slot.progressed for slot in busy if slot.task and slot.progressed), default=None),
        failures=max((slot.failures for slot in slots), default=0),
        fenced=any(slot.state is NodeState.FENCED for slot in slots),
        unable=next((slot.note for slot in slots if slot.note), "") if all(slot.note for slot in slots) else "",
        leaving=any(slot.state is NodeState.DRAINING for slot in slots),
        finished=bool(slots) and not busy and all(s.state in (NodeState.DRAINING, NodeState.FENCED) for s in slots),
        idle_since=worked if slots and not busy and worked else None,
        type=instance.type,
        market=instance.market,
        zone=instance.zone,
        token=instance.launch_token,
        grouped=instance.grouped,
    )


def _current(reports: list[NodeReport]) -> list[NodeReport]:
    """The slots that still report: one that is long behind the newest was taken away or will be started again."""
    newest = max((report.beat for report in reports), default=0.0)
    return [report for report in reports if newest - report.beat <= BEHIND_SECONDS]


BEHIND_SECONDS = 300.0


def _job(job: Job) -> JobView:
    stage = job.stages[job.stage]
    left = len(stage.missing)
    inputs = job.stages[job.stage - 1].outputs if job.stage else job.photos
    inputs_left = inputs * left / stage.tasks if stage.tasks else 0.0
    seconds = left * expected_seconds(job, job.stage)
    after = len(job.stages) - 1 - job.stage
    return JobView(job.id, left, after, job.deadline, seconds, job.created, stage.step, inputs_left, owner=job.owner)


def expected_seconds(job: Job, number: int) -> float:
    """What a task of a job's stage takes by what is known of its step beforehand; 0: nothing is."""
    stage, step = job.stages[number], STEPS.get(job.stages[number].step)
    inputs = job.stages[number - 1].outputs if number else job.photos
    return step.seconds_per_item * inputs / stage.tasks if step and stage.tasks else 0.0


def _seconds_per_task(reports: Sequence[NodeReport], now: float) -> float | None:
    seen = [r.seconds_per_task for r in reports if r.seconds_per_task > 0 and now - r.beat <= BEHIND_SECONDS]
    return fmean(seen) if seen else None


def _paces(reports: Sequence[NodeReport], nodes: Sequence[Node], now: float) -> dict[str, dict[str, float]]:
    """Seconds an input by step and type of machine, the mean of the slots that report it."""
    types = {node.id: node.type for node in nodes}
    seen: dict[str, dict[str, list[float]]] = {}
    for report in reports:
        if report.node in types and now - report.beat <= BEHIND_SECONDS:
            for step, seconds in report.paces.items():
                seen.setdefault(step, {}).setdefault(types[report.node], []).append(seconds)
    return {step: {type: fmean(values) for type, values in of.items()} for step, of in seen.items()}


def _slots_per_node(nodes: Sequence[Node], config: Config) -> int:
    """What a new node will offer: what the setting says, else what the nodes have, else one."""
    return config.slots or max((node.slots for node in nodes if node.up), default=0) or 1
