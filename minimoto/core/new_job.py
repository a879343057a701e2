"""A new job document."""

from __future__ import annotations

import re
from collections.abc import Mapping

from minimoto.core.job import Entry, Job, Location
from minimoto.core.pipeline import StepRules, attachments, parse_pipeline, pipeline_text, plan
from minimoto.core.shards import TASK_SECONDS

DEFAULT_PIPELINE = "video"


def job_id(name: str, token: str) -> str:
    """An id for a job: readable, unique by ``token`` (random letters and digits), harmless as a key and as a path."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:60].strip("-_") or "photos"
    return f"{stem}-{token}"


def new_job(
    *,
    id: str,
    name: str,
    owner: str,
    pipeline: str,
    steps: Mapping[str, StepRules],
    inputs: str,
    outputs: Location,
    now: float,
    upload_seconds: float,
    deadline: float | None = None,
    budget: float | None = None,
    strict: bool = False,
    task_seconds: float = TASK_SECONDS,
) -> Job:
    """The document of a job whose inputs are still to be uploaded.

    Parameters:
        inputs: the input bucket's name; the job's folder in it is ``<id>/``.
        outputs: prefix of the results.
        upload_seconds: an upload not finished by then is abandoned.

    Raises:
        InvalidPipeline: the pipeline's text cannot be run.
    """
    stages = plan(parse_pipeline(pipeline), steps, task_seconds)
    return Job(
        id=id,
        name=name,
        owner=owner,
        pipeline=pipeline_text(stages),
        stages=stages,
        inputs=Location(inputs, f"{id}/"),
        outputs=outputs,
        created=now,
        updated=now,
        upload_expires=now + upload_seconds,
        deadline=deadline,
        budget=budget,
        attachments=attachments(stages, steps),
        strict=strict,
        history=(Entry(now, "created", pipeline_text(stages)),),
    )
