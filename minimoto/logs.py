"""The service's log: structured, one event a line; for a person on a terminal, JSON elsewhere.

Every line of a task carries ``job``, ``stage``, ``task``, ``attempt``; every line of a service, ``node`` and ``slot``.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor


def open_log(*, debug: bool = False, stream: TextIO | None = None, **bound: Any) -> FilteringBoundLogger:
    """A log that writes to ``stream`` (default: standard error).

    Parameters:
        debug: also say what is of use only when something is looked for, such as what steps print.
        bound: said on every line, such as ``node`` and ``slot``.
    """
    import structlog

    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
    ]
    for_people: list[Processor] = [structlog.dev.ConsoleRenderer(colors=terminal)]
    for_machines: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[*shared, *(for_people if terminal else for_machines)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        context_class=dict,
    )
    return log.bind(**bound)
