"""The event that signals set."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from minimoto.stop_event import StopEvent

# One signal each, in the midst of waits that are over at once: with threading.Event it is soon waited for ever.
STORM = """
import signal
from minimoto.stop_event import StopEvent
signal.signal(signal.SIGALRM, lambda *_: event.set())
for number in range(3000):
    event = StopEvent()
    signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 50 * 0.000004)
    while not event.wait(0):
        pass
print("done")
"""


def test_signals_set_it_whatever_their_thread_does() -> None:
    ended = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("done\n", "")


@pytest.mark.parametrize("timeout", [0.0, 0.01])
def test_it_waits_no_longer_than_asked(timeout: float) -> None:
    event = StopEvent()
    assert not event.wait(timeout)
    assert not event.is_set()


def test_once_set_nobody_waits() -> None:
    event = StopEvent()
    event.set()
    assert event.is_set()
    assert all(event.wait() for _ in range(3))


def test_another_thread_ends_the_wait() -> None:
    event = StopEvent()
    other = threading.Thread(target=event.set)
    other.start()
    assert event.wait(30)
    other.join()
