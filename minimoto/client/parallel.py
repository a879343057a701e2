"""Moving files side by side, and stopping all of it at the first error or at Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from minimoto.ports import Transferred

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

PATIENCE = 2.0
"""Seconds that Ctrl-C waits for transfers under way to notice it; one that hangs in the network may not."""

_THREADS = "transfer"


class _Stopped(Exception):
    """Raised inside a transfer to end it early; never leaves this module."""


def move_all(
    work: Callable[[Item, Transferred], Outcome], items: Sequence[Item], side_by_side: int, moved: Transferred
) -> list[Outcome]:
    """``work`` for every item, in threads; outcomes in the items' order.

    Parameters:
        work: gets an item and the function to call with bytes moved, which ends a transfer that shall stop.
        side_by_side: threads; at least one is used.
        moved: told of bytes moved, from any thread.

    Raises:
        Whatever ``work`` raised first, when the transfers under way have ended; ``KeyboardInterrupt``, when they have
            ended or :data:`PATIENCE` is over.
    """
    stop = Event()

    def guarded(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        moved(count)

    def one(item: Item) -> Outcome:
        guarded(0)
        return work(item, guarded)

    pool = ThreadPoolExecutor(max(1, side_by_side), thread_name_prefix=_THREADS)
    futures = [pool.submit(one, item) for item in items]
    patience: float | None = None
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future in done:
                future.result()
        return [future.result() for future in futures]
    except KeyboardInterrupt:
        patience = PATIENCE
        raise
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in futures if not future.cancelled()], timeout=patience)


def hanging() -> bool:
    """Whether a transfer goes on although it shall stop; the interpreter would wait for it before it ends."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(f"{_THREADS}_")]
    for thread in threads:
        thread.join(0.1)
    return any(thread.is_alive() for thread in threads)
