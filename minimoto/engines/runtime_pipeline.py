"""Photos through three stages that overlap: read (decode), compute (a batch on the device), write (encode).

A step that makes one file of each photo::

    outcomes = in_stages(photos, read, compute, write, expected=(UnreadablePicture,))
    for photo, outcome in zip(photos, outcomes, strict=True):
        if isinstance(outcome, UnreadablePicture):
            skipped.append(Skip.of(photo, outcome))
        else:
            outputs.append(outcome)
        report(...)

``read`` and ``write`` run in threads of their own, ``compute`` in the caller's, so that whatever is bound to a thread
(a CUDA context, an inference request) stays in one. Outcomes come in the order of the items, one for each. At most
``depth`` items wait between two stages, so memory does not grow with the number of photos.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from types import NoneType
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")
Expected = TypeVar("Expected", bound=Exception)


def in_stages(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Sequence[Read]], Sequence[Computed]],
    write: Callable[[Computed], Written],
    *,
    expected: tuple[type[Expected], ...] = (),
    depth: int = 2,
    readers: int = 1,
    batch: int = 1,
    alike: Callable[[Read], Hashable] = lambda _: None,
) -> Generator[Written | Expected, None, None]:
    """What ``write`` returned for each item, in the items' order.

    Closing the generator, or an error that comes out of it, starts nothing further and returns when the calls at work
    have ended.

    Parameters:
        compute: takes up to ``batch`` read items and returns one result for each.
        expected: errors that stand for an item instead of ending the run; one of ``compute`` stands for its batch.
        depth: items that may wait between two stages, 1 or more; of read ones at least ``batch``.
        readers: threads that read.
        batch: how many items that follow each other are computed at once,
        alike: if this is equal for all of them, such as the shape of their arrays.

    Raises:
        Exception: any other error of a stage, when its item's turn has come: those before it are done and were yielded.
    """
    if min(depth, readers, batch) < 1:
        raise ValueError("depth, readers and batch are 1 or more")
    with (
        ThreadPoolExecutor(readers, "read") as reading,
        ThreadPoolExecutor(1, "write") as writing,
        closing(_ahead(items, read, reading, max(depth, batch))) as pictures,
    ):
        waiting: deque[Future[Written]] = deque()
        try:
            for group in _batches(pictures, batch, alike):
                waiting.extend(_computed(group, compute, write, writing, expected))
                if _is_unexpected(waiting[-1], expected):
                    break
                while len(waiting) > depth:
                    yield _outcome(waiting.popleft(), expected)
            while waiting:
                yield _outcome(waiting.popleft(), expected)
        finally:
            for future in waiting:
                future.cancel()


def _ahead(
    items: Iterable[Item], read: Callable[[Item], Read], threads: ThreadPoolExecutor, depth: int
) -> Generator[Future[Read], None, None]:
    """The items being read, in order, ``depth`` of them ahead of the one that is given."""
    todo = iter(items)
    started = deque(threads.submit(read, item) for item in islice(todo, depth))
    try:
        while started:
            first = started.popleft()
            started.extend(threads.submit(read, item) for item in islice(todo, 1))
            yield first
    finally:
        for future in started:
            future.cancel()


def _batches(
    pictures: Iterator[Future[Read]],
    size: int,
    alike: Callable[[Read], Hashable],
) -> Iterator[list[Read] | Exception]:
    """What was read, in groups to compute at once; an error stands alone."""
    group: list[Read] = []
    for future in pictures:
        try:
            one = future.result()
        except Exception as error:
            if group:
                yield group
                group = []
            yield error
            continue
        if group and alike(one) != alike(group[0]):
            yield group
            group = []
        group.append(one)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _computed(
    group: list[Read] | Exception,
    compute: Callable[[Sequence[Read]], Sequence[Computed]],
    write: Callable[[Computed], Written],
    threads: ThreadPoolExecutor,
    expected: tuple[type[Exception], ...],
) -> list[Future[Written]]:
    """One future for each item of the group: of writing it, or of the error that stands for it."""
    if isinstance(group, Exception):
        return [_failed(group)]
    try:
        results = compute(group)
        if len(results) != len(group):
            raise ValueError(f"compute returned {len(results)} results for {len(group)} items")
    except Exception as error:
        if isinstance(error, expected):
            return [_failed(error) for _ in group]
        return [_failed(error)]
    return [threads.submit(write, result) for result in results]


def _failed(error: Exception) -> Future[Written]:
    future: Future[Written] = Future()
    future.set_exception(error)
    return future


def _is_unexpected(future: Future[Written], expected: tuple[type[Exception], ...]) -> bool:
    return future.done() and not isinstance(future.exception(), (NoneType, *expected))


def _outcome(future: Future[Written], expected: tuple[type[Expected], ...]) -> Written | Expected:
    try:
        return future.result()
    except expected as error:
        return error
