"""Machines of the embedded AWS are process trees: they come and go with their instances, and the other way round."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psutil
import pytest
from laboratory import Laboratory, until

from minimoto.aws.userdata import user_data
from minimoto.config import Config
from minimoto.errors import CloudError
from minimoto.imds import Imds
from minimoto.local import daemon


@pytest.fixture(autouse=True)
def _alone(laboratory: Laboratory) -> Iterator[None]:
    """Each test begins without machines."""
    yield
    ec2 = laboratory.client("ec2")
    pages = ec2.get_paginator("describe_instances").paginate()
    left = [i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
    if left:
        ec2.terminate_instances(InstanceIds=left)
    until(lambda: not laboratory.processes(), what="the end of every machine")


def environment_of(laboratory: Laboratory, instance: str) -> dict[str, str]:
    file = laboratory.folder(instance) / "env.txt"
    until(lambda: file.exists() and "MINIMOTO_NODE" in file.read_text(), what=str(file))
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


def test_a_machine_boots_and_learns_its_deployment_from_its_user_data(laboratory: Laboratory) -> None:
    settings = Config(name="trip", queue_url="q", endpoint_url="http://127.0.0.1:1", table="t")
    instance = laboratory.launch(user_data=user_data(settings))
    assert laboratory.state_of(instance) == "pending"
    laboratory.up(instance)
    assert laboratory.state_of(instance) == "running"
    assert laboratory.health(instance) == "ok"
    env = environment_of(laboratory, instance)
    assert env["MINIMOTO_NODE"] == instance
    assert env["MINIMOTO_INIT_ENDPOINT_URL"] == laboratory.url
    assert env["MINIMOTO_SERVICE_DATA_DIR"] == str(laboratory.folder(instance) / "data")
    config = laboratory.folder(instance) / "configure.ini"
    assert env["MINIMOTO_CONFIG"] == str(config)
    assert config.stat().st_mode & 0o777 == 0o600
    assert "table = t" in config.read_text()


def test_settings_are_brought_to_a_machine_that_runs(laboratory: Laboratory) -> None:
    instance = laboratory.launch(user_data=user_data(Config(table="before")))
    first = laboratory.up(instance)
    config = laboratory.folder(instance) / "configure.ini"
    assert "table = before" in config.read_text()
    bring(laboratory, instance, user_data(Config(table="after")))
    until(lambda: "table = after" in config.read_text(), what="the new settings")
    assert config.stat().st_mode & 0o777 == 0o600
    assert laboratory.pid(instance) == first, "a service finishes what it holds"


def test_a_watchdog_with_another_pace_begins_anew(laboratory: Laboratory) -> None:
    instance = laboratory.launch(role="watchdog", user_data=user_data(Config(watchdog_every=600), "watchdog"))
    first = laboratory.up(instance)
    bring(laboratory, instance, user_data(Config(watchdog_every=0.2), "watchdog"))
    until(lambda: laboratory.pid(instance) not in (None, first), what="its new processes")
    assert laboratory.state_of(instance) == "running"
    assert laboratory.health(instance) == "ok"


def bring(laboratory: Laboratory, instance: str, text: str) -> None:
    laboratory.client("ec2").modify_instance_attribute(InstanceId=instance, UserData={"Value": text.encode()})


def test_cron_starts_the_service_again_and_again(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    log = laboratory.folder(instance) / "node.log"
    until(lambda: log.exists() and log.read_text().count(f"started on {instance}") >= 3)


def test_terminating_the_instance_ends_its_whole_tree(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    laboratory.up(instance)
    laboratory.client("ec2").terminate_instances(InstanceIds=[instance])
    until(lambda: not laboratory.processes(instance), what="the end of the tree, setsid and ignored SIGTERM included")
    assert laboratory.state_of(instance) == "terminated"
    until(lambda: not (laboratory.folder(instance) / "data").exists())
    assert (laboratory.folder(instance) / "node.log").exists()


def test_stopping_the_instance_ends_its_tree_and_starting_it_begins_a_new_one(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    first = laboratory.up(instance)
    laboratory.client("ec2").stop_instances(InstanceIds=[instance])
    until(lambda: not laboratory.processes(instance))
    assert laboratory.state_of(instance) == "stopped"
    laboratory.client("ec2").start_instances(InstanceIds=[instance])
    second = until(lambda: laboratory.pid(instance))
    assert second != first
    assert laboratory.health(instance) == "ok"


@pytest.mark.fault
def test_a_machine_whose_processes_are_killed_fails_its_check_and_is_stopped(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    os.kill(laboratory.up(instance), signal.SIGKILL)
    until(lambda: laboratory.health(instance) == "impaired", what="the failed status check")
    until(lambda: laboratory.state_of(instance) == "stopped")
    assert laboratory.describe(instance)["StateReason"]["Code"] == "Server.InternalError"
    until(lambda: not laboratory.processes(instance), what="the end of what the root left behind")


@pytest.mark.fault
def test_no_zombie_is_left_of_a_killed_machine(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    laboratory.up(instance)
    members = laboratory.processes(instance)
    for process in members:
        process.kill()
    until(lambda: laboratory.state_of(instance) == "stopped")
    until(lambda: not any(psutil.pid_exists(p.pid) and p.is_running() for p in members), what="their reaping")


def test_only_machines_of_minimoto_that_work_have_processes(laboratory: Laboratory) -> None:
    foreign = laboratory.launch(tagged=False)
    helper = laboratory.launch(role="client")
    working = laboratory.launch()
    laboratory.up(working)
    for idle in (foreign, helper):
        assert laboratory.state_of(idle) == "running"
        assert not laboratory.processes(idle)
        assert not laboratory.folder(idle).exists()


def test_a_watchdog_machine_runs_every_few_seconds_but_not_over_itself(laboratory: Laboratory) -> None:
    instance = laboratory.launch(role="watchdog", user_data=user_data(Config(watchdog_every=0.2), "watchdog"))
    assert laboratory.state_of(instance) == "running"
    laboratory.up(instance)
    log = laboratory.folder(instance) / "node.log"
    worker = next(p for p in laboratory.processes(instance) if "1002" in " ".join(p.cmdline()))
    assert log.read_text().count("started") == 1
    worker.kill()
    until(lambda: log.read_text().count("started") >= 3)


def test_cpu_of_the_tree_is_published_while_the_machine_runs(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    laboratory.up(instance)
    (laboratory.folder(instance) / "busy").touch()

    until(lambda: any(value > 10 for value in cpu(laboratory, instance)), what="a busy machine's CPU")
    assert all(0 <= value <= 100 for value in cpu(laboratory, instance))
    other = laboratory.launch()
    laboratory.client("ec2").terminate_instances(InstanceIds=[instance])
    until(lambda: not laboratory.processes(instance))
    published = len(cpu(laboratory, instance))
    until(lambda: len(cpu(laboratory, other)) >= 2, what="datapoints of a machine that runs")
    assert len(cpu(laboratory, instance)) == published


def cpu(laboratory: Laboratory, instance: str) -> list[float]:
    now = datetime.now(UTC)
    answer = laboratory.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "InstanceId", "Value": instance}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
        Period=1,
        Statistics=["Average"],
    )
    return [point["Average"] for point in answer["Datapoints"]]


def ask(laboratory: Laboratory, method: str, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(laboratory.url).netloc, timeout=5)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_instance_metadata_needs_a_token_of_this_machine(laboratory: Laboratory) -> None:
    instance, other = laboratory.launch(user_data="hello"), laboratory.launch()
    latest = f"/_imds/{instance}/latest"
    ttl = "X-aws-ec2-metadata-token-ttl-seconds"
    assert ask(laboratory, "GET", f"{latest}/meta-data/instance-id")[0] == 401
    assert ask(laboratory, "PUT", f"{latest}/api/token")[0] == 400
    assert ask(laboratory, "PUT", f"{latest}/api/token", **{ttl: "0"})[0] == 400
    assert ask(laboratory, "PUT", f"{latest}/api/token", **{ttl: "60", "X-Forwarded-For": "1.2.3.4"})[0] == 403
    assert ask(laboratory, "GET", "/_imds/i-0/latest/meta-data/instance-id")[0] == 404
    status, token = ask(laboratory, "PUT", f"{latest}/api/token", **{ttl: "60"})
    assert status == 200

    def read(path: str, machine: str = instance) -> tuple[int, str]:
        return ask(laboratory, "GET", f"/_imds/{machine}/latest/{path}", X_aws_ec2_metadata_token=token)

    assert read("meta-data/instance-id") == (200, instance)
    assert read("meta-data/placement/region") == (200, "us-east-1")
    assert read("user-data") == (200, "hello")
    assert read("meta-data/events/maintenance/scheduled") == (200, "[]")
    assert read("meta-data/spot/instance-action")[0] == 404
    assert read("meta-data/nothing")[0] == 404
    assert read("meta-data/instance-id", other)[0] == 401


def test_a_token_ends(laboratory: Laboratory) -> None:
    latest = f"/_imds/{laboratory.launch()}/latest"
    token = ask(laboratory, "PUT", f"{latest}/api/token", **{"X-aws-ec2-metadata-token-ttl-seconds": "1"})[1]
    path = f"{latest}/meta-data/instance-id"
    assert ask(laboratory, "GET", path, X_aws_ec2_metadata_token=token)[0] == 200
    until(lambda: ask(laboratory, "GET", path, X_aws_ec2_metadata_token=token)[0] == 401)


def test_an_interruption_is_announced_and_then_carried_out(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    laboratory.up(instance)
    machine = Imds(environment_of(laboratory, instance)["AWS_EC2_METADATA_SERVICE_ENDPOINT"], timeout=5)
    assert machine.spot_action() is None
    assert machine.rebalance() is None
    told = time.time()
    daemon.require(laboratory.state).ask("interrupt", {"instance": instance, "seconds": 3})
    action = machine.spot_action()
    assert action is not None
    assert action.action == "terminate"
    assert told + 1.5 <= action.at <= told + 6
    assert machine.rebalance() is not None
    assert machine.maintenance() == []
    assert laboratory.state_of(instance) == "running"
    until(lambda: laboratory.state_of(instance) == "terminated")
    assert laboratory.describe(instance)["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    until(lambda: not laboratory.processes(instance))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"instance": "i-0", "seconds": 1}, "there is no instance i-0"),
        ({"instance": "i-0", "seconds": -1}, "0 to 3600 seconds"),
        ({"instance": "i-0"}, "0 to 3600 seconds"),
    ],
)
def test_an_interruption_of_nothing_is_refused(laboratory: Laboratory, asked: dict[str, object], said: str) -> None:
    with pytest.raises(CloudError, match=said):
        daemon.require(laboratory.state).ask("interrupt", asked)


def test_none_of_the_callers_secrets_reaches_a_machine(laboratory: Laboratory) -> None:
    instance = laboratory.launch()
    laboratory.up(instance)
    env = environment_of(laboratory, instance)
    named = {name for name in env if name.startswith("AWS_")}
    assert named == {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}
    assert env["AWS_CONFIG_FILE"] == os.devnull


def test_user_data_that_is_no_text_does_no_harm(laboratory: Laboratory) -> None:
    instance = laboratory.launch(user_data=base64.b64encode(b"\x1f\x8b\xff\xfe").decode())
    laboratory.up(instance)
    assert json.loads(json.dumps(laboratory.machine(instance)))["state"] == "running"
