"""Moving files side by side, and stopping all of it at the first error or at Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from minimoto.ports import Transferred

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


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
        Whatever ``work`` raised first, and ``KeyboardInterrupt``; transfers under way are ended before.
    """
    stop = Event()

    def guarded(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        moved(count)

    def one(item: Item) -> Outcome:
        guarded(0)
        return work(item, guarded)

    pool = ThreadPoolExecutor(max(1, side_by_side), thread_name_prefix="transfer")
    try:
        futures = [pool.submit(one, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future in done:
                future.result()
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
