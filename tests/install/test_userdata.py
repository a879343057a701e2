"""The user data that a machine learns its deployment from."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import yaml

from minimoto import config as settings
from minimoto.aws.userdata import MOST_BYTES, config_from_user_data, user_data
from minimoto.config import Config
from minimoto.errors import ConfigError

CONFIG = Config(
    name="trip",
    profile="operator",
    key_file="/home/ana/.ssh/trip.pem",
    log_file="/home/ana/minimoto.log",
    ssh_from="198.51.100.7/32",
    bucket_input="trip-in",
    queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/trip",
    more_types=("g5.2xlarge", "g4dn.xlarge"),
    service_identity="Dienst für Fotos",
)


def test_a_machine_reads_back_the_settings_it_was_given(tmp_path):
    text = config_from_user_data(user_data(CONFIG))
    assert text is not None
    file = tmp_path / "configure.ini"
    file.write_text(text, encoding="utf-8")
    read = settings.load(str(file), environ={})
    assert read == replace(CONFIG, profile="", key_file="", ssh_from="", log_file="~/minimoto.log")


def test_nothing_of_the_operators_computer_is_told_to_a_machine():
    text = user_data(CONFIG)
    assert "operator" not in text
    assert "trip.pem" not in text
    assert "198.51.100.7" not in text
    assert "/home/ana" not in text


def test_the_embedded_endpoint_reaches_the_machine():
    text = config_from_user_data(user_data(replace(CONFIG, endpoint_url="http://127.0.0.1:4999", log_file="/x/y.log")))
    assert text is not None
    assert "http://127.0.0.1:4999" in text
    assert "/x/y.log" in text


@pytest.mark.parametrize("role", ["client", "watchdog", "service"])
def test_cloud_init_reads_the_same_document(role):
    text = user_data(CONFIG, role)
    document = yaml.safe_load(text)
    [file] = document["write_files"]
    assert file["path"] == "/etc/minimoto/configure.ini"
    assert file["content"] == config_from_user_data(text)
    commands = [command[2] for command in document["runcmd"]]
    assert any("read-ahead" in command for command in commands)
    assert any(f"minimoto_install.sh {role} --enable" in command for command in commands) == (role != "client")
    for command in commands:
        subprocess.run(["sh", "-n", "-c", command], check=True)


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho", "#cloud-config\n- a", "#cloud-config\n{}", "#cloud-config\n["])
def test_foreign_user_data_is_not_ours(text):
    assert config_from_user_data(text) is None


def test_settings_too_long_for_ec2_are_refused_in_one_line():
    huge = replace(CONFIG, more_buckets=tuple(f"bucket-{n:060d}" for n in range(300)))
    with pytest.raises(ConfigError, match=f"EC2 takes {MOST_BYTES}"):
        user_data(huge)
