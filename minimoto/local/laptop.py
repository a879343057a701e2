"""The settings of a deployment on the embedded AWS of one laptop."""

from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path

from minimoto import config
from minimoto.config import Config
from minimoto.errors import ConfigError


def laptop_config(url: str, state: Path) -> Config:
    """Settings with which everything happens in seconds, on few and small machines.

    Parameters:
        url: the endpoint of the embedded AWS.
        state: its state folder, absolute.
    """
    return Config(
        endpoint_url=url,
        log_file=str(state / "minimoto.log"),
        data_dir=str(state / "data"),
        ssh_from="127.0.0.1/32",
        lease=15.0,
        heartbeat=3.0,
        quiet=30.0,
        target_seconds=20.0,
        boot_seconds=3.0,
        cooldown=10.0,
        watchdog_every=3.0,
        strike_seconds=5.0,
        min_nodes=1,
        max_nodes=3,
        market="on-demand",
        service_type="g5.xlarge",
        task_seconds=5.0,
    )


def write_config(file: Path, url: str, state: Path) -> None:
    """Writes a new ``configure.ini``, or the endpoint into one that is there.

    Raises:
        ConfigError: the file belongs to a deployment in AWS, or cannot be read or written.
    """
    file = file.expanduser()
    settings, output = laptop_config(url, state), {}
    if file.exists():
        old = config.load(str(file), environ={})
        if not old.local:
            raise ConfigError(f"{file}: this deployment is in AWS (no endpoint_url); name another file")
        settings, output = replace(old, endpoint_url=url), _output(file)
    try:
        config.save(settings, file, output)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def _output(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(file, encoding="utf-8")
    return dict(parser["OUTPUT"]) if parser.has_section("OUTPUT") else {}
