"""The embedded AWS as a background process: started once, found again, and nothing of it left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from laboratory import Laboratory, until, write_stand_in

from minimoto import config
from minimoto.cli import entry
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError, NotFound, UsageError
from minimoto.local import daemon
from minimoto.local.laptop import write_config
from minimoto.local.settings import LocalSettings


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose embedded AWS is ended with the test."""
    folder = tmp_path / "state"
    yield folder
    daemon.stop(folder)
    made = Laboratory("", folder)
    until(lambda: not made.processes(), what="the end of every process")


def settings(folder: Path) -> LocalSettings:
    return LocalSettings(boot_seconds=0, grace_seconds=1.0, service_command=(str(write_stand_in(folder)),))


def queues(url: str) -> list[str]:
    return list(Laboratory(url, Path()).client("sqs").list_queues().get("QueueUrls", []))


def test_start_twice_is_one_and_stop_is_the_end(state: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: daemon.ensure_started(state), range(2))
    assert first == second == daemon.ensure_started(state)
    found = daemon.require(state)
    assert found.ask("status")["instances"] == []
    assert daemon.stop(state)
    assert not found.process.is_running() or found.process.status() == psutil.STATUS_ZOMBIE
    assert daemon.find(state) is None
    assert not daemon.stop(state)
    with pytest.raises(NotFound, match="minimoto local start"):
        daemon.require(state)


def test_stop_ends_the_machines(state: Path, tmp_path: Path) -> None:
    laboratory = Laboratory(daemon.ensure_started(state, settings(tmp_path)), state)
    laboratory.up(laboratory.launch())
    daemon.stop(state)
    assert laboratory.processes() == []


@pytest.mark.fault
def test_a_killed_daemon_takes_its_machines_along_and_the_next_begins_afresh(state: Path, tmp_path: Path) -> None:
    laboratory = Laboratory(daemon.ensure_started(state, settings(tmp_path)), state)
    laboratory.client("sqs").create_queue(QueueName="kept")
    laboratory.up(laboratory.launch())
    laboratory.up(laboratory.launch())
    daemon.require(state).process.kill()
    until(lambda: not laboratory.processes(), seconds=5, what="the end of the machines")
    assert daemon.find(state) is None
    assert daemon.ensure_started(state, settings(tmp_path)) == laboratory.url, "configure.ini stays right"
    assert queues(laboratory.url) == []
    assert list((state / "nodes").glob("*")) == []


def test_a_running_one_does_not_move(state: Path) -> None:
    url = daemon.ensure_started(state)
    port = int(url.rpartition(":")[2])
    assert daemon.ensure_started(state, LocalSettings(port=port)) == url
    with pytest.raises(UsageError, match="stop it before it moves"):
        daemon.ensure_started(state, LocalSettings(port=port + 1))


@pytest.mark.fault
def test_a_start_sweeps_up_what_outlived_daemon_and_machine(state: Path, tmp_path: Path) -> None:
    laboratory = Laboratory(daemon.ensure_started(state, settings(tmp_path)), state)
    instance = laboratory.launch()
    root = laboratory.up(instance)
    os.kill(daemon.require(state).process.pid, signal.SIGSTOP)
    # With its machine's root gone and the daemon unable to look after it, a detached child is on its own.
    os.kill(root, signal.SIGKILL)
    daemon.require(state).process.kill()
    until(lambda: daemon.find(state) is None)
    assert laboratory.processes() != []
    daemon.ensure_started(state, settings(tmp_path))
    until(lambda: not laboratory.processes())


def test_a_number_given_to_another_process_is_left_alone(state: Path) -> None:
    daemon.ensure_started(state)
    daemon.stop(state)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        record = {"pid": bystander.pid, "created": 1.0, "url": "http://127.0.0.1:1"}
        (state / daemon.RECORD).write_text(json.dumps(record))
        assert daemon.find(state) is None
        daemon.stop(state)
        assert bystander.poll() is None
        bystander.kill()


def test_reset_forgets_and_goes_on(state: Path, tmp_path: Path) -> None:
    laboratory = Laboratory(daemon.ensure_started(state, settings(tmp_path)), state)
    laboratory.client("sqs").create_queue(QueueName="gone")
    laboratory.up(laboratory.launch())
    daemon.require(state).ask("reset", {})
    assert laboratory.processes() == []
    assert queues(laboratory.url) == []
    assert daemon.require(state).ask("status")["instances"] == []
    laboratory.up(laboratory.launch())


def test_large_objects_are_on_disk_and_go_with_them(laboratory: Laboratory) -> None:
    s3, state = laboratory.client("s3"), laboratory.state
    s3.create_bucket(Bucket="photos")
    for number in range(3):
        s3.put_object(Bucket="photos", Key=str(number), Body=b"%d" % number * 100_000)
    s3.put_object(Bucket="photos", Key="small", Body=b"small")
    assert sorted(p.stat().st_size for p in (state / "objects").iterdir()) == [100_000] * 3
    assert s3.get_object(Bucket="photos", Key="1")["Body"].read() == b"1" * 100_000
    s3.delete_object(Bucket="photos", Key="1")
    until(lambda: len(list((state / "objects").iterdir())) == 2)


def test_waiting_costs_no_processor_time(laboratory: Laboratory) -> None:
    """Eight receives wait for two seconds."""
    sqs = laboratory.client("sqs")
    url = sqs.create_queue(QueueName="empty")["QueueUrl"]
    process = daemon.require(laboratory.state).process
    with ThreadPoolExecutor(8) as pool:
        assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0)
        before = sum(process.cpu_times()[:2])
        list(pool.map(lambda _: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2), range(8)))
    assert sum(process.cpu_times()[:2]) - before < 0.4


def test_a_port_that_is_taken_is_said_in_one_line(state: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CloudError, match=f"did not start: port {port} of 127.0.0.1 cannot be used"):
            daemon.ensure_started(state, LocalSettings(port=port))


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--state"):
        daemon.ensure_started(tmp_path / "file")


def test_the_settings_of_a_laptop(tmp_path: Path) -> None:
    file = tmp_path / "configure.ini"
    write_config(file, "http://127.0.0.1:5000", tmp_path)
    made = config.load(str(file), environ={})
    assert made.local
    assert (made.lease, made.heartbeat, made.max_nodes, made.market) == (15, 3, 3, "on-demand")
    config.save(replace(made, queue_url="q"), file, {"client_user": "me"})
    write_config(file, "http://127.0.0.1:6000", tmp_path)
    assert config.load(str(file), environ={}) == replace(made, queue_url="q", endpoint_url="http://127.0.0.1:6000")
    assert "client_user = me" in file.read_text()


def test_the_settings_of_a_deployment_in_aws_are_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "configure.ini"
    config.save(Config(queue_url="q"), file)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="in AWS"):
        write_config(file, "http://127.0.0.1:6000", tmp_path)
    assert file.read_bytes() == before


def test_the_command(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINIMOTO_INIT_LOG_FILE", str(tmp_path / "log"))

    def local(*arguments: str) -> str:
        action, *rest = arguments
        assert entry.main(["local", action, "--state", str(state), *rest]) == 0
        return capsys.readouterr().out

    assert entry.main(["local", "status", "--state", str(state)]) == 1
    assert "minimoto local start" in capsys.readouterr().err
    url = daemon.ensure_started(state, settings(tmp_path))
    laboratory = Laboratory(url, state)
    instance = laboratory.launch()
    assert url in local("start")
    file = tmp_path / "configure.ini"
    assert json.loads(local("start", "--json", "--write-config", str(file)))["url"] == url
    assert config.load(str(file), environ={}).endpoint_url == url
    pid = laboratory.up(instance)
    shown = local("status")
    assert url in shown
    assert "forgotten" in shown
    assert f"{instance}" in shown
    assert str(pid) in shown
    assert json.loads(local("status", "--json"))["instances"][0]["pid"] == pid
    assert f"started on {instance}" in local("logs", instance)
    assert "answers at" in local("logs")
    assert entry.main(["local", "logs", "--state", str(state), "../../etc"]) == 1
    assert "its notice" in local("interrupt", instance, "--seconds", "0")
    until(lambda: laboratory.state_of(instance) == "terminated")
    assert "forgotten" in local("reset")
    assert "no machines" in local("status")
    assert "stopped" in local("stop")
    assert "no embedded AWS ran" in local("stop")
