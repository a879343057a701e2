"""Commands that are interrupted, killed, refused, or watched at a terminal."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator

import pytest

from minimoto.config import Config
from minimoto.core.job import JobState
from minimoto.wiring import Cloud
from tests.client.commands import CLIENT, MINIMOTO, OUTPUT, at_work, lines, on_terminal, read_until, start
from tests.client.conftest import MakeFolder, Run
from tests.client.gate import Gate


@pytest.fixture
def gate(deployment: Config, environ: dict[str, str]) -> Iterator[Gate]:
    """Between the client and the embedded AWS: two photos pass, one at a time."""
    gate = Gate(deployment.endpoint_url, free=2)
    environ["MINIMOTO_INIT_ENDPOINT_URL"] = gate.url
    environ["MINIMOTO_CLIENT_UPLOADS"] = "1"
    yield gate
    gate.close()


def test_ctrl_c_while_waiting_leaves_the_job_running(
    run: Run, cloud: Cloud, folder: MakeFolder, environ: dict[str, str]
) -> None:
    process = start(environ, *CLIENT, str(folder(1)), "--wait")
    told = read_until(process, "waiting in the queue")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    (job,) = cloud.jobs.recent()
    assert process.returncode == 130
    assert OUTPUT.fullmatch(out)
    assert f"Come back with: minimoto status {job.id} --wait, or: minimoto fetch {job.id}" in err
    assert "Traceback" not in told + err
    with at_work(cloud):
        back = run(*MINIMOTO, "status", job.id, "--wait")
    assert back.returncode == 0


def test_ctrl_c_while_an_upload_hangs_ends_soon_and_the_same_command_goes_on(
    run: Run, cloud: Cloud, folder: MakeFolder, environ: dict[str, str], gate: Gate
) -> None:
    photos = str(folder(5))
    process = start(environ, *CLIENT, photos)
    assert gate.reached.wait(60)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 30  # botocore itself would wait for 60 s
    assert (process.returncode, out) == (130, "")
    assert "the same command again continues where this one stopped" in err
    assert "Traceback" not in err
    (job,) = cloud.jobs.recent()
    assert job.state is JobState.NOT_READY_TO_PROCESS
    assert cloud.queue.counts().visible == 0
    before = list(gate.uploaded)
    assert len(before) == 2
    gate.free = 10**9  # what was held stays held: only the second run's uploads are counted
    again = run(*CLIENT, photos)
    assert again.returncode == 0, again.stderr
    assert f"continuing the unfinished upload of {job.id}" in again.stderr
    assert "2 of the files were there already" in again.stderr
    assert len(gate.uploaded) == 5
    assert cloud.jobs.get(job.id).photos == 5


def test_a_killed_upload_goes_on_too(
    run: Run, cloud: Cloud, folder: MakeFolder, environ: dict[str, str], gate: Gate
) -> None:
    photos = str(folder(4))
    process = start(environ, *CLIENT, photos)
    assert gate.reached.wait(60)
    process.kill()
    process.communicate(timeout=60)
    (job,) = cloud.jobs.recent()
    gate.free = 10**9
    again = run(*CLIENT, photos)
    assert again.returncode == 0, again.stderr
    assert [each.id for each in cloud.jobs.recent()] == [job.id]
    assert "2 of the files were there already" in again.stderr


def test_an_upload_that_is_refused_is_one_line_that_says_how_to_go_on(
    run: Run, cloud: Cloud, folder: MakeFolder, gate: Gate
) -> None:
    gate.status = 403
    done = run(*CLIENT, str(folder(4)))
    assert (done.returncode, done.stdout) == (1, "")
    line = lines(done.stderr)[-1]
    assert "Access Denied" in line
    assert line.endswith("; the same command again continues where this one stopped")
    assert cloud.jobs.recent()[0].state is JobState.NOT_READY_TO_PROCESS


@pytest.mark.parametrize(
    ("settings", "drawn", "coloured"),
    [({"TERM": "xterm-256color"}, True, True), ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
     ({"TERM": "dumb"}, False, False)],
    ids=["colour", "NO_COLOR", "dumb"],
)  # fmt: skip
def test_on_a_terminal_progress_is_drawn_and_colour_can_be_refused(
    cloud: Cloud, folder: MakeFolder, environ: dict[str, str], settings: dict[str, str], drawn: bool, coloured: bool
) -> None:
    with at_work(cloud):
        written = on_terminal({**environ, **settings}, *CLIENT, str(folder(3)), "--wait")
    assert ("━" in written) is drawn
    assert ("\x1b" in written) is drawn
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", written)) is coloured
    assert "You'll find the output in s3://" in written
    assert "done" in written
