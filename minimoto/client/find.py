"""Which job a person means, and whose."""

from __future__ import annotations

import getpass
import socket
from difflib import get_close_matches
from typing import TYPE_CHECKING

from minimoto.core.job import JOB_ID, Job
from minimoto.core.readable import printable
from minimoto.errors import NotFound, UsageError

if TYPE_CHECKING:
    from minimoto.config import Config
    from minimoto.ports import Jobs

LOOKED_AT = 200
"""A job older than so many others must be named by its whole id."""


def find_job(jobs: Jobs, text: str) -> Job:
    """The job with this id, or the only one whose id or name begins so.

    Raises:
        NotFound: there is none; names those that come near.
        UsageError: there are several; names them.
    """
    wanted = text.strip()
    if JOB_ID.fullmatch(wanted):
        try:
            return jobs.get(wanted)
        except NotFound:
            pass
    recent = jobs.recent(LOOKED_AT)
    matching = [job for job in recent if wanted and (job.id.startswith(wanted) or job.name.startswith(wanted))]
    if len(matching) == 1:
        return jobs.get(matching[0].id)
    if matching:
        names = ", ".join(job.id for job in matching[:5]) + (", …" if len(matching) > 5 else "")
        raise UsageError(f"{len(matching)} jobs begin with {printable(wanted)}: {names}")
    near = get_close_matches(wanted, [job.id for job in recent] + [job.name for job in recent], n=3, cutoff=0.5)
    hint = (
        f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else "; minimoto list shows those that there are"
    )
    raise NotFound(f"there is no job {printable(wanted)[:100]}{hint}")


def owner(config: Config) -> str:
    """Who asks: the setting, else ``user@host``."""
    if config.owner:
        return config.owner
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "user"
    return f"{user}@{socket.gethostname().partition('.')[0]}"
