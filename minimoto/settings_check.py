"""What setup looks at in the settings before it makes anything: what only the machines would stumble over later."""

from __future__ import annotations

import configparser
import os
from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

from minimoto.config import OUTPUT_OPTIONS, Config, variable
from minimoto.core.policies import choose
from minimoto.errors import ConfigError
from minimoto.watchdog.observe import limits_of
from minimoto.watchdog.prometheus import address


def check(settings: Config, file: Path, now: float, environ: Mapping[str, str] | None = None) -> None:
    """Refuses settings that contradict each other, or are called what no setting is.

    Parameters:
        file: where they come from; it may not exist.
        now: seconds since the epoch.

    Raises:
        ConfigError: what is wrong, and where.
    """
    strange = unknown(file, os.environ if environ is None else environ)
    if strange:
        raise ConfigError("; ".join(strange))
    choose(settings.policy, limits_of(settings, now))
    if settings.metrics:
        address(settings.metrics)
    if settings.heartbeat >= settings.lease:
        raise ConfigError(
            f"[SERVICE] heartbeat is {settings.heartbeat:g} and [SQS] visible_time {settings.lease:g}: a lease must "
            "outlast the heartbeats that renew it"
        )


def unknown(file: Path, environ: Mapping[str, str]) -> list[str]:
    """What a file, or a variable, sets and no setting is called, one line each: it would be ignored silently.

    Machines do ignore it: their settings may come from a newer minimoto than their image.
    """
    known = {(setting.metadata["section"], setting.metadata["option"]) for setting in fields(Config)}
    known |= {("OUTPUT", option) for option in OUTPUT_OPTIONS}
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(file, encoding="utf-8")
    sections = sorted({section for section, _ in known})
    lines = [
        f"{file} [{section}]: there is no such section{_meant(section, sections)}"
        for section in parser.sections()
        if section not in sections
    ]
    found = [(section, option) for section in parser.sections() if section in sections for option in parser[section]]
    lines += [f"{file} {_unknown(*setting, known)}" for setting in found if setting not in known]
    variables = sorted(variable(section, option) for section, option in known)
    ours = tuple(f"MINIMOTO_{section}_" for section in sections)
    strange = sorted(name for name in environ if name.startswith(ours) and name not in variables)
    return lines + [f"the variable {name}: no setting is called so{_meant(name, variables)}" for name in strange]


def _unknown(section: str, option: str, known: Collection[tuple[str, str]]) -> str:
    elsewhere = [of for of, name in known if name == option]
    close = _meant(option, [name for of, name in known if of == section])
    return f"[{section}] {option}: there is no such setting" + (
        f"; it belongs to [{elsewhere[0]}]" if elsewhere else close
    )


def _meant(name: str, names: Collection[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"; is {close[0]} meant?" if close else ""
