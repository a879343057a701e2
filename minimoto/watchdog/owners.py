"""What concerns the owners of jobs: what theirs have cost, when a budget is spent, what keeps machines from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from minimoto.core.events import BudgetSpent, Limited
from minimoto.core.fleet_view import JobView, View
from minimoto.core.spending import budget_of, dollars, slot_seconds
from minimoto.watchdog.problems import Problems
from minimoto.watchdog.repair import Repairs

if TYPE_CHECKING:
    from minimoto.core.job import Job
    from minimoto.core.task import Task
    from minimoto.wiring import Cloud


def with_budgets(cloud: Cloud, view: View, jobs: Sequence[Job], problems: Problems) -> View:
    """The view with the budgets of jobs and what they have cost; the records of those with a budget are read for it."""
    budgets = {job.id: budget_of(job.budget, cloud.config.budget_per_job) for job in jobs if job.running is not None}
    if view.jobs is None or not any(budgets.values()):
        return view
    if view.price_per_hour is None:
        problems.note("jobs have budgets, but the price of a node is not known: set [FLEET] price_per_hour")
        return view
    by_id = {job.id: job for job in jobs}
    found = [
        _with_budget(cloud, view, job, by_id[job.id], budget, problems)
        if (budget := budgets.get(job.id)) is not None
        else job
        for job in view.jobs
    ]
    return replace(view, jobs=tuple(found))


def _with_budget(cloud: Cloud, view: View, seen: JobView, job: Job, budget: float, problems: Problems) -> JobView:
    nothing: list[Task] = []
    tasks = [
        task
        for index, stage in enumerate(job.stages)
        if stage.tasks
        for task in problems.attempt(partial(cloud.jobs.tasks, job.id, index), nothing)
    ]
    spent = dollars(slot_seconds(tasks, cloud.clock.now()), view.slots_per_node, view.price_per_hour or 0.0)
    return replace(seen, budget=budget, spent=spent)


def end_overspent(repairs: Repairs, view: View) -> None:
    """Ends the jobs whose budget would be passed before anybody looks again, so that none is."""
    config = repairs.cloud.config
    look = config.watchdog_every + config.heartbeat
    for seen in view.jobs or ():
        job = next((job for job, _ in repairs.running if job.id == seen.id), None)
        if job is None or seen.budget is None:
            continue
        slots = min(seen.tasks_left, sum(node.busy for node in view.nodes or ()))
        reserve = dollars(slots * look, view.slots_per_node, view.price_per_hour or 0.0)
        if seen.spent + reserve >= seen.budget:
            repairs.apply(job, BudgetSpent(seen.spent, seen.budget), f"its budget of ${seen.budget:.2f} is spent")


def tell_limits(repairs: Repairs, told: str, of_jobs: Mapping[str, str]) -> None:
    """Writes to the jobs under way what keeps machines from them, or that nothing does any more.

    Parameters:
        told: what holds for all of them; empty: nothing.
        of_jobs: what holds for one of them alone, by its id.
    """
    for job, _ in repairs.running:
        limit = told or of_jobs.get(job.id, "")
        if job.limit != limit:
            repairs.problems.did(partial(repairs.dispatcher.apply, job.id, Limited(limit)))
