"""Each role does its whole job with the permissions that its policy gives, moto enforcing them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from minimoto.aws.policies import ROLES, role_name, role_policy
from minimoto.client import quote
from minimoto.client.fetch import fetch
from minimoto.client.find import find_job
from minimoto.client.report import history
from minimoto.client.submit import Request, dispatcher, prepare, submit
from minimoto.core.events import CancelRequested
from minimoto.core.job import Job, JobState
from minimoto.core.node import NodeReport, NodeState
from minimoto.interruption import Stop
from minimoto.local.server import ACCOUNT
from minimoto.service import Setting, serve
from minimoto.watchdog.patrol import NEWEST, Watchdog

from .conftest import Roles
from .enforcement import asked

SELDOM = {
    "s3:AbortMultipartUpload": "a large upload fails",
    "ec2:DescribeLaunchTemplates": "a machine is older than the launch template",
}
"""What a role may do for when something goes wrong."""


class Silent:
    """Listens to an upload."""

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def transfer(self, title: str, size: int, files: int) -> Any:
        return nullcontext(lambda _: None)


def send(roles: Roles, tmp_path: Path, name: str) -> Job:
    """The client's whole way of submitting two photos."""
    folder = tmp_path / name
    folder.mkdir()
    for number in (1, 2):
        Image.new("RGB", (40, 30), (number * 60, 90, 200)).save(folder / f"{number}.jpg")
    cloud = roles.cloud("client")
    prepared = prepare(Request(folder, "fit:size=32x24 | fit:size=16x12", "ana"), cloud)
    return submit(prepared, cloud, Silent(), records=tmp_path / "records").job


def work(roles: Roles) -> None:
    """The service's whole run, until the queue is quiet."""
    assert serve(roles.cloud("service"), Stop(), Setting()) == 0


def test_client_and_service_make_a_job_of_two_stages(ours: Roles, tmp_path: Path) -> None:
    job = send(ours, tmp_path, "trip")
    work(ours)
    cloud = ours.cloud("client")
    done = find_job(cloud.jobs, job.id)
    assert done.state is JobState.PROCESSING_SUCCESSFUL, done.error
    assert done.id in {job.id for job in cloud.jobs.recent(5)}
    assert history(cloud, done)[0].what == "created"
    files = fetch(cloud, done, tmp_path / "out", lambda *_: nullcontext(lambda _: None))
    for file in files:
        with Image.open(file) as made:
            assert made.size == (16, 12)
    assert len(files) == 2
    # What lay between the stages is gone: the service may remove it.
    assert list(ours.cloud("watchdog").store.list(job.inputs / "work/")) == []


def test_the_client_calls_a_job_off(ours: Roles, tmp_path: Path) -> None:
    job = send(ours, tmp_path, "trip")
    cloud = ours.cloud("client")
    ours.cloud("service").store.write(job.inputs / "work/0/left.jpg", b"left by a stage")
    assert dispatcher(cloud).apply(job, CancelRequested("ana")).state is JobState.CANCELLED
    assert list(cloud.store.list(job.inputs / "work/")) == []


def test_the_client_quotes_from_what_the_watchdog_saw_last(ours: Roles, tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    folder.mkdir()
    Image.new("RGB", (40, 30), "red").save(folder / "1.jpg")
    seen = {"inputs": {"boot_seconds": 77.0}, "paces": {"fit": {"g5.xlarge": 5.0}}}
    ours.cloud("watchdog").ledger.remember(NEWEST, json.dumps(seen))
    cloud = ours.cloud("client")
    prepared = prepare(Request(folder, "fit:size=32x24", "ana"), cloud)
    assert quote.prices(cloud).boot == 77.0
    [work] = quote.works(prepared, cloud, 0, print)
    assert (work.seconds, work.source) == (5.0, "as the nodes took lately")
    [tried] = quote.works(prepared, cloud, 1, print)
    assert (tried.seconds < 5.0, tried.source) == (True, "tried here")


def make_a_job_of_an_older_message_and_bury_a_bad_one(ours: Roles, tmp_path: Path) -> None:
    """What a service does besides tasks."""
    cloud = ours.cloud("client")
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (40, 30), "red").save(photo)
    # As an older client would: straight into the bucket, with the operator's own permissions.
    from moto.s3.models import s3_backends

    s3_backends[ACCOUNT]["aws"].put_object(ours.config.bucket_input, "Rome/a.jpg", photo.read_bytes())
    request = f"bucket_input_name={ours.config.bucket_input}:bucket_output_name={ours.config.bucket_output}"
    cloud.queue.send([f"transform?{request}:folder_name=Rome", "no message"])
    work(ours)
    [job] = cloud.jobs.recent(1)
    assert job.state is JobState.PROCESSING_SUCCESSFUL, job.error
    [(buried, reason)] = ours.cloud("watchdog").queue.dead()
    assert buried.body == "no message"
    assert "neither JSON" in reason


def test_the_watchdog_sizes_the_fleet_and_repairs_what_was_lost(ours: Roles, tmp_path: Path) -> None:
    job = send(ours, tmp_path, "trip")
    abandoned = replace(job, id="abandoned-1", state=JobState.NOT_READY_TO_PROCESS, upload_expires=0.0, version=0)
    ours.cloud("client").jobs.create(abandoned)
    # Its sender died an hour ago, between saving the job and sending its messages.
    long_ago = replace(job.stages[0], started=job.created - 3600.0, enqueued=False)
    ours.cloud("client").jobs.create(replace(job.with_stage(0, long_ago), id="unsent-1", version=0))
    service = ours.cloud("service")
    service.store.write(job.inputs / "work/0/left.jpg", b"left by a stage")
    service.nodes.beat(NodeReport("i-0000000000000dead", 0, NodeState.READY, beat=1.0))
    [received] = service.queue.receive()
    service.queue.bury(received, "tried too often")
    cloud = ours.cloud("watchdog")
    seen = Watchdog(cloud, price=1.0).run_pass()
    assert seen is not None
    assert seen.problems == ()
    assert cloud.jobs.get("abandoned-1").state is JobState.CANCELLED
    assert cloud.jobs.get(job.id).state is JobState.PROCESSING_FAILED
    assert list(cloud.store.list(job.inputs / "work/")) == []
    assert cloud.jobs.get("unsent-1").stages[0].enqueued
    assert json.dumps(seen.document())
    [machine] = cloud.fleet.launch(1, "by-hand", cloud.fleet.pools(cloud.clock.now())).ids
    cloud.nodes.request_drain(machine, "scaled in")
    assert service.nodes.drain_requested(machine) == "scaled in"
    cloud.fleet.terminate([machine, ours.machines["service"]])
    cloud.nodes.forget(machine)
    assert machine not in {instance.id for instance in cloud.fleet.instances() if instance.state == "running"}
    assert cloud.ledger.decisions(0.0)


def test_no_role_may_do_what_its_job_never_asks_for(ours: Roles, tmp_path: Path) -> None:
    """Over the whole jobs above, every action of every policy is asked for, but for what is seldom needed."""
    scenarios = (
        test_client_and_service_make_a_job_of_two_stages,
        test_the_client_calls_a_job_off,
        test_the_client_quotes_from_what_the_watchdog_saw_last,
        make_a_job_of_an_older_message_and_bury_a_bad_one,
        test_the_watchdog_sizes_the_fleet_and_repairs_what_was_lost,
    )
    for scenario in scenarios:
        (tmp_path / scenario.__name__).mkdir()
        scenario(ours, tmp_path / scenario.__name__)
    for role in ROLES:
        may = {action for s in role_policy(role, ours.config, ACCOUNT)["Statement"] for action in s["Action"]}
        did = {action for name, action in asked if name == role_name(role, ours.config)}
        assert may - did - set(SELDOM) == set(), role
