"""Writes that are tried again, batches that are left unfinished, pages."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from minimoto.aws.clients import client
from minimoto.aws.items import Items
from minimoto.aws.jobs import DynamoJobs, _Record
from minimoto.aws.ledger import DynamoLedger
from minimoto.config import Config
from minimoto.core.job import Job, JobState, Location, Stage
from minimoto.core.task import ClaimOutcome, Task, TaskKey, TaskResult, TaskState
from minimoto.errors import CloudError, ConfigError, NotFound

NOW = 1_800_000_000.5


@pytest.fixture
def jobs(session: boto3.session.Session, deployment: Config) -> DynamoJobs:
    return DynamoJobs(session, deployment)


@pytest.fixture
def dynamodb(session: boto3.session.Session, deployment: Config) -> Any:
    return client(session, deployment, "dynamodb")


@contextmanager
def answer_lost(dynamodb: Any, operation: str) -> Iterator[list[str]]:
    """The next call is done but its answer is lost on the way, so botocore sends it again."""
    sent: list[str] = []

    def again(**_: Any) -> int | None:
        sent.append(operation)
        return 0 if len(sent) == 1 else None

    event = f"needs-retry.dynamodb.{operation}"
    dynamodb.meta.events.register_first(event, again)
    try:
        yield sent
    finally:
        dynamodb.meta.events.unregister(event, again)
    assert len(sent) == 2, "the call was not sent twice"


def a_job() -> Job:
    id = f"trip-{uuid.uuid4().hex[:8]}"
    return Job(id, id, "ana", "video", (Stage("video"),), Location("in", f"{id}/"), Location("out", ""), NOW, NOW, NOW)


def test_a_write_whose_answer_was_lost_is_known_as_our_own(jobs: DynamoJobs, dynamodb: Any) -> None:
    with answer_lost(dynamodb, "PutItem"):
        job = jobs.create(a_job())
    with answer_lost(dynamodb, "PutItem"):
        saved = jobs.save(replace(job, photos=3))
    assert saved.version == 2
    assert jobs.get(job.id) == saved


def test_a_claim_whose_answer_was_lost_is_ours(jobs: DynamoJobs, dynamodb: Any) -> None:
    key = TaskKey(a_job().id, 0, 0)
    with answer_lost(dynamodb, "PutItem"):
        claim = jobs.claim(key, "i-1/0/x", NOW, 30)
    assert (claim.outcome, claim.task.attempt) == (ClaimOutcome.OURS, 1)
    assert jobs.task(key) == claim.task
    with answer_lost(dynamodb, "UpdateItem"):
        jobs.renew(key, "i-1/0/x", NOW + 10, 30, 0.5, "half")
    with answer_lost(dynamodb, "PutItem"):
        done = jobs.finish(key, "i-1/0/x", NOW + 20, 20, TaskResult(("a.jpg",)))
    assert jobs.task(key) == done
    assert done.state is TaskState.DONE


@pytest.mark.parametrize("way", ["fail", "release", "break_lease"])
def test_an_end_whose_answer_was_lost_counts_once(jobs: DynamoJobs, dynamodb: Any, way: str) -> None:
    key = TaskKey(a_job().id, 0, 0)
    jobs.claim(key, "i-1/0/x", NOW, 30)
    with answer_lost(dynamodb, "PutItem"):
        if way == "fail":
            assert jobs.fail(key, "i-1/0/x", NOW, "why", True).attempt == 1
        elif way == "release":
            jobs.release(key, "i-1/0/x", NOW, "why")
        else:
            assert jobs.break_lease(key, "i-1/0/x", NOW, "why")
    assert jobs.task(key).state is TaskState.PENDING
    assert len(jobs.task(key).events) == 2


def test_a_pass_whose_answer_was_lost_has_begun(
    session: boto3.session.Session, deployment: Config, dynamodb: Any
) -> None:
    ledger = DynamoLedger(session, deployment)
    with answer_lost(dynamodb, "PutItem"):
        assert ledger.begin_pass("a", NOW, 60)
    with answer_lost(dynamodb, "DeleteItem"):
        ledger.end_pass("a")
    assert ledger.begin_pass("b", NOW, 60)


def counting(dynamodb: Any, work: Callable[[], Any]) -> list[str]:
    """The operations that a piece of work sends."""
    sent: list[str] = []

    def count(model: Any, **_: Any) -> None:
        sent.append(model.name)

    dynamodb.meta.events.register("before-call.dynamodb", count)
    work()
    dynamodb.meta.events.unregister("before-call.dynamodb", count)
    return sent


def test_the_way_of_a_task_costs_one_request_a_step(jobs: DynamoJobs, dynamodb: Any) -> None:
    job = jobs.create(a_job())
    key, owner = TaskKey(job.id, 0, 0), "i-1/0/x"
    assert counting(dynamodb, lambda: jobs.claim(key, owner, NOW, 30)) == ["PutItem"]
    assert counting(dynamodb, lambda: jobs.claim(key, "i-2/0/x", NOW, 30)) == ["PutItem"]
    assert counting(dynamodb, lambda: jobs.renew(key, owner, NOW, 30, 0.5, "")) == ["UpdateItem"]
    assert counting(dynamodb, lambda: jobs.finish(key, owner, NOW, 1, TaskResult())) == ["PutItem"]
    assert counting(dynamodb, lambda: jobs.get(job.id)) == ["GetItem"]
    assert counting(dynamodb, lambda: jobs.save(job)) == ["PutItem"]


def test_a_finish_by_another_process_than_the_claim(
    jobs: DynamoJobs, session: boto3.session.Session, deployment: Config
) -> None:
    key = TaskKey(a_job().id, 0, 0)
    jobs.claim(key, "i-1/0/x", NOW, 30)
    other = DynamoJobs(session, deployment)
    done = other.finish(key, "i-1/0/x", NOW, 1, TaskResult(("a",)))
    assert jobs.task(key) == done
    assert (done.attempt, len(done.events)) == (1, 2)


def test_what_is_remembered_of_a_claim_may_be_out_of_date(
    jobs: DynamoJobs, session: boto3.session.Session, deployment: Config
) -> None:
    """The same owner claims again after the lease was broken, through another connection."""
    key, owner = TaskKey(a_job().id, 0, 0), "i-1/0/x"
    jobs.claim(key, owner, NOW, 30)
    other = DynamoJobs(session, deployment)
    assert other.break_lease(key, owner, NOW + 1, "thought dead")
    assert other.claim(key, owner, NOW + 2, 30).task.attempt == 2
    done = jobs.finish(key, owner, NOW + 3, 1, TaskResult(("a",)))
    assert (done.attempt, len(done.events)) == (2, 4)
    assert jobs.task(key) == done


def test_no_more_claims_are_remembered_than_a_worker_can_hold(jobs: DynamoJobs) -> None:
    id = a_job().id
    for number in range(300):
        jobs._remember(_Record(Task(TaskKey(id, 0, number)), "write"))
    assert len(jobs._known) == 256


def test_items_that_dynamodb_left_out_are_asked_for_again(session: boto3.session.Session, deployment: Config) -> None:
    items = Items(session, deployment)
    table = deployment.table
    keys = [("JOB#a", "JOB"), ("JOB#b", "JOB"), ("JOB#gone", "JOB")]
    a, b, gone = ({"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys)
    with Stubber(client(session, deployment, "dynamodb")) as stub:
        stub.add_response(
            "batch_get_item",
            {"Responses": {table: [b]}, "UnprocessedKeys": {table: {"Keys": [a, gone], "ConsistentRead": True}}},
        )
        stub.add_response(
            "batch_get_item",
            {"Responses": {table: [a]}},
            {"RequestItems": {table: {"Keys": [a, gone], "ConsistentRead": True}}},
        )
        assert items.get_many(keys) == [a, b]


def test_items_that_never_come_are_an_error(
    session: boto3.session.Session, deployment: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    table = deployment.table
    key = {"pk": {"S": "JOB#a"}, "sk": {"S": "JOB"}}
    with Stubber(client(session, deployment, "dynamodb")) as stub:
        for _ in range(8):
            answer = {"Responses": {}, "UnprocessedKeys": {table: {"Keys": [key]}}}
            stub.add_response("batch_get_item", answer)
        with pytest.raises(CloudError, match=rf"table {table}: 1 items could not be read"):
            Items(session, deployment).get_many([("JOB#a", "JOB")])
    assert paused == sorted(paused)


def test_a_partition_of_many_pages(session: boto3.session.Session, deployment: Config) -> None:
    items = Items(session, deployment)
    for number in range(9):
        items.put(("NODE", f"{number}"), {"padding": {"S": "x" * 200_000}})
    assert [item["sk"] for item in items.below("NODE")] == [{"S": str(number)} for number in range(9)]


def test_a_table_that_is_missing_is_named(session: boto3.session.Session, deployment: Config) -> None:
    with pytest.raises(ConfigError, match="table is not set"):
        DynamoJobs(session, replace(deployment, table="")).get("a")
    with pytest.raises(NotFound, match="table nonesuch: reading JOB#a JOB: there is no such thing"):
        DynamoJobs(session, replace(deployment, table="nonesuch")).get("a")


def test_jobs_that_ended_and_their_tasks_expire(
    session: boto3.session.Session, deployment: Config, dynamodb: Any
) -> None:
    jobs = DynamoJobs(session, replace(deployment, history_days=90, input_days=7))

    def expires(job: str, sort: str) -> float | None:
        key = {"pk": {"S": f"JOB#{job}"}, "sk": {"S": sort}}
        item = dynamodb.get_item(TableName=deployment.table, Key=key)["Item"]
        return float(item["expires"]["N"]) if "expires" in item else None

    job = jobs.create(a_job())
    key = TaskKey(job.id, 0, 0)
    jobs.claim(key, "i-1/0/x", NOW, 60)
    assert expires(job.id, "TASK#000#00000") == NOW + 0.5 + 97 * 86_400
    jobs.renew(key, "i-1/0/x", NOW + 20, 60, 0.5, "")
    jobs.finish(key, "i-1/0/x", NOW + 30, 30.0, TaskResult())
    assert expires(job.id, "TASK#000#00000") == NOW + 30.5 + 97 * 86_400
    assert expires(job.id, "JOB") is None
    job = jobs.save(replace(job, state=JobState.CANCELLED, updated=NOW + 100))
    assert expires(job.id, "JOB") == NOW + 100.5 + 90 * 86_400
    kept = DynamoJobs(session, replace(deployment, history_days=0))
    kept.save(job)
    kept.claim(replace(key, task=1), "i-1/0/x", NOW, 60)
    assert (expires(job.id, "JOB"), expires(job.id, "TASK#000#00001")) == (None, None)
