"""A daemon for each module that asks for one; started with a stand-in for the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from laboratory import Laboratory, until, write_stand_in

from minimoto.local import daemon
from minimoto.local.settings import LocalSettings


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("embedded")
    stand_in = str(write_stand_in(folder))
    settings = LocalSettings(
        boot_seconds=0.5,
        cron_seconds=1.0,
        cpu_seconds=0.5,
        impaired_seconds=0.7,
        grace_seconds=1.0,
        service_command=(stand_in,),
        watchdog_command=(stand_in,),
    )
    state = folder / "state"
    made = Laboratory(daemon.ensure_started(state, settings), state)
    yield made
    daemon.stop(state)
    until(lambda: not made.processes(), what="the end of every process")
